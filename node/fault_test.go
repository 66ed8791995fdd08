package node

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/raftfsm/store"
)

// restartable is a node that a test stops and starts at the same addresses.
type restartable struct {
	*Node
	t *testing.T
	c Config
	// failed says that the node had to stop, so that closing it tells why.
	failed bool
}

// startCluster starts nodes on fixed addresses that found one cluster.
func startCluster(t *testing.T, change func(*Config)) []*restartable {
	t.Helper()
	var nodes []*restartable
	for i := range 3 {
		var join []string
		for _, other := range nodes {
			join = append(join, other.c.GossipAddr)
		}
		c := testNode(t, fmt.Sprintf("n%d", i+1), join...)
		c.BootstrapExpect = 3
		change(&c)
		n, err := New(c)
		require.NoError(t, err)
		c.HTTPAddr, c.RaftAddr, c.GossipAddr = n.Addr(), n.raftAddr(), n.GossipAddr()
		nodes = append(nodes, &restartable{Node: n, t: t, c: c})
	}
	for i, r := range nodes {
		for j, other := range nodes {
			if i < j {
				r.c.Join = append(r.c.Join, other.c.GossipAddr)
			}
		}
		t.Cleanup(func() {
			if err := r.Close(); !r.failed {
				require.NoError(t, err)
			}
		})
		awaitReady(t, r.Node)
	}
	return nodes
}

func (r *restartable) restart() {
	r.t.Helper()
	n, err := New(r.c)
	require.NoError(r.t, err)
	r.Node = n
}

// leaderOf returns the leader and the others.
func leaderOf(t *testing.T, nodes []*restartable) (leader *restartable, others []*restartable) {
	t.Helper()
	id, known, _ := nodes[0].leadership.leader()
	require.True(t, known)
	for _, n := range nodes {
		if n.ID() == id.String() {
			leader = n
		} else {
			others = append(others, n)
		}
	}
	return leader, others
}

// handOver has the leadership go to a node, or to any other one, and returns where it
// is. Raft gives a transfer up after one election time-out, and a busy machine may be
// without a leader when it is asked for.
func handOver(t *testing.T, by *Node, to string) (leader string) {
	t.Helper()
	require.Eventually(t, func() (ok bool) {
		var err error
		leader, err = by.TransferLeadership(t.Context(), to)
		return err == nil
	}, 20*time.Second, 20*time.Millisecond, "leadership is handed over")
	return leader
}

// requireLevel waits until all nodes are at one applied index, and requires one
// digest and the expected counters.
func requireLevel(t *testing.T, nodes []*restartable, want store.Counters) {
	t.Helper()
	require.Equal(t, want, awaitLevel(t, nodes).Counters)
}

// awaitLevel waits until all nodes are at one applied index, and requires one
// state and one digest.
func awaitLevel(t *testing.T, nodes []*restartable) store.State {
	t.Helper()
	require.Eventually(t, func() bool {
		first := nodes[0].group.store.Applied()
		return !slices.ContainsFunc(nodes, func(n *restartable) bool {
			return n.group.store.Applied() != first || n.group.CommitIndex() != first.Index
		})
	}, 20*time.Second, 10*time.Millisecond, "the nodes get level")
	first, digest := nodes[0].group.fsm.State()
	for _, n := range nodes[1:] {
		state, same := n.group.fsm.State()
		require.Equal(t, first, state, "node %s", n.c.Name)
		require.Equal(t, digest, same, "node %s", n.c.Name)
	}
	return first
}

// bulky are events large enough to fill small logs quickly.
func bulky(from, to int) []oncelog.Event {
	var es []oncelog.Event
	for i := from; i < to; i++ {
		e := someEvent(fmt.Sprintf("bulky-%d", i))
		e.Payload = []byte(fmt.Sprintf(`{"n":%d,"text":"%s"}`, i, bytesOf('x', 400)))
		es = append(es, e)
	}
	return es
}

// The log is truncated all the time, and a follower that missed
// the truncated part gets a snapshot.
func TestAFollowerBehindTheLogGetsASnapshotAndKnowsEveryKey(t *testing.T) {
	t.Parallel()
	forLogStores(t, aFollowerBehindTheLog)
}

func aFollowerBehindTheLog(t *testing.T, kind logKind) {
	nodes := startCluster(t, func(c *Config) {
		c.SnapshotBytes, c.TrailingBytes, c.LogStore = 64<<10, 1, kind.name
	})
	leader, others := leaderOf(t, nodes)
	lagging, alive := others[0], others[1]
	require.NoError(t, lagging.Close())
	const n = 3000
	for at := 0; at < n; at += 100 {
		_, err := alive.publish(t.Context(), bulky(at, at+100))
		require.NoError(t, err)
	}
	at := lagging.group.store.Applied().Index
	require.Eventually(t, func() bool {
		kept, err1 := leader.group.log.FirstIndex()
		alsoKept, err2 := alive.group.log.FirstIndex()
		return err1 == nil && err2 == nil && min(kept, alsoKept) > at+1
	}, 20*time.Second, 10*time.Millisecond, "the part that the follower needs is truncated")

	lagging.restart()
	awaitReady(t, lagging.Node)
	require.Eventually(t, func() bool {
		first, err := lagging.group.log.FirstIndex()
		return err == nil && (first == 0 || first > at)
	}, 20*time.Second, time.Millisecond, "what its log held before the snapshot goes: some of it may never have been committed")
	for at := 0; at < n; at += 500 {
		receipts, err := lagging.publish(t.Context(), bulky(at, at+500))
		require.NoError(t, err)
		for i, r := range receipts {
			require.Equal(t, oncelog.Receipt{Key: r.Key, Status: oncelog.Duplicate, ID: uint64(at + i + 1)}, r)
		}
	}
	requireLevel(t, nodes, store.Counters{Received: 2 * n, Unique: n, Duplicates: n})
	for _, node := range nodes {
		require.Less(t, sizeOf(t, node.group.log.path), int64(40<<20), "the log on disk is bounded")
	}
}

// sizeOf is the size of a file, or of all files in a directory.
func sizeOf(t *testing.T, path string) (size int64) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(path, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err == nil && info.Mode().IsRegular() {
			size += info.Size()
		}
		return err
	}))
	return size
}

// lossyWay loses replies of the leader after the batch has been applied.
type lossyWay struct {
	submitter
	lost atomic.Int64
}

func (w *lossyWay) submit(ctx context.Context, command []byte) ([]store.Outcome, error) {
	outcomes, err := w.submitter.submit(ctx, command)
	if err == nil && w.lost.Add(1)%3 != 0 {
		return nil, oncelog.ErrOutcomeUnknown
	}
	return outcomes, err
}

// The reply is lost after the commit.
func TestABatchWhoseReplyIsLostIsAppliedOnce(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t, func(*Config) {})
	var way lossyWay
	_, others := leaderOf(t, nodes)
	n := others[0]
	way.submitter = n.proposer.way
	n.proposer.mu.Lock()
	n.proposer.way = &way
	n.proposer.mu.Unlock()
	for round := range 5 { // each is at least one batch, of which two replies are lost
		var asking sync.WaitGroup
		for i := range 6 {
			asking.Go(func() {
				e := someEvent(fmt.Sprint(round, i))
				receipts, err := n.publish(t.Context(), []oncelog.Event{e, e})
				require.NoError(t, err)
				require.Equal(t, oncelog.Stored, receipts[0].Status, "answered as the first time")
				require.Equal(t, oncelog.Duplicate, receipts[1].Status)
			})
		}
		asking.Wait()
	}
	require.GreaterOrEqual(t, way.lost.Load(), int64(15), "replies were lost")
	requireLevel(t, nodes, store.Counters{Received: 60, Unique: 30, Duplicates: 30})
}

// A node that lost its disk returns at its old address while another
// voter is away. Two of three have to remember what was acknowledged.
func TestAWipedNodeHasNoVoteUntilItIsLevel(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t, func(*Config) {})
	_, err := nodes[0].publish(t.Context(), bulky(0, 100))
	require.NoError(t, err)
	stays, wiped, away := nodes[0], nodes[1], nodes[2]
	before := wiped.ID()
	require.NoError(t, away.Close())
	require.NoError(t, wiped.Close())
	require.NoError(t, os.RemoveAll(wiped.c.DataDir))
	wiped.restart()
	require.NotEqual(t, before, wiped.ID())

	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	_, err = stays.publish(ctx, []oncelog.Event{someEvent("lonely")})
	require.Error(t, err, "one of three, and one that remembers nothing, are no quorum")
	require.Zero(t, wiped.group.store.Applied().Index)

	away.restart()
	awaitReady(t, away.Node, stays.Node)
	require.Eventually(t, func() bool {
		c, err := stays.Cluster(t.Context())
		if err != nil || len(c.Nodes) != 3 {
			return false
		}
		for _, m := range c.Nodes {
			if m.ID == before || m.Role == oncelog.Nonvoter {
				return false
			}
		}
		return true
	}, 30*time.Second, 50*time.Millisecond, "the new node takes the place of the one it was")
	receipts, err := wiped.publish(t.Context(), bulky(0, 100))
	require.NoError(t, err)
	for i, r := range receipts {
		require.Equal(t, oncelog.Duplicate, r.Status)
		require.Equal(t, uint64(i+1), r.ID)
	}
}

// A new leader has nothing to commit of its own.
func TestAReadRightAfterAnElectionAnswers(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t, func(*Config) {})
	for range 5 {
		handOver(t, nodes[0].Node, "")
		for _, n := range nodes {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			_, err := n.Stats(ctx, oncelog.Linearizable)
			cancel()
			require.NoError(t, err)
		}
	}
}

// Raft would wait for up to 10 s between its attempts at a follower that was away.
func TestAPeerThatIsBackIsReachedSoon(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t, func(*Config) {})
	leader, others := leaderOf(t, nodes)
	away := others[0]
	to := away.group.gate.LocalAddr()
	require.NoError(t, away.Close())
	streams := raftStreams{newStreamListener("the test"), leader.caller.peers}
	dialled := make(chan error, 1)
	go func() {
		conn, err := streams.Dial(to, time.Minute)
		if err == nil {
			err = conn.Close()
		}
		dialled <- err
	}()
	select {
	case err := <-dialled:
		require.Fail(t, "nobody is there", "%v", err)
	case <-time.After(3 * redialPause):
	}
	away.restart()
	require.NoError(t, <-dialled)
	awaitReady(t, away.Node)

	require.NoError(t, others[1].Close())
	go func() {
		_, err := streams.Dial(others[1].group.gate.LocalAddr(), time.Minute)
		dialled <- err
	}()
	require.NoError(t, streams.Close())
	require.ErrorIs(t, <-dialled, net.ErrClosed, "the end of the transport ends the dialling")
}
