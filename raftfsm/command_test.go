package raftfsm

import (
	"encoding/hex"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/raftfsm/store"
)

var (
	nodeA = uuid.MustParse("aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa")
	nodeB = uuid.MustParse("bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb")
	home  = uuid.MustParse("cccccccc-cccc-4ccc-8ccc-cccccccccccc")
)

// event is an event of few words.
func event(topic, id, payload string) oncelog.Event {
	return oncelog.Event{Topic: topic, EventID: id, Source: "test", Timestamp: time.Unix(0, 1).UTC(), Payload: []byte(payload)}
}

func records(events ...oncelog.Event) []byte {
	var b []byte
	for i := range events {
		b = store.AppendRecord(b, &events[i])
	}
	return b
}

func batchOf(node uuid.UUID, run, number, settled uint64, events ...oncelog.Event) Batch {
	return Batch{
		Session: SessionID{Node: node, Run: run},
		Number:  number, Settled: settled,
		Events: len(events), Records: records(events...),
	}
}

// command encodes a batch as a leader would put it into the log.
func command(b Batch, at int64) []byte {
	data := EncodePublish(b, b.Records)
	Stamp(data, at)
	return data
}

func TestCommandGolden(t *testing.T) {
	t.Parallel()
	data := command(batchOf(nodeA, 2, 3, 1, event("t", "e", "{}")), 0x0102030405060708)
	const want = "01" + "01" + "0000" + "CRC-----" + "0102030405060708" + // header
		"aaaaaaaaaaaa4aaa8aaaaaaaaaaaaaaa" + "0000000000000002" + "0000000000000003" + "0000000000000001" + "00000001" + "00000020"
	got := hex.EncodeToString(data)
	require.Equal(t, want[:8], got[:8])
	require.Equal(t, want[16:], got[16:len(want)])

	c, err := Decode(data)
	require.NoError(t, err)
	require.Equal(t, KindPublish, c.Kind)
	require.Equal(t, int64(0x0102030405060708), c.ProcessedAt)
	require.Equal(t, []Batch{batchOf(nodeA, 2, 3, 1, event("t", "e", "{}"))}, c.Batches)
}

func TestCommandOfALeader(t *testing.T) {
	t.Parallel()
	c, err := Decode(EncodeOpen(home))
	require.NoError(t, err)
	require.Equal(t, Command{Kind: KindOpen, Cluster: home}, c)
}

func TestCommandWithAnyBitFlippedIsRefused(t *testing.T) {
	t.Parallel()
	data := command(batchOf(nodeA, 1, 1, 1, event("topic", "id", `{"a":1}`)), 5)
	for bit := range len(data) * 8 {
		data[bit/8] ^= 1 << (bit % 8)
		_, err := Decode(data)
		require.ErrorIs(t, err, ErrBadCommand, "bit %d", bit)
		data[bit/8] ^= 1 << (bit % 8)
	}
	for n := range data {
		_, err := Decode(data[:n])
		require.ErrorIs(t, err, ErrBadCommand, "cut to %d bytes", n)
	}
}

func TestCommandNonsenseIsNamed(t *testing.T) {
	t.Parallel()
	good := func() []byte { return command(batchOf(nodeA, 1, 2, 1, event("t", "e", "{}")), 5) }
	for _, test := range []struct {
		name, want string
		spoil      func([]byte) []byte
	}{
		{"version", "version 9; this program knows version 1", func(d []byte) []byte { d[0] = 9; return d }},
		{"kind", "unknown kind 7", func(d []byte) []byte { d[1] = 7; seal(d); return d }},
		{"group", "group 256", func(d []byte) []byte { d[2] = 1; seal(d); return d }},
		{"checksum", "checksum is", func(d []byte) []byte { d[20]++; return d }},
		{"no batch", "no batch", func(d []byte) []byte { d = d[:commandHeader]; seal(d); return d }},
		{"number 0", "number 0", func(d []byte) []byte { d[47] = 0; seal(d); return d }},
		{"settled above the number", "settled", func(d []byte) []byte { d[55] = 3; seal(d); return d }},
		{"event count", "1 records where the header says 2", func(d []byte) []byte { d[59] = 2; seal(d); return d }},
		{"records too long", "records of", func(d []byte) []byte { d[63]++; seal(d); return d }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := Decode(test.spoil(good()))
			require.ErrorIs(t, err, ErrBadCommand)
			require.ErrorContains(t, err, test.want)
		})
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(command(batchOf(nodeA, 1, 1, 1, event("t", "e", "{}")), 5))
	f.Add(EncodeOpen(home))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) >= commandHeader {
			seal(data) // else the checksum hides all that comes after it
		}
		c, err := Decode(data)
		if err != nil {
			require.ErrorIs(t, err, ErrBadCommand)
			return
		}
		var again []byte
		switch c.Kind {
		case KindOpen:
			again = EncodeOpen(c.Cluster)
			Stamp(again, c.ProcessedAt)
		case KindPublish:
			if len(c.Batches) > 1 {
				return // nodes send one batch a command
			}
			again = command(c.Batches[0], c.ProcessedAt)
		}
		require.Equal(t, data, again)
	})
}
