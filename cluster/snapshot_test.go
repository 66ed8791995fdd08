package cluster

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog/loadgen"
	"github.com/oncelog/oncelog/node"
)

// tinyLog makes snapshots frequent, and leaves next to nothing of the log behind
// them.
const (
	tinyLog      = 128 << 10
	tinyTrailing = 1
)

// beNode runs the command serve with a tiny log, in a process of this test.
func beNode(args []string) int {
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	c := node.Config{SnapshotBytes: tinyLog, TrailingBytes: tinyTrailing, Logger: logger}
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	flags.StringVar(&c.Name, "name", "", "")
	flags.StringVar(&c.DataDir, "data-dir", "", "")
	flags.StringVar(&c.HTTPAddr, "http-addr", "", "")
	flags.StringVar(&c.RaftAddr, "raft-addr", "", "")
	flags.StringVar(&c.GossipAddr, "gossip-addr", "", "")
	flags.StringVar(&c.AdvertiseHost, "advertise-host", "", "")
	flags.IntVar(&c.BootstrapExpect, "bootstrap-expect", 0, "")
	flags.Func("join", "", func(s string) error {
		c.Join = strings.Split(s, ",")
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	n, err := node.New(c)
	if err == nil {
		err = n.Run(ctx)
	}
	if err != nil {
		logger.Error("the node has ended", "error", err)
		return 1
	}
	return 0
}

// What Raft writes into a node's log.
const (
	snapshotTaken     = "snapshot complete up to"
	snapshotInstalled = "Installed remote snapshot"
)

// logged counts the lines of a node's log that hold a text.
func logged(t *testing.T, n *Node, text string) int {
	t.Helper()
	log, err := os.ReadFile(n.LogPath())
	require.NoError(t, err)
	return strings.Count(string(log), text)
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

// FAULTS 14 and 15: each node is killed right after a snapshot, when its log is
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
