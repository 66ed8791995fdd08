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

// All nodes are restarted, one after the other, under load. Clients
// that know all of them, and try again, see no error.
func TestRollingRestart(t *testing.T) {
	c := profiled(t)
	rolls, report := numberFrom(t, rollsVariable, 1), newFailovers("node restarted in order")
	for roll := range rolls {
		runs := rollUnderLoad(t, c)
		report.Runs = append(report.Runs, runs...)
		t.Logf("roll %d: %+v", roll+1, runs)
	}
	report.tell(t)
}

// rollUnderLoad returns what the restart of each node cost.
func rollUnderLoad(t *testing.T, c *Cluster) (runs []failover) {
	t.Helper()
	const events, between = 12_000, 500
	tr := newTrial(t, c, func(cfg *loadgen.Config) {
		cfg.Workload.Events, cfg.Batch, cfg.Concurrency, cfg.Rate = events, 10, 32, 1500
	})
	report := tr.run(t, func(ctx context.Context) {
		require.NoError(t, tr.meter.reach(ctx, between))
		for _, n := range c.nodes {
			var f failover
			tr.meter.arm()
			since := time.Now()
			require.NoError(t, n.Stop(ctx))
			require.NoError(t, n.Start())
			require.NoError(t, c.WaitReady(ctx))
			require.NoError(t, tr.meter.reach(ctx, tr.meter.count()+between), "writes go on")
			f.Gap = float64(tr.meter.longestGap()) / float64(time.Millisecond)
			f.steps(t, c.nodes, since)
			runs = append(runs, f)
		}
		require.Less(t, tr.meter.count(), int64(events), "the load was under way")
	})
	require.Equal(t, int64(events), report.Stored+report.Duplicates)
	tr.verify(t, report)
	return runs
}

// A node is gone for good, with all its data, and another one comes in
// its place under the same name. Clients of the others see no error, and the
// voters are three again.
func TestNodeGoneForGoodIsReplaced(t *testing.T) {
	c := processes(t)
	gone, err := c.Leader(t.Context())
	require.NoError(t, err)
	survivors := c.others(gone)
	const events, between = 20_000, 500
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
