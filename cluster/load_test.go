package cluster

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/httpapi/client"
	"github.com/oncelog/oncelog/loadgen"
)

// trial is one load against one cluster.
type trial struct {
	cluster  *Cluster
	config   loadgen.Config
	load     *loadgen.Load
	baseline oncelog.Stats
	meter    meter
	told     ledger
}

// newTrial prepares 20,000 events, 30 % of them duplicates, for all nodes.
func newTrial(t *testing.T, c *Cluster, change func(*loadgen.Config)) *trial {
	t.Helper()
	all, err := c.Client()
	require.NoError(t, err)
	t.Cleanup(all.Close)
	return newTrialBy(t, c, all, change)
}

// newTrialOnce is newTrial for some of the nodes and a client that sends nothing
// again: what fails shows in the report.
func newTrialOnce(t *testing.T, c *Cluster, to []*Node, change func(*loadgen.Config)) *trial {
	t.Helper()
	var targets []string
	for _, n := range to {
		targets = append(targets, n.URL())
	}
	once, err := client.New(targets, client.WithoutRetries())
	require.NoError(t, err)
	t.Cleanup(once.Close)
	return newTrialBy(t, c, once, change)
}

func newTrialBy(t *testing.T, c *Cluster, publisher loadgen.Publisher, change func(*loadgen.Config)) *trial {
	t.Helper()
	tr := &trial{cluster: c, told: newLedger()}
	cfg := loadgen.DefaultConfig()
	cfg.Workload.Seed = rand.Uint64()
	cfg.Verify = true
	cfg.History = func(op loadgen.Operation) {
		tr.told.record(op)
		tr.meter.record(op)
	}
	if change != nil {
		change(&cfg)
	}
	t.Logf("seed %d", cfg.Workload.Seed)
	tr.config = cfg
	var err error
	tr.load, err = loadgen.New(cfg, publisher)
	require.NoError(t, err)
	tr.baseline, err = loadgen.Baseline(t.Context(), c.Readers())
	require.NoError(t, err)
	return tr
}

// run publishes, and calls during in mid-load.
func (tr *trial) run(t *testing.T, during func(context.Context)) loadgen.Report {
	t.Helper()
	done := make(chan loadgen.Report, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { done <- tr.load.Run(ctx) }()
	// A fault that fails the test must not leave the load behind.
	ended := false
	defer func() {
		if cancel(); !ended {
			<-done
		}
	}()
	if during != nil {
		during(ctx)
	}
	report := <-done
	ended = true
	require.True(t, report.OK(), "%+v", report)
	return report
}

// verify holds every node against the receipts and returns the nodes' numbers,
// which are equal.
func (tr *trial) verify(t *testing.T, report loadgen.Report) oncelog.Stats {
	t.Helper()
	require.NoError(t, tr.cluster.WaitReady(t.Context()))
	verdict, err := tr.load.Verify(t.Context(), tr.cluster.Readers(), tr.baseline, report)
	require.NoError(t, err)
	for _, c := range verdict.Checks {
		require.True(t, c.OK, "%s: %s", c.Name, c.Detail)
	}
	require.True(t, verdict.OK)
	require.NoError(t, tr.cluster.Check(t.Context()))
	level, err := tr.cluster.WaitLevel(t.Context())
	require.NoError(t, err)
	require.Len(t, level, len(tr.cluster.Nodes()))
	for _, s := range level {
		require.Equal(t, level[0].AppliedIndex, s.AppliedIndex)
		require.Equal(t, level[0].Digest, s.Digest)
	}
	return level[0]
}

func TestLoadIsExact(t *testing.T) {
	c := processes(t)
	tr := newTrial(t, c, nil)
	report := tr.run(t, nil)
	require.Zero(t, report.Resent, "a healthy cluster takes every request the first time")
	tr.verify(t, report)
	level, err := c.WaitLevel(t.Context())
	require.NoError(t, err)
	for _, s := range level {
		require.Equal(t, uint64(20_000), s.Received, s.Node)
		require.Equal(t, uint64(14_000), s.Unique, s.Node)
		require.Equal(t, uint64(6_000), s.Duplicates, s.Node)
		require.Zero(t, s.Conflicts, s.Node)
	}
}

func TestLeaderKilledInMidLoad(t *testing.T) {
	c := processes(t)
	// Requests are small, and slow enough that the leader's end is in their midst.
	tr := newTrial(t, c, func(cfg *loadgen.Config) { cfg.Batch, cfg.Concurrency, cfg.Rate = 20, 32, 5000 })
	report := tr.run(t, func(ctx context.Context) {
		old, err := c.Leader(ctx)
		require.NoError(t, err)
		require.NoError(t, tr.meter.reach(ctx, 5000))
		require.NoError(t, old.Kill())
		killed := tr.meter.arm()
		require.Less(t, killed, int64(20_000), "the load was under way")
		next, err := c.Leader(ctx)
		require.NoError(t, err)
		require.NotEqual(t, old.Name(), next.Name())
		require.NoError(t, tr.meter.reach(ctx, min(killed+5000, 20_000)), "the survivors go on")
		require.NoError(t, old.Start())
	})
	require.Equal(t, int64(20_000), report.Stored+report.Duplicates)
	s := tr.verify(t, report)
	require.Equal(t, uint64(14_000), s.Unique)
	require.GreaterOrEqual(t, s.Received, uint64(20_000))

	require.NoError(t, c.Kill())
	require.Empty(t, c.Alive())
	require.NoError(t, c.Start(t.Context()))
	after := tr.verify(t, report)
	require.Equal(t,
		[]any{s.Received, s.Unique, s.Duplicates, s.Conflicts, s.Topics, s.Digest},
		[]any{after.Received, after.Unique, after.Duplicates, after.Conflicts, after.Topics, after.Digest},
		"kill -9 of all nodes loses nothing and counts nothing twice")
}
