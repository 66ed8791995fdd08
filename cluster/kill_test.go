package cluster

import (
	"context"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog/loadgen"
)

// killsVariable says how often the leader is killed.
const killsVariable = "ONCELOG_KILLS"

// numberFrom is what the environment says, or else the number given.
func numberFrom(t *testing.T, variable string, otherwise int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err, variable)
	require.Positive(t, n, variable)
	return n
}

// others are all nodes but one.
func (c *Cluster) others(n *Node) []*Node {
	return slices.DeleteFunc(slices.Clone(c.nodes), func(o *Node) bool { return o == n })
}

// FAULTS 1: the leader is killed under load, again and again. Clients of the
// survivors, which never send anything again, see no error, and every event is
// counted exactly once.
func TestLeaderKilledAgainAndAgain(t *testing.T) {
	c := processes(t)
	var sent, unique uint64
	var gaps []time.Duration
	var rounds []*trial
	for kill := range numberFrom(t, killsVariable, 3) {
		tr, report, gap := killLeaderUnderLoad(t, c)
		rounds, gaps = append(rounds, tr), append(gaps, gap)
		sent += uint64(report.Sent)
		unique += uint64(report.Stored)
		require.NoError(t, c.WaitReady(t.Context()))
		level, err := c.WaitLevel(t.Context())
		require.NoError(t, err)
		require.Len(t, level, 3)
		for _, s := range level {
			require.Equal(t, sent, s.Received, "received by %s after kill %d", s.Node, kill+1)
			require.Equal(t, unique, s.Unique, "unique on %s after kill %d", s.Node, kill+1)
			require.Equal(t, sent-unique, s.Duplicates, "duplicates on %s after kill %d", s.Node, kill+1)
			require.Equal(t, level[0].Digest, s.Digest, "digest of %s after kill %d", s.Node, kill+1)
		}
		t.Logf("kill %d: gap in acked writes %s, total_received_queued %d of %d sent", kill+1, gap.Round(time.Millisecond), level[0].Received, sent)
	}
	slices.Sort(gaps)
	t.Logf("%d kills: gap in acked writes: median %s, worst %s", len(gaps),
		gaps[len(gaps)/2].Round(time.Millisecond), gaps[len(gaps)-1].Round(time.Millisecond))
	contents, err := c.Contents(t.Context())
	require.NoError(t, err)
	require.NoError(t, c.Check(t.Context()))
	for _, tr := range rounds {
		tr.told.requireHeld(t, contents)
	}
}

// killLeaderUnderLoad publishes through the followers, kills the leader, and
// starts it again when writes flow.
func killLeaderUnderLoad(t *testing.T, c *Cluster) (*trial, loadgen.Report, time.Duration) {
	t.Helper()
	const events, between = 6000, 1000
	old, err := c.Leader(t.Context())
	require.NoError(t, err)
	tr := newTrialOnce(t, c, c.others(old), func(cfg *loadgen.Config) {
		cfg.Workload.Events, cfg.Batch, cfg.Concurrency, cfg.Rate = events, 10, 32, 3000
	})
	var gap time.Duration
	report := tr.run(t, func(ctx context.Context) {
		require.NoError(t, tr.meter.reach(ctx, between))
		require.NoError(t, old.Kill())
		killed := tr.meter.arm()
		require.Less(t, killed, int64(events-between), "the load was under way")
		next, err := c.Leader(ctx)
		require.NoError(t, err)
		require.NotEqual(t, old.Name(), next.Name())
		require.NoError(t, tr.meter.reach(ctx, killed+between), "writes flow again")
		gap = tr.meter.longestGap()
		require.NoError(t, old.Start())
	})
	require.Empty(t, report.Errors, "clients of the survivors see no error")
	require.Zero(t, report.Resent)
	require.Equal(t, int64(events), report.Stored+report.Duplicates)
	return tr, report, gap
}

// FAULTS 2: all nodes are killed while events are in flight, three times in a
// row. Every acknowledged event is there afterwards, and the load goes on to its
// end.
func TestAllKilledInMidLoad(t *testing.T) {
	c := processes(t)
	const events = 20_000
	tr := newTrial(t, c, func(cfg *loadgen.Config) {
		cfg.Workload.Events, cfg.Batch, cfg.Concurrency, cfg.Rate = events, 20, 32, 5000
	})
	report := tr.run(t, func(ctx context.Context) {
		for range 3 {
			before := tr.meter.count()
			require.NoError(t, tr.meter.reach(ctx, before+events/5))
			require.NoError(t, c.Kill())
			require.Empty(t, c.Alive())
			require.Less(t, tr.meter.count(), int64(events), "the load was under way")
			require.NoError(t, c.Start(ctx))
		}
	})
	require.Positive(t, report.Resent, "requests were in flight")
	require.Equal(t, int64(events), report.Stored+report.Duplicates)
	s := tr.verify(t, report)
	require.Equal(t, uint64(14_000), s.Unique)
}
