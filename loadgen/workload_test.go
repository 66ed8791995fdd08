package loadgen

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/oncelog/oncelog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// drain takes a whole sequence, in batches.
func drain(w Workload, batch int) []int64 {
	s := newSequence(w)
	var all []int64
	for {
		n := len(all)
		if all = s.next(all, batch); len(all) == n {
			return all
		}
	}
}

func TestSequenceIsExact(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		events int64
		share  float64
		unique int64
	}{
		{20_000, 0.3, 14_000},
		{500_000, 0.3, 350_000},
		{1000, 0, 1000},
		{1000, 0.9995, 1},
		{1, 0.9, 1},
		{2, 0.5, 1},
		{7, 0.5, 3},
		{3, 0.999, 1},
	} {
		t.Run(fmt.Sprintf("%d at %v", tc.events, tc.share), func(t *testing.T) {
			t.Parallel()
			w := DefaultWorkload()
			w.Events, w.Duplicates = tc.events, tc.share
			require.NoError(t, w.validate())
			require.Equal(t, tc.unique, w.Unique())
			all := drain(w, 100)
			require.Len(t, all, int(tc.events))
			var fresh int64
			for _, index := range all {
				require.LessOrEqual(t, index, fresh, "a repeat comes after its first")
				if index == fresh {
					fresh++
				}
			}
			require.Equal(t, tc.unique, fresh)
		})
	}
}

func TestSequenceFollowsTheSeed(t *testing.T) {
	t.Parallel()
	w := DefaultWorkload()
	other := w
	other.Seed++
	require.Equal(t, drain(w, 100), drain(w, 7))
	require.NotEqual(t, drain(w, 100), drain(other, 100))
}

func TestEventsAreValidAndDeterministic(t *testing.T) {
	t.Parallel()
	w := DefaultWorkload()
	for _, size := range []int{minPayloadBytes, 300, 1000} {
		w.PayloadBytes = size
		c, again := newCatalogue(w), newCatalogue(w)
		topics := make(map[string]int)
		for index := range int64(1000) {
			e := c.event(index)
			require.NoError(t, e.Validate())
			require.Equal(t, e, again.event(index))
			require.Len(t, e.Payload, size)
			var object map[string]any
			require.NoError(t, json.Unmarshal(e.Payload, &object), "%s", e.Payload)
			back, ok := c.index(e.EventID)
			require.True(t, ok)
			require.Equal(t, index, back)
			topics[e.Topic]++
		}
		require.Len(t, topics, len(w.Topics))
		for topic, n := range topics {
			require.InDelta(t, 250, n, 100, topic)
		}
	}
	_, err := json.Marshal(newCatalogue(w).event(1 << 40))
	require.NoError(t, err)
}

func TestWorkloadsShareNoIDs(t *testing.T) {
	t.Parallel()
	base := newCatalogue(DefaultWorkload())
	for name, change := range map[string]func(*Workload){
		"seed":    func(w *Workload) { w.Seed = 2 },
		"topics":  func(w *Workload) { w.Topics = w.Topics[1:] },
		"payload": func(w *Workload) { w.PayloadBytes++ },
		"start":   func(w *Workload) { w.Start = w.Start.Add(1) },
	} {
		w := DefaultWorkload()
		change(&w)
		other := newCatalogue(w)
		require.NotEqual(t, base.prefix, other.prefix, name)
		_, ok := base.index(other.eventID(0))
		require.False(t, ok, name)
	}
	longer := DefaultWorkload()
	longer.Events *= 2
	require.Equal(t, base.event(5), newCatalogue(longer).event(5), "a longer run repeats a shorter one")
}

func TestIndexOfStrangeIDs(t *testing.T) {
	t.Parallel()
	c := newCatalogue(DefaultWorkload())
	for _, id := range []string{
		"", "x", c.prefix, c.prefix + "00000000000G", c.prefix + "0000000000000", c.prefix + "+00000000001",
		c.prefix + "00000000000A",
	} {
		_, ok := c.index(id)
		require.False(t, ok, id)
	}
}

func TestWorkloadLimits(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Config){
		"negative events":    func(c *Config) { c.Workload.Events = -1 },
		"endless":            func(c *Config) { c.Workload.Events = 0 },
		"all duplicates":     func(c *Config) { c.Workload.Duplicates = 1 },
		"negative share":     func(c *Config) { c.Workload.Duplicates = -0.1 },
		"no topics":          func(c *Config) { c.Workload.Topics = nil },
		"bad topic":          func(c *Config) { c.Workload.Topics = []string{"a", "b\n"} },
		"small payload":      func(c *Config) { c.Workload.PayloadBytes = 10 },
		"big payload":        func(c *Config) { c.Workload.PayloadBytes = oncelog.MaxPayloadBytes + 1 },
		"no workers":         func(c *Config) { c.Concurrency = 0 },
		"too many workers":   func(c *Config) { c.Concurrency = 1 << 20 },
		"no batch":           func(c *Config) { c.Batch = 0 },
		"too large batch":    func(c *Config) { c.Batch = oncelog.MaxBatchEvents + 1 },
		"too large request":  func(c *Config) { c.Batch, c.Workload.PayloadBytes = 1000, 100_000 },
		"negative rate":      func(c *Config) { c.Rate = -1 },
		"negative duration":  func(c *Config) { c.Duration = -1 },
		"no patience":        func(c *Config) { c.Patience = 0 },
		"no progress period": func(c *Config) { c.ProgressInterval = 0 },
	} {
		cfg := DefaultConfig()
		change(&cfg)
		_, err := New(cfg, newFakeLog())
		require.ErrorIs(t, err, errWorkload, name)
	}
}

func BenchmarkEvent(b *testing.B) {
	c := newCatalogue(DefaultWorkload())
	var index int64
	for b.Loop() {
		c.event(index)
		index++
	}
}

func BenchmarkEvents1000(b *testing.B) {
	c := newCatalogue(DefaultWorkload())
	indexes := make([]int64, 1000)
	b.ReportAllocs()
	for b.Loop() {
		for i := range indexes {
			indexes[i]++
		}
		c.events(indexes)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(indexes)), "ns/event")
}
