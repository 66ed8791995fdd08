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

// killsVariable says how often the leader is killed, pausesVariable how often it is
// paused.
const (
	killsVariable  = "ONCELOG_KILLS"
	pausesVariable = "ONCELOG_PAUSES"
)

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

// loss is a way to lose a leader, and to get it back.
type loss struct {
	what  string
	bring func(*Node) error
	mend  func(*Node) error
}

// The leader is killed under load, again and again. Clients of the
// survivors, which never send anything again, see no error, and every event is
// counted exactly once.
func TestLeaderKilledAgainAndAgain(t *testing.T) {
	loseLeaders(t, loss{"leader killed", (*Node).Kill, (*Node).Start}, numberFrom(t, killsVariable, 3))
}

// The same with a leader that is paused, for as long as it takes the
// others to go on.
func TestLeaderPausedAgainAndAgain(t *testing.T) {
	loseLeaders(t, loss{"leader paused", (*Node).Pause, (*Node).Continue}, numberFrom(t, pausesVariable, 1))
}

func loseLeaders(t *testing.T, l loss, times int) {
	t.Helper()
	c := profiled(t)
	report := newFailovers(l.what)
	var sent, unique uint64
	var rounds []*trial
	for n := range times {
		tr, load, f := loseLeaderUnderLoad(t, c, l)
		rounds, report.Runs = append(rounds, tr), append(report.Runs, f)
		sent += uint64(load.Sent)
		unique += uint64(load.Stored)
		require.NoError(t, c.WaitReady(t.Context()))
		requireCounted(t, c, sent, unique, n+1)
		t.Logf("%s %d: %+v, total_received_queued %d of %d sent", l.what, n+1, f, sent, sent)
	}
	requireAllHeld(t, c, rounds)
	report.tell(t)
}

// requireCounted waits until three nodes are level, and requires that each has
// counted every event once, after so many times.
func requireCounted(t *testing.T, c *Cluster, sent, unique uint64, times int) {
	t.Helper()
	level, err := c.WaitLevel(t.Context())
	require.NoError(t, err)
	require.Len(t, level, 3)
	for _, s := range level {
		require.Equal(t, sent, s.Received, "received by %s after time %d", s.Node, times)
		require.Equal(t, unique, s.Unique, "unique on %s after time %d", s.Node, times)
		require.Equal(t, sent-unique, s.Duplicates, "duplicates on %s after time %d", s.Node, times)
		require.Equal(t, level[0].Digest, s.Digest, "digest of %s after time %d", s.Node, times)
	}
}

// requireAllHeld requires that the log is sound and holds what the publishers of all
// rounds were told.
func requireAllHeld(t *testing.T, c *Cluster, rounds []*trial) {
	t.Helper()
	contents, err := c.Contents(t.Context())
	require.NoError(t, err)
	require.NoError(t, c.Check(t.Context()))
	for _, tr := range rounds {
		tr.told.requireHeld(t, contents)
	}
}

// loseLeaderUnderLoad publishes through the followers, loses the leader, and gets it
// back when writes flow.
func loseLeaderUnderLoad(t *testing.T, c *Cluster, l loss) (*trial, loadgen.Report, failover) {
	t.Helper()
	const events, between = 6000, 1000
	old, err := c.Leader(t.Context())
	require.NoError(t, err)
	survivors := c.others(old)
	tr := newTrialOnce(t, c, survivors, func(cfg *loadgen.Config) {
		cfg.Workload.Events, cfg.Batch, cfg.Concurrency, cfg.Rate = events, 10, 32, 3000
	})
	var f failover
	report := tr.run(t, func(ctx context.Context) {
		require.NoError(t, tr.meter.reach(ctx, between))
		lost, since := tr.meter.arm(), time.Now()
		require.NoError(t, l.bring(old))
		require.Less(t, lost, int64(events-between), "the load was under way")
		next, err := c.Leader(ctx)
		require.NoError(t, err)
		require.NotEqual(t, old.Name(), next.Name())
		require.NoError(t, tr.meter.reach(ctx, lost+between), "writes flow again")
		f.Gap = float64(tr.meter.longestGap()) / float64(time.Millisecond)
		f.steps(t, survivors, since)
		require.NoError(t, l.mend(old))
	})
	require.Empty(t, report.Errors, "clients of the survivors see no error")
	require.Zero(t, report.Resent)
	require.Equal(t, int64(events), report.Stored+report.Duplicates)
	return tr, report, f
}

// All nodes are killed while events are in flight, three times in a
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
