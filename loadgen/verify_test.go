package loadgen

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
)

// failed lists the names of the checks that failed.
func failed(v Verdict) []string {
	var names []string
	for _, c := range v.Checks {
		if !c.OK {
			names = append(names, c.Name)
		}
	}
	return names
}

// others publishes n events that are not the load's.
func others(log *fakeLog, n int) {
	w := DefaultWorkload()
	w.Seed = 99
	c := newCatalogue(w)
	for i := range int64(n) {
		log.apply([]oncelog.Event{c.event(i)})
	}
}

func TestVerifyAcceptsAGoodLog(t *testing.T) {
	t.Parallel()
	log := newFakeLog()
	others(log, 10)
	nodes := []Node{{"n1", log}, {"n2", log}, {"n3", log}}
	baseline, err := Baseline(t.Context(), nodes)
	require.NoError(t, err)
	require.Equal(t, uint64(10), baseline.Unique)
	load := newLoad(t, log, nil)
	r := load.Run(t.Context())
	others(log, 20)
	verdict, err := load.Verify(t.Context(), nodes, baseline, r)
	require.NoError(t, err)
	require.True(t, verdict.OK, verdict)
	require.Empty(t, failed(verdict))
}

// Each fault of one node, and the checks that must find it.
func TestVerifyFindsFaults(t *testing.T) {
	t.Parallel()
	swap := func(rs []oncelog.Record, i, j int) { rs[i].Event, rs[j].Event = rs[j].Event, rs[i].Event }
	for name, tc := range map[string]struct {
		bend crookedNode
		want []string
	}{
		"a lost event, ids closed up": {
			crookedNode{
				bendEvents: func(rs []oncelog.Record) []oncelog.Record {
					rs = slices.Delete(rs, 700, 701)
					for i := range rs {
						rs[i].ID = uint64(i + 1)
					}
					return rs
				},
				bendStats: func(s *oncelog.Stats) { s.Unique--; s.Duplicates++ },
			},
			[]string{"n2 events"},
		},
		"a lost event at the end": {
			crookedNode{bendEvents: func(rs []oncelog.Record) []oncelog.Record { return rs[:len(rs)-1] }},
			[]string{"n2 events", "n2 ids gapless", "n2 unique"},
		},
		"a doubled event": {
			crookedNode{
				bendEvents: func(rs []oncelog.Record) []oncelog.Record {
					again := rs[3]
					again.ID = uint64(len(rs) + 1)
					return append(rs, again)
				},
				bendStats: func(s *oncelog.Stats) { s.Unique++; s.Duplicates-- },
			},
			[]string{"n2 events"},
		},
		"wrong ids": {
			crookedNode{bendEvents: func(rs []oncelog.Record) []oncelog.Record { swap(rs, 5, 6); return rs }},
			[]string{"n2 events"},
		},
		"a gap": {
			crookedNode{bendEvents: func(rs []oncelog.Record) []oncelog.Record { return slices.Delete(rs, 5, 6) }},
			[]string{"n2 events", "n2 ids gapless", "n2 unique"},
		},
		"an altered payload": {
			crookedNode{bendEvents: func(rs []oncelog.Record) []oncelog.Record {
				rs[8].Payload = []byte(`{}`)
				return rs
			}},
			[]string{"n2 events"},
		},
		"an altered timestamp": {
			crookedNode{bendEvents: func(rs []oncelog.Record) []oncelog.Record {
				rs[8].Timestamp = rs[8].Timestamp.Add(1)
				return rs
			}},
			[]string{"n2 events"},
		},
		"another digest": {
			crookedNode{bendStats: func(s *oncelog.Stats) { s.Digest = "sha256:0" }},
			[]string{"digests"},
		},
		"counters that do not add up": {
			crookedNode{bendStats: func(s *oncelog.Stats) { s.Duplicates++ }},
			[]string{"n2 counters"},
		},
		"events counted twice": {
			crookedNode{bendStats: func(s *oncelog.Stats) { s.Duplicates++; s.Received++ }},
			[]string{"n2 received"},
		},
		"events not counted": {
			crookedNode{bendStats: func(s *oncelog.Stats) { s.Duplicates--; s.Received-- }},
			[]string{"n2 received"},
		},
		"a broken stream": {
			crookedNode{failEvents: errors.New("cut off")},
			[]string{"n2 readable"},
		},
		"a node that lags": {
			crookedNode{bendStats: func(s *oncelog.Stats) { s.AppliedIndex-- }},
			[]string{"nodes level"},
		},
		"a node that does not answer": {
			crookedNode{failStats: errors.New("refused")},
			[]string{"nodes level", "n2 readable"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				log := newFakeLog()
				load := newLoad(t, log, nil)
				r := load.Run(t.Context())
				tc.bend.fakeLog = log
				nodes := []Node{{"n1", log}, {"n2", &tc.bend}}
				verdict, err := load.Verify(t.Context(), nodes, oncelog.Stats{}, r)
				require.NoError(t, err)
				require.False(t, verdict.OK)
				require.Equal(t, tc.want, failed(verdict), "%+v", verdict)
			})
		})
	}
}

// Each lie of a receipt, and what it is found by.
func TestVerifyFindsFalseReceipts(t *testing.T) {
	t.Parallel()
	const keysCheck = "each key stored once, under one id"
	for name, tc := range map[string]struct {
		bend func(*oncelog.Receipt)
		want []string
	}{
		"stored twice": {
			func(r *oncelog.Receipt) { r.Status = oncelog.Stored },
			[]string{keysCheck},
		},
		"never stored": {
			func(r *oncelog.Receipt) { r.Status = oncelog.Duplicate },
			[]string{keysCheck},
		},
		"another id in the duplicates": {
			func(r *oncelog.Receipt) {
				if r.Status == oncelog.Duplicate {
					r.ID++
				}
			},
			[]string{keysCheck},
		},
		"a conflict": {
			func(r *oncelog.Receipt) { r.Conflict = r.Status == oncelog.Duplicate },
			[]string{"no conflict"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := newFakeLog()
			log.receipt = tc.bend
			// One request at a time: receipts come in the log's order.
			load := newLoad(t, log, func(c *Config) { c.Concurrency = 1 })
			r := load.Run(t.Context())
			verdict, err := load.Verify(t.Context(), []Node{{"n1", log}}, oncelog.Stats{}, r)
			require.NoError(t, err)
			require.Equal(t, tc.want, failed(verdict), "%+v", verdict)
		})
	}
}

// A stored answer that a client lost is allowed for, as often as it re-sent.
func TestVerifyAllowsForResends(t *testing.T) {
	t.Parallel()
	log := newFakeLog()
	lost := 0
	log.receipt = func(r *oncelog.Receipt) {
		if r.Status == oncelog.Stored && lost < 5 {
			lost++
			r.Status = oncelog.Duplicate
			log.resent.Add(1)
			log.received++
		}
	}
	load := newLoad(t, log, func(c *Config) { c.Batch = 1 })
	r := load.Run(t.Context())
	require.Equal(t, int64(5), r.Resent)
	verdict, err := load.Verify(t.Context(), []Node{{"n1", log}}, oncelog.Stats{}, r)
	require.NoError(t, err)
	require.True(t, verdict.OK, verdict)
	r.ResentEvents = 4
	verdict, err = load.Verify(t.Context(), []Node{{"n1", log}}, oncelog.Stats{}, r)
	require.NoError(t, err)
	require.Equal(t, []string{"each key stored once, under one id", "n1 received"}, failed(verdict))
}

func TestVerifyWaitsUntilNodesAreLevel(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog()
		load := newLoad(t, log, nil)
		r := load.Run(t.Context())
		begin := time.Now()
		behind := &crookedNode{fakeLog: log, bendStats: func(s *oncelog.Stats) {
			if time.Since(begin) < 10*time.Second {
				s.AppliedIndex--
			}
		}}
		verdict, err := load.Verify(t.Context(), []Node{{"n1", log}, {"n2", behind}}, oncelog.Stats{}, r)
		require.NoError(t, err)
		require.True(t, verdict.OK, verdict)
		require.GreaterOrEqual(t, time.Since(begin), 10*time.Second)
	})
}

func TestVerifyNeedsALedgerAndNodes(t *testing.T) {
	t.Parallel()
	log := newFakeLog()
	load := newLoad(t, log, func(c *Config) { c.Verify = false })
	r := load.Run(t.Context())
	_, err := load.Verify(t.Context(), []Node{{"n1", log}}, oncelog.Stats{}, r)
	require.ErrorIs(t, err, errNotKept)

	load = newLoad(t, log, nil)
	r = load.Run(t.Context())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	verdict, err := load.Verify(ctx, nil, oncelog.Stats{}, r)
	require.NoError(t, err)
	require.Contains(t, strings.Join(failed(verdict), " "), "nodes level")
}

func TestBaselineAsksTheNext(t *testing.T) {
	t.Parallel()
	log := newFakeLog()
	others(log, 3)
	dead := &crookedNode{fakeLog: log, failStats: oncelog.ErrUnavailable}
	stats, err := Baseline(t.Context(), []Node{{"n1", dead}, {"n2", log}})
	require.NoError(t, err)
	require.Equal(t, uint64(3), stats.Unique)
	_, err = Baseline(t.Context(), []Node{{"n1", dead}})
	require.ErrorIs(t, err, oncelog.ErrUnavailable)
}

// A node that is paused accepts and says nothing.
func TestBaselineDoesNotWaitForASilentNode(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog()
		others(log, 3)
		stats, err := Baseline(t.Context(), []Node{{"n1", &silentNode{log}}, {"n2", log}})
		require.NoError(t, err)
		require.Equal(t, uint64(3), stats.Unique)
	})
}

type silentNode struct{ *fakeLog }

func (*silentNode) Stats(ctx context.Context, _ oncelog.Consistency) (oncelog.Stats, error) {
	<-ctx.Done()
	return oncelog.Stats{}, ctx.Err()
}
