package cluster

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog/loadgen"
)

// What Raft writes into a node's log.
const (
	snapshotTaken     = "snapshot complete up to"
	snapshotInstalled = "Installed remote snapshot"
)

// logged counts the lines of a node's log that hold a text.
func logged(t *testing.T, n *Node, text string) int {
	t.Helper()
	count, err := n.said(text)
	require.NoError(t, err)
	return count
}

// said is how often a node's log holds a text.
func (n *Node) said(text string) (count int, err error) {
	log, err := os.ReadFile(n.LogPath())
	return strings.Count(string(log), text), err
}

// awaitSnapshots waits until a node has taken so many more.
func awaitSnapshots(ctx context.Context, t *testing.T, c *Cluster, n *Node, more int) {
	t.Helper()
	want := logged(t, n, snapshotTaken) + more
	require.NoError(t, c.Await(ctx, fmt.Sprintf("%s to take %d snapshots", n, want), func(context.Context) error {
		if got := logged(t, n, snapshotTaken); got < want {
			return fmt.Errorf("it has taken %d", got)
		}
		return nil
	}))
}

// Each node is killed right after a snapshot, when its log is
// cut to next to nothing, and comes back when the others have moved on so far
// that it needs theirs. Then all old ids are sent again.
func TestKilledRightAfterSnapshots(t *testing.T) {
	c, err := StartProcesses(t.Context(), os.Args[0], Options{Dir: t.TempDir()})
	require.NoError(t, err)
	closeLater(t, c)
	const kills = 4
	var rounds []*trial
	var sent, resent uint64
	for i := range kills {
		tr, report := killAfterSnapshot(t, c, c.Nodes()[i%3], c.Nodes()[(i+1)%3], i%2 == 1)
		rounds = append(rounds, tr)
		sent += uint64(report.Sent)
		resent += uint64(report.ResentEvents)
	}
	installed := 0
	for _, n := range c.Nodes() {
		installed += logged(t, n, snapshotInstalled)
	}
	require.Positive(t, installed, "a node was so far behind that it needed a snapshot")
	before, err := c.Contents(t.Context())
	require.NoError(t, err)
	require.GreaterOrEqual(t, before[0].Stats.Received, sent)
	require.LessOrEqual(t, before[0].Stats.Received, sent+resent)
	for _, tr := range rounds {
		tr.sendAgain(t)
	}
	after, err := c.Contents(t.Context())
	require.NoError(t, err)
	require.NoError(t, c.Check(t.Context()))
	for _, tr := range rounds {
		tr.told.requireHeld(t, after)
	}
	require.Equal(t, before[0].Stats.Unique, after[0].Stats.Unique)
	t.Logf("%d kills, %d snapshots installed; %d ids, received %d, then %d", kills, installed,
		after[0].Stats.Unique, before[0].Stats.Received, after[0].Stats.Received)
}

// killAfterSnapshot publishes to all nodes and kills one right after a snapshot.
// It starts again at once, or when another node has taken more.
func killAfterSnapshot(t *testing.T, c *Cluster, n, other *Node, behind bool) (*trial, loadgen.Report) {
	t.Helper()
	tr := newTrial(t, c, func(cfg *loadgen.Config) {
		cfg.Workload.Events, cfg.Batch, cfg.Concurrency, cfg.Rate = 3000, 20, 16, 2000
	})
	report := tr.run(t, func(ctx context.Context) {
		awaitSnapshots(ctx, t, c, n, 1)
		require.NoError(t, n.Kill())
		require.Less(t, tr.meter.count(), tr.config.Workload.Events, "the load was under way")
		if behind {
			awaitSnapshots(ctx, t, c, other, 2)
		}
		require.NoError(t, n.Start())
	})
	require.NoError(t, c.WaitReady(t.Context()))
	return tr, report
}

// sendAgain publishes the same events once more, which are all known, each under
// its first id.
func (tr *trial) sendAgain(t *testing.T) {
	t.Helper()
	again := newTrial(t, tr.cluster, func(cfg *loadgen.Config) { cfg.Workload = tr.config.Workload })
	again.told.ids = tr.told.ids
	report := again.run(t, nil)
	require.Zero(t, report.Stored, "every old id is known")
	require.Zero(t, report.Conflicts)
	require.Equal(t, tr.config.Workload.Events, report.Duplicates)
	require.Empty(t, again.told.faults)
}
