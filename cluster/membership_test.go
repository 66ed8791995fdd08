package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/httpapi/client"
	"github.com/oncelog/oncelog/loadgen"
)

// Three nodes become five and three again, under load, and one of those that leave
// leads. Clients of the three that stay, which never send anything again, see no
// error, and every event is counted exactly once.
func TestThreeNodesBecomeFiveAndThreeAgain(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	c, err := StartProcesses(ctx, binary(), Options{Dir: t.TempDir(), Joiners: 2})
	require.NoError(t, err)
	closeLater(t, c)
	stay, come := c.nodes[:3], c.nodes[3:]
	load := startFlow(t, stay)
	for i, n := range come {
		load.goesOn(t, c)
		require.NoError(t, n.Start())
		requireVoters(t, c, stay, 4+i)
	}
	_, err = stay[0].Client().TransferLeadership(ctx, come[0].Name())
	require.NoError(t, err)
	require.NoError(t, c.WaitReady(ctx))
	for i, n := range come {
		load.goesOn(t, c)
		departed, err := stay[i].Client().Leave(ctx, n.Name(), false)
		require.NoError(t, err)
		require.Equal(t, n.Name(), departed.Name)
		require.Equal(t, 4-i, departed.Voters)
		requireLeft(t, c, n)
		requireVoters(t, c, stay, 4-i)
	}
	load.goesOn(t, c)
	load.end(t)

	contents, err := c.Contents(ctx)
	require.NoError(t, err)
	require.Len(t, contents, len(stay))
	require.NoError(t, c.Check(ctx))
	load.told.requireHeld(t, contents)
	for _, held := range contents {
		require.Equal(t, load.sent.Load(), held.Stats.Received, "received by %s", held.Node)
		require.Equal(t, load.stored.Load(), held.Stats.Unique, "unique on %s", held.Node)
	}

	// A directory that has left is of no more use; the cluster is as it was.
	require.NoError(t, come[0].Start())
	require.NoError(t, c.Await(ctx, "the node to refuse to start", func(context.Context) error {
		if come[0].up() {
			return errors.New("it runs")
		}
		return nil
	}))
	require.Error(t, come[0].Err())
	require.Positive(t, logged(t, come[0], "start with an empty data directory"))
	requireVoters(t, c, stay, 3)
}

// requireVoters waits until each of some nodes sees so many voters, all of them level.
func requireVoters(t *testing.T, c *Cluster, by []*Node, want int) {
	t.Helper()
	require.NoError(t, c.Await(t.Context(), fmt.Sprintf("%d voters", want), func(ctx context.Context) error {
		return each(by, func(n *Node) error {
			ctx, cancel := context.WithTimeout(ctx, askTimeout)
			defer cancel()
			view, err := n.Client().Cluster(ctx)
			if err == nil && (view.Voters != want || view.FailureTolerance != (want-1)/2) {
				err = fmt.Errorf("it sees %d voters, and a tolerance of %d", view.Voters, view.FailureTolerance)
			}
			return err
		})
	}))
}

// requireLeft waits until a node has ended, well.
func requireLeft(t *testing.T, c *Cluster, n *Node) {
	t.Helper()
	require.NoError(t, c.Await(t.Context(), n.Name()+" to stop", func(context.Context) error {
		if n.up() {
			return errors.New("it runs")
		}
		return nil
	}))
	require.NoError(t, n.life.err(), "exit status 0")
	require.Positive(t, logged(t, n, "this node has left the cluster, and stops"))
}

// flow is clients that publish for as long as a test wants, each event once or
// twice, and send nothing again.
type flow struct {
	told         ledger
	sent, stored atomic.Uint64
	clients      sync.WaitGroup
	stop         context.CancelFunc

	// mu guards errs, which are the answers that were no receipts.
	mu   sync.Mutex
	errs []error
}

// startFlow publishes to some nodes until end.
func startFlow(t *testing.T, to []*Node) *flow {
	t.Helper()
	var targets []string
	for _, n := range to {
		targets = append(targets, n.URL())
	}
	once, err := client.New(targets, client.WithoutRetries())
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	f := &flow{told: newLedger(), stop: stop}
	const clients = 8
	for i := range clients {
		f.clients.Go(func() {
			for turn := 0; ctx.Err() == nil; turn++ {
				f.publish(t.Context(), once, fmt.Sprintf("%d-%d", i, turn))
			}
		})
	}
	t.Cleanup(func() {
		stop()
		f.clients.Wait()
		once.Close()
	})
	return f
}

// publish sends one event twice, and another one once.
func (f *flow) publish(ctx context.Context, to *client.Client, id string) {
	events := []oncelog.Event{anEvent("flow", id), anEvent("flow", id), anEvent("flow", id+"-other")}
	f.sent.Add(uint64(len(events)))
	receipts, err := to.PublishBatch(ctx, events)
	if err != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.errs = append(f.errs, err)
		return
	}
	for _, r := range receipts {
		op := loadgen.Operation{Key: r.Key, ID: r.ID, Outcome: loadgen.Duplicate}
		if r.Status == oncelog.Stored {
			op.Outcome = loadgen.Stored
			f.stored.Add(1)
		}
		f.told.record(op)
	}
}

// goesOn waits until more events are stored.
func (f *flow) goesOn(t *testing.T, c *Cluster) {
	t.Helper()
	from := f.stored.Load()
	require.NoError(t, c.Await(t.Context(), "writes to go on", func(context.Context) error {
		if f.stored.Load() < from+100 {
			return errors.New("hardly any were acknowledged")
		}
		return nil
	}))
}

// end waits for the last answers. All of them are receipts.
func (f *flow) end(t *testing.T) {
	t.Helper()
	f.stop()
	f.clients.Wait()
	require.NoError(t, errors.Join(f.errs...), "clients of the nodes that stay see no error")
}
