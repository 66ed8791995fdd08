package cluster

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog/loadgen"
)

// rollsVariable says how often all nodes are restarted.
const rollsVariable = "ONCELOG_ROLLS"

// FAULTS 21: all nodes are restarted, one after the other, under load. Clients
// that know all of them, and try again, see no error.
func TestRollingRestart(t *testing.T) {
	c := processes(t)
	var worst time.Duration
	for roll := range numberFrom(t, rollsVariable, 1) {
		gap := rollUnderLoad(t, c)
		worst = max(worst, gap)
		t.Logf("roll %d: gap in acked writes %s, worst %s", roll+1, gap.Round(time.Millisecond), worst.Round(time.Millisecond))
	}
}

func rollUnderLoad(t *testing.T, c *Cluster) (gap time.Duration) {
	t.Helper()
	const events, between = 12_000, 500
	tr := newTrial(t, c, func(cfg *loadgen.Config) {
		cfg.Workload.Events, cfg.Batch, cfg.Concurrency, cfg.Rate = events, 10, 32, 1500
	})
	report := tr.run(t, func(ctx context.Context) {
		require.NoError(t, tr.meter.reach(ctx, between))
		tr.meter.arm()
		for _, n := range c.nodes {
			require.NoError(t, n.Stop(ctx))
			require.NoError(t, n.Start())
			require.NoError(t, c.WaitReady(ctx))
			require.NoError(t, tr.meter.reach(ctx, tr.meter.count()+between), "writes go on")
		}
		gap = tr.meter.longestGap()
		require.Less(t, tr.meter.count(), int64(events), "the load was under way")
	})
	require.Equal(t, int64(events), report.Stored+report.Duplicates)
	tr.verify(t, report)
	return gap
}

// FAULTS 21: a node is gone for good, with all its data, and another one comes in
// its place under the same name. Clients of the others see no error, and the
// voters are three again.
func TestNodeGoneForGoodIsReplaced(t *testing.T) {
	c := processes(t)
	gone, err := c.Leader(t.Context())
	require.NoError(t, err)
	survivors := c.others(gone)
	const events, between = 10_000, 500
	tr := newTrialOnce(t, c, survivors, func(cfg *loadgen.Config) {
		cfg.Workload.Events, cfg.Batch, cfg.Concurrency, cfg.Rate = events, 10, 32, 1500
	})
	report := tr.run(t, func(ctx context.Context) {
		require.NoError(t, tr.meter.reach(ctx, between))
		old, err := identityOf(gone)
		require.NoError(t, err)
		require.NoError(t, gone.Kill())
		require.NoError(t, os.RemoveAll(gone.Dir()))
		require.NoError(t, tr.meter.reach(ctx, tr.meter.count()+between), "the survivors go on")
		require.NoError(t, gone.Start())
		replaced := time.Now()
		require.NoError(t, c.Await(ctx, "the new node to vote in the old one's place", func(ctx context.Context) error {
			return c.eachAlive(func(n *Node) error { return n.haveVotes(ctx, c.nodes, old) })
		}))
		t.Logf("replaced after %s", time.Since(replaced).Round(time.Millisecond))
		require.Less(t, tr.meter.count(), int64(events), "the load was under way")
	})
	require.Empty(t, report.Errors, "clients of the survivors see no error")
	tr.verify(t, report)
	requireOneCluster(t, c)
}
