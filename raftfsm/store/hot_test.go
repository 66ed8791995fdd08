package store

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
)

// blockOf makes a block of n records that begins with an id.
func blockOf(first uint64, n, payload int) block {
	one := rawRecord(AppendRecord(nil, event("a", "1", `"`+strings.Repeat("x", payload)+`"`)))
	records := slices.Repeat([]rawRecord{one}, n)
	value := make([]byte, blockLen(records))
	putBlock(value, 1, records)
	b, err := decodeBlock(first, value)
	if err != nil {
		panic(err)
	}
	return b
}

func TestABlockIsKeptWhenItIsAskedForTwice(t *testing.T) {
	t.Parallel()
	var h hotBlocks
	b := blockOf(10, 5, 10)
	h.offer(b)
	_, kept := h.holding(10)
	require.False(t, kept, "asked for once")
	h.offer(b)
	h.offer(b)
	require.Len(t, h.blocks, 1)
	clear(b.records)
	for id := uint64(8); id <= 16; id++ {
		got, kept := h.holding(id)
		require.Equal(t, 10 <= id && id < 15, kept, "event %d", id)
		if kept {
			require.Equal(t, blockOf(10, 5, 10), got, "it has memory of its own")
		}
	}
}

func TestHotBlocksAreBounded(t *testing.T) {
	t.Parallel()
	for name, payload := range map[string]int{"in bytes": 60 << 10, "in number": 10} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var h hotBlocks
			for i := range uint64(2 * hotMost) {
				b := blockOf(2*i+1, 2, payload)
				h.offer(b)
				h.offer(b)
				_, kept := h.search(b.first)
				require.True(t, kept, "the newest is kept")
				_, kept = h.holding(1)
				require.True(t, kept, "what is used is kept")
			}
			size := 0
			for _, b := range h.blocks {
				size += b.size()
			}
			require.Equal(t, size, h.bytes)
			require.LessOrEqual(t, size, hotBytes)
			require.LessOrEqual(t, len(h.blocks), hotMost)
			require.True(t, slices.IsSortedFunc(h.blocks, func(a, b *hotBlock) int { return int(a.first) - int(b.first) }))
		})
	}
}

func TestBeginningsAreBounded(t *testing.T) {
	t.Parallel()
	var h hotBlocks
	for topic := range uint32(2 * hotTopics) {
		h.begun(topic, uint64(topic)+1)
		require.LessOrEqual(t, len(h.begins), hotTopics)
	}
	const last = 2*hotTopics - 1
	require.Equal(t, uint64(last), h.begin([]uint32{last, last - 1}))
	require.Zero(t, h.begin([]uint32{last, 0}), "one of them is forgotten")
}

// pages reads the first, the last and a middle page of a topic, until all that
// they need is kept.
func pages(t *testing.T, s *Store, topic string) (all [][]oncelog.Record) {
	t.Helper()
	for range 3 {
		all = nil
		for _, q := range []oncelog.Query{{}, {Order: oncelog.ByIDDescending}, {After: 10}, {Before: 10}} {
			q.Topics, q.Limit = []string{topic}, 3
			all = append(all, collect(t, s, q))
		}
	}
	return all
}

// TestSwapForgetsHotBlocks: a state that was replaced has other events under the
// same ids, as no state of the same log has.
func TestSwapForgetsHotBlocks(t *testing.T) {
	t.Parallel()
	_, stream := sender(t)
	s := openStore(t, vfs.NewMem())
	for i := range 60 {
		publish(t, s, event("other", fmt.Sprint(i), `{}`))
	}
	pages(t, s, "other")
	require.NotEmpty(t, s.gen.hot.blocks)
	require.NotEmpty(t, s.gen.hot.begins)
	incoming, err := s.Receive(bytes.NewReader(stream))
	require.NoError(t, err)
	require.NoError(t, s.Swap(incoming))

	fresh := openStore(t, vfs.NewMem())
	incoming, err = fresh.Receive(bytes.NewReader(stream))
	require.NoError(t, err)
	require.NoError(t, fresh.Swap(incoming))
	require.Equal(t, pages(t, fresh, "a"), pages(t, s, "a"))
}

// TestHotPagesSeeWhatIsNew: what is kept of a topic hides nothing that comes later.
func TestHotPagesSeeWhatIsNew(t *testing.T) {
	t.Parallel()
	s := openStore(t, vfs.NewMem())
	m := newModel()
	for i := range 40 {
		events := []*oncelog.Event{event("a", fmt.Sprint(i), `{}`)}
		if i > 20 {
			events = append(events, event("b", fmt.Sprint(i), `{}`))
		}
		m.append(events)
		publish(t, s, events...)
		for _, topic := range []string{"a", "b"} {
			got := pages(t, s, topic)
			topics := []string{topic}
			require.Equal(t, naive(m.events, oncelog.Query{Topics: topics, Limit: 3}), got[0])
			require.Equal(t, naive(m.events, oncelog.Query{Topics: topics, Limit: 3, Order: oncelog.ByIDDescending}), got[1])
			require.Equal(t, naive(m.events, oncelog.Query{Topics: topics, Limit: 3, After: 10}), got[2])
			require.Equal(t, naive(m.events, oncelog.Query{Topics: topics, Limit: 3, Before: 10}), got[3])
		}
	}
}

func TestHotPagesBesideWrites(t *testing.T) {
	t.Parallel()
	s := openStore(t, vfs.NewMem())
	publish(t, s, event("a", "first", `{}`))
	var readers sync.WaitGroup
	done := make(chan struct{})
	for range 2 {
		readers.Go(func() {
			var newest uint64
			for {
				select {
				case <-done:
					return
				default:
				}
				for r, err := range s.Events(oncelog.Query{Topics: []string{"a"}, Limit: 1, Order: oncelog.ByIDDescending}) {
					if err != nil || r.ID < newest {
						t.Errorf("event %d after %d: %v", r.ID, newest, err)
					}
					newest = r.ID
				}
			}
		})
	}
	for i := range 200 {
		publish(t, s, event("a", fmt.Sprint(i), `{}`))
	}
	close(done)
	readers.Wait()
}
