package store

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
)

// goldenEvent has the record
//
//	timestamp         hash              payload  t e s 0  topic eventid source payload
//	17979cfe362a0003  44136fa355b3678a  00000002 05020300 ...
func goldenEvent() *oncelog.Event {
	return &oncelog.Event{Topic: "order", EventID: "e1", Source: "src", Timestamp: time.Unix(0, 0x17979cfe362a0003).UTC(), Payload: []byte("{}")}
}

const goldenRecord = "17979cfe362a0003" + "44136fa355b3678a" + "00000002" + "05020300" + "6f72646572" + "6531" + "737263" + "7b7d"

func TestRecordBytes(t *testing.T) {
	t.Parallel()
	got := AppendRecord([]byte("before"), goldenEvent())
	require.Equal(t, "before", string(got[:6]))
	require.Equal(t, goldenRecord, hex.EncodeToString(got[6:]))

	e := goldenEvent()
	e.Timestamp = time.Unix(0, -1)
	require.Equal(t, strings.Repeat("f", 16), hex.EncodeToString(AppendRecord(nil, e)[:8]), "before 1970")
}

func TestCountRecords(t *testing.T) {
	t.Parallel()
	one := AppendRecord(nil, goldenEvent())
	n, err := CountRecords(nil)
	require.NoError(t, err)
	require.Zero(t, n)
	n, err = CountRecords(bytes.Repeat(one, 3))
	require.NoError(t, err)
	require.Equal(t, 3, n)

	changed := func(at int, to byte) []byte {
		b := bytes.Clone(one)
		b[at] = to
		return b
	}
	for name, bad := range map[string][]byte{
		"cut header":      one[:recordHeader-1],
		"cut payload":     one[:len(one)-1],
		"no topic":        changed(20, 0),
		"no event id":     changed(21, 0),
		"no source":       changed(22, 0),
		"reserved byte":   changed(23, 1),
		"longer topic":    changed(20, 6),
		"payload too big": changed(16, 0xff),
	} {
		_, err := CountRecords(bad)
		require.ErrorIs(t, err, oncelog.ErrCorrupt, name)
		_, err = CountRecords(append(bytes.Clone(one), bad...))
		require.ErrorContains(t, err, "byte 36", name)
	}
	_, err = CountRecords(append(bytes.Clone(one), 0))
	require.ErrorIs(t, err, oncelog.ErrCorrupt, "trailing byte")
	full := goldenEvent()
	full.Payload = bytes.Repeat([]byte("x"), oncelog.MaxPayloadBytes)
	n, err = CountRecords(AppendRecord(nil, full))
	require.NoError(t, err)
	require.Equal(t, 1, n)
	full.Payload = append(full.Payload, 'x')
	_, err = CountRecords(AppendRecord(nil, full))
	require.ErrorIs(t, err, oncelog.ErrCorrupt)
}

// TestKeyspaceBytes pins every key and value that one batch leads to. The hashes
// were computed by another program from the layout in the package's documentation.
func TestKeyspaceBytes(t *testing.T) {
	t.Parallel()
	s := openStore(t, vfs.NewMem())
	txn := s.Begin()
	b, err := txn.Stage(AppendRecord(nil, goldenEvent()))
	require.NoError(t, err)
	require.NoError(t, txn.Resolve())
	_, _, err = txn.Apply(b, 0x1122)
	require.NoError(t, err)
	txn.SetMeta("session", []byte("value"))
	require.NoError(t, txn.Commit(Position{Index: 7, Term: 3}))

	got := make(map[string]string)
	_, err = iterate(s.gen.db, &pebble.IterOptions{}, func(it *pebble.Iterator) (struct{}, error) {
		for ok := it.First(); ok; ok = it.Next() {
			got[hex.EncodeToString(it.Key())] = hex.EncodeToString(it.Value())
		}
		return struct{}{}, nil
	})
	require.NoError(t, err)
	u64 := func(n uint64) string { return hex.EncodeToString(binary.BigEndian.AppendUint64(nil, n)) }
	text := func(s string) string { return hex.EncodeToString([]byte(s)) }
	require.Equal(t, map[string]string{
		text("b") + u64(1): u64(0x1122) + "00000001" + "00000024" + goldenRecord,
		text("d") + "00000000" + "8b5cc4df7eec7d32a7814eca4af047ae": u64(1) + "44136fa355b3678a",
		text("t") + "00000000" + u64(1):                             "00000001",
		text("ms"): "01" + u64(7) + u64(3) + u64(1) + u64(1) + u64(0) + u64(0) +
			"40cca4612fbf14b92cdcc2a656394fcfc003588c22aa581f1e50cb2269abf83e",
		text("mt") + "00000000":      u64(1) + u64(1) + text("order"),
		text("mx") + text("session"): text("value"),
	}, got)
	digest := s.State().Digest
	require.Equal(t, "56f615ce10941c8923d42ad476f6b27cf801eefe2f2b5c597a13fc820d1230ee", hex.EncodeToString(digest[:]))
}

func TestBlocksAreCutAlike(t *testing.T) {
	t.Parallel()
	s := openStore(t, vfs.NewMem())
	payload := func(n int) string { return `"` + strings.Repeat("x", n-2) + `"` }
	rest := recordHeader + len("a") + len("0") + len("test-a")
	publish(t, s,
		event("a", "0", payload(maxBlockBytes/2-rest)), event("a", "1", payload(maxBlockBytes/2-rest)), // just fit
		event("a", "2", payload(maxBlockBytes)), // stands alone
		event("a", "3", payload(10)))
	publish(t, s, event("a", "4", payload(10))) // another batch, another block
	var firsts []uint64
	require.NoError(t, (&scan{at: 1, lo: 1, hi: 5}).next(s.gen, func(b block) bool {
		firsts = append(firsts, b.first)
		return false
	}))
	require.Equal(t, []uint64{1, 3, 4, 5}, firsts)
}

func TestDecodeBlockRefusesWhatPutBlockNeverMakes(t *testing.T) {
	t.Parallel()
	one := rawRecord(AppendRecord(nil, goldenEvent()))
	good := make([]byte, blockLen([]rawRecord{one, one}))
	putBlock(good, 5, []rawRecord{one, one})
	b, err := decodeBlock(10, good)
	require.NoError(t, err)
	require.Equal(t, uint64(11), b.last())
	found := b.at(1)
	require.Equal(t, oncelog.Record{ID: 11, Event: *goldenEvent(), ProcessedAt: time.Unix(0, 5).UTC()}, found.event())

	change := func(at int, to byte) []byte {
		b := bytes.Clone(good)
		b[at] = to
		return b
	}
	for name, bad := range map[string][]byte{
		"empty":       {},
		"cut":         good[:len(good)-1],
		"longer":      append(bytes.Clone(good), 0),
		"no events":   change(11, 0),
		"one event":   change(11, 1),
		"more events": change(11, 3),
		"many events": change(8, 0xff),
		"other end":   change(blockHeader+3, 35),
		"bad record":  change(blockHeader+8+23, 1),
	} {
		_, err := decodeBlock(10, bad)
		require.ErrorIs(t, err, oncelog.ErrCorrupt, name)
	}
	_, err = decodeBlock(0, good)
	require.ErrorIs(t, err, oncelog.ErrCorrupt, "ids begin at 1")
	_, err = decodeBlock(1<<64-1, good)
	require.ErrorIs(t, err, oncelog.ErrCorrupt, "ids end")
}

func TestPointer(t *testing.T) {
	t.Parallel()
	p := pointer{generation: 12, durable: Position{Index: 1042, Term: 3}}
	require.Equal(t, "gen-000012\ndurable 1042 3\ncrc32c 3c13dc45\n", p.encode())
	got, err := decodePointer(p.encode())
	require.NoError(t, err)
	require.Equal(t, p, got)
	for i := range p.encode() {
		bad := []byte(p.encode())
		bad[i] ^= 1
		_, err := decodePointer(string(bad))
		require.ErrorIs(t, err, oncelog.ErrCorrupt)
	}
	_, err = decodePointer(p.encode() + "\n")
	require.ErrorIs(t, err, oncelog.ErrCorrupt)
}

func TestLedgerOfAnotherVersion(t *testing.T) {
	t.Parallel()
	l := ledger{Counters: Counters{Received: 3, Unique: 2, Duplicates: 1}}
	b := l.encode()
	got, err := decodeLedger(b)
	require.NoError(t, err)
	require.Equal(t, l, got)

	b[0]++
	_, err = decodeLedger(b)
	require.ErrorIs(t, err, ErrFormat)
	l.Unique++
	_, err = decodeLedger(l.encode())
	require.ErrorIs(t, err, oncelog.ErrCorrupt, "the counters do not add up")
	_, err = decodeLedger(b[:10])
	require.Error(t, err)
}

// FuzzCountRecords: what is counted can be taken apart and put together again.
func FuzzCountRecords(f *testing.F) {
	one := AppendRecord(nil, goldenEvent())
	f.Add([]byte{})
	f.Add(one)
	f.Add(append(bytes.Clone(one), one...))
	f.Add(one[:30])
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := CountRecords(b)
		if err != nil {
			require.ErrorIs(t, err, oncelog.ErrCorrupt)
			return
		}
		var again []byte
		for range n {
			r, err := firstRecord(b[len(again):])
			require.NoError(t, err)
			topic, eventID, source := r.ends()
			again = append(again, r[:recordHeader]...)
			again = append(again, r.topic()...)
			again = append(again, r.eventID()...)
			again = append(again, r.source()...)
			again = append(again, r[source:]...)
			require.Less(t, topic, eventID)
		}
		require.Equal(t, b, append([]byte{}, again...)[:len(b)])
	})
}

// FuzzDecodeBlock: a block that is taken is one that putBlock makes.
func FuzzDecodeBlock(f *testing.F) {
	one := rawRecord(AppendRecord(nil, goldenEvent()))
	good := make([]byte, blockLen([]rawRecord{one, one}))
	putBlock(good, 5, []rawRecord{one, one})
	f.Add(uint64(1), good)
	f.Add(uint64(1), good[:40])
	f.Fuzz(func(t *testing.T, first uint64, value []byte) {
		b, err := decodeBlock(first, value)
		if err != nil {
			require.ErrorIs(t, err, oncelog.ErrCorrupt)
			return
		}
		var all []rawRecord
		for i := range b.len() {
			all = append(all, b.record(i))
			found := b.at(i)
			require.Equal(t, first+uint64(i), found.event().ID)
		}
		again := make([]byte, blockLen(all))
		putBlock(again, b.processedAt, all)
		require.Equal(t, value, again)
	})
}

// FuzzDecodePointer: a pointer that is taken is one that encode makes.
func FuzzDecodePointer(f *testing.F) {
	f.Add(pointer{generation: 1}.encode())
	f.Add("gen-1\ndurable 0 0\ncrc32c 00000000\n")
	f.Fuzz(func(t *testing.T, text string) {
		if p, err := decodePointer(text); err == nil {
			require.Equal(t, text, p.encode())
		}
	})
}
