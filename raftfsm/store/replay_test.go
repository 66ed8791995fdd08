package store

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
)

// oldStore has n events that only the tables know, in three topics, in batches of
// 100.
func oldStore(t *testing.T, n int) *Store {
	t.Helper()
	fs := vfs.NewMem()
	s := openStore(t, fs)
	for at := 0; at < n; at += 100 {
		publish(t, s, oldEvents(at, at+100)...)
	}
	require.NoError(t, s.Close())
	return openStore(t, fs)
}

func oldEvents(from, to int) []*oncelog.Event {
	var events []*oncelog.Event
	for i := from; i < to; i++ {
		events = append(events, event([]string{"a", "b", "c"}[i%3], fmt.Sprint("old", i), fmt.Sprintf(`{"n":%d}`, i)))
	}
	return events
}

// TestOldEventsInOrder: they are duplicates of the ids that they had, conflicts are
// seen, new events between them are new, and most are found without a look into
// the dedup index.
func TestOldEventsInOrder(t *testing.T) {
	t.Parallel()
	const old = 2_000
	s := oldStore(t, old)
	for at := 0; at < old; at += 50 {
		sent := oldEvents(at, at+50)
		sent[7].Payload = []byte(`{"n":"another"}`)
		sent = append(sent, event("a", fmt.Sprint("new", at), `{}`))
		got := publish(t, s, sent...)
		want := make([]Outcome, len(sent))
		for i := range want {
			want[i] = Outcome{ID: uint64(at + i + 1), Duplicate: true, Conflict: i == 7}
		}
		want[len(sent)-1] = Outcome{ID: uint64(old + at/50 + 1)}
		require.Equal(t, want, got.Outcomes)
	}
	known := 0
	for i, e := range oldEvents(0, old) {
		v, ok := s.replay.find(newDedupKey(s.topicIDs[e.Topic], []byte(e.EventID)))
		if ok {
			require.Equal(t, uint64(i+1), v.id)
			known++
		}
	}
	require.Greater(t, known, old*9/10)
}

// TestOldEventsInNoOrder: no block is read for ids that are far from each other.
func TestOldEventsInNoOrder(t *testing.T) {
	t.Parallel()
	const old = 4_000
	s := oldStore(t, old)
	for i := range replayMarks / 4 {
		at := i * 17 * replaySpan % old
		require.Equal(t, Outcome{ID: uint64(at + 1), Duplicate: true}, publish(t, s, oldEvents(at, at+1)...).Outcomes[0])
	}
	require.Empty(t, s.replay.young)
}

// TestChanceIsWorthNoBlock: of look-ups in no order hardly one has its block read,
// though a store of that size has few neighbourhoods to choose from.
func TestChanceIsWorthNoBlock(t *testing.T) {
	t.Parallel()
	const stored, asked = 200_000, 100_000
	r, random, read := new(replay), rand.New(rand.NewPCG(1, 2)), 0
	for range asked {
		if r.worth(1 + random.Uint64N(stored)) {
			read++
		}
	}
	require.Less(t, read, asked/500)
}

// TestReplayIsBounded in what it keeps, and in how long it keeps what nobody asks
// for.
func TestReplayIsBounded(t *testing.T) {
	t.Parallel()
	r := new(replay)
	ids := map[string]uint32{"a": 0}
	key := func(id uint64) dedupKey { return newDedupKey(0, fmt.Append(nil, id)) }
	learn := func(first uint64, n int) {
		var all []rawRecord
		for i := range n {
			all = append(all, records(event("a", fmt.Sprint(first+uint64(i)), `{}`)))
		}
		value := make([]byte, blockLen(all))
		putBlock(value, 1, all)
		b, err := decodeBlock(first, value)
		require.NoError(t, err)
		r.learn(b, ids)
	}
	const blocks, size = 40, 1_000
	for i := range blocks {
		learn(uint64(i*size+1), size)
		require.LessOrEqual(t, len(r.young)+len(r.old), replayKeys)
	}
	v, ok := r.find(key(blocks * size))
	require.True(t, ok)
	require.Equal(t, uint64(blocks*size), v.id)
	_, ok = r.find(key(1))
	require.False(t, ok, "the first block was forgotten")
	for range replayKeys {
		r.find(key(0))
	}
	require.Empty(t, r.young)
	require.Empty(t, r.old)
	_, ok = r.find(key(blocks * size))
	require.False(t, ok)

	learn(1, 1)
	for range 10 * replayWorth {
		_, ok = r.find(key(1))
		require.True(t, ok, "one that is asked for stays")
		r.find(key(0))
	}
}

// TestSwapForgetsReplayedEvents: the state that is swapped in has other events. The
// filter, which would exclude the old ones, is not filled yet.
func TestSwapForgetsReplayedEvents(t *testing.T) {
	t.Parallel()
	s := oldStore(t, 200)
	publish(t, s, oldEvents(0, 200)...)
	require.NotEmpty(t, s.replay.young)
	_, stream := sender(t)
	incoming, err := s.Receive(bytes.NewReader(stream))
	require.NoError(t, err)
	require.NoError(t, s.Swap(incoming))
	s.stopBackground()
	s.filter = newKeyFilter(64 << 10)
	require.Equal(t, uint64(200), publish(t, s, oldEvents(0, 200)...).Count)
}
