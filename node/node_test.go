package node

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/raftfsm"
)

func TestMain(m *testing.M) {
	// memberlist's last exchange outlives its Shutdown by up to its time-out.
	// bolt leaves a goroutine behind when it panics on a damaged file.
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("go.etcd.io/bbolt.(*DB).freepages.func2"),
		goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).triggerFunc"),
		goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).pushPullTrigger"))
}

// logOf collects a node's log and shows it if the test fails.
func logOf(t *testing.T) *slog.Logger {
	log := new(lockedBuffer)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log("\n" + log.String())
		}
	})
	return slog.New(slog.NewTextHandler(log, nil))
}

// lockedBuffer may also be written to after the test.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// testTiming makes elections quick where nothing else runs.
var testTiming = Timing{Heartbeat: 250 * time.Millisecond, Election: 375 * time.Millisecond, Lease: 200 * time.Millisecond}

// testNode is the configuration of a node on free ports.
func testNode(t *testing.T, name string, join ...string) Config {
	t.Helper()
	return Config{
		Name: name, DataDir: filepath.Join(t.TempDir(), name),
		HTTPAddr: "127.0.0.1:0", RaftAddr: "127.0.0.1:0", GossipAddr: "127.0.0.1:0",
		Join: join, Timing: testTiming,
		CacheBytes: 1 << 20, FilterBytes: 1 << 20, // many nodes run at once
		Logger: logOf(t),
	}
}

// start runs a node until the test ends; failures of Run fail the test.
func start(t *testing.T, c Config) *Node {
	t.Helper()
	n, err := New(c)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	return n
}

// startThree starts nodes that found one cluster.
func startThree(t *testing.T) []*Node {
	t.Helper()
	var nodes []*Node
	for i := range 3 {
		var join []string
		if i > 0 {
			join = []string{nodes[0].GossipAddr()}
		}
		c := testNode(t, fmt.Sprintf("n%d", i+1), join...)
		c.BootstrapExpect = 3
		nodes = append(nodes, start(t, c))
	}
	awaitReady(t, nodes...)
	return nodes
}

func awaitReady(t *testing.T, nodes ...*Node) {
	t.Helper()
	for _, n := range nodes {
		require.Eventually(t, func() bool { return n.Ready(t.Context()) == nil }, time.Minute, 20*time.Millisecond,
			"node %s is not ready: %v", n.config.Name, n.Ready(t.Context()))
	}
}

func someEvent(id string) oncelog.Event {
	return oncelog.Event{Topic: "order", EventID: id, Source: "test", Timestamp: time.Unix(1, 0), Payload: []byte(`{ "value": 100 }`)}
}

func TestOneNodeStoresAndReadsBack(t *testing.T) {
	t.Parallel()
	n := start(t, testNode(t, "alone"))
	receipts, err := n.Publish(t.Context(), someEvent("a"), someEvent("b"), someEvent("a"))
	require.NoError(t, err)
	require.Equal(t, []oncelog.Receipt{
		{Key: oncelog.Key{Topic: "order", EventID: "a"}, Status: oncelog.Stored, ID: 1},
		{Key: oncelog.Key{Topic: "order", EventID: "b"}, Status: oncelog.Stored, ID: 2},
		{Key: oncelog.Key{Topic: "order", EventID: "a"}, Status: oncelog.Duplicate, ID: 1},
	}, receipts)
	var payloads []string
	for r, err := range n.Events(t.Context(), oncelog.Query{}, oncelog.Linearizable) {
		require.NoError(t, err)
		payloads = append(payloads, string(r.Payload))
	}
	require.Equal(t, []string{`{"value":100}`, `{"value":100}`}, payloads)
	stats, err := n.Stats(t.Context(), oncelog.Linearizable)
	require.NoError(t, err)
	require.Equal(t, uint64(3), stats.Received)
	require.Equal(t, uint64(2), stats.Unique)
	require.Equal(t, uint64(1), stats.Duplicates)
	require.Equal(t, "alone", stats.Leader)
}

func TestOneNodeComesBackWithEverything(t *testing.T) {
	t.Parallel()
	c := testNode(t, "alone")
	n, err := New(c)
	require.NoError(t, err)
	_, err = n.Publish(t.Context(), someEvent("a"))
	require.NoError(t, err)
	before, err := n.Stats(t.Context(), oncelog.Linearizable)
	require.NoError(t, err)
	require.NoError(t, n.Close())
	require.NoError(t, n.Close(), "closing again is harmless")

	n = start(t, c)
	receipts, err := n.Publish(t.Context(), someEvent("a"))
	require.NoError(t, err)
	require.Equal(t, oncelog.Duplicate, receipts[0].Status)
	after, err := n.Stats(t.Context(), oncelog.Linearizable)
	require.NoError(t, err)
	require.Equal(t, before.Unique, after.Unique)
	require.Equal(t, before.Received+1, after.Received)
}

func TestThreeNodesTakeOneEventOnce(t *testing.T) {
	t.Parallel()
	nodes := startThree(t)
	var asking sync.WaitGroup
	got := make([]oncelog.Receipt, 30)
	for i := range got {
		asking.Go(func() {
			receipts, err := nodes[i%3].Publish(t.Context(), someEvent("same"))
			if err == nil {
				got[i] = receipts[0]
			}
		})
	}
	asking.Wait()
	stored := 0
	for _, r := range got {
		require.Equal(t, uint64(1), r.ID)
		if r.Status == oncelog.Stored {
			stored++
		}
	}
	require.Equal(t, 1, stored)
	for _, n := range nodes {
		stats, err := n.Stats(t.Context(), oncelog.Linearizable)
		require.NoError(t, err)
		require.Equal(t, uint64(30), stats.Received, "node %s", n.config.Name)
		require.Equal(t, uint64(1), stats.Unique)
	}
}

func TestAReadOnAnyNodeSeesWhatWasAcknowledgedBefore(t *testing.T) {
	t.Parallel()
	nodes := startThree(t)
	for i := range 60 {
		_, err := nodes[i%3].Publish(t.Context(), someEvent(fmt.Sprint(i)))
		require.NoError(t, err)
		stats, err := nodes[(i+1)%3].Stats(t.Context(), oncelog.Linearizable)
		require.NoError(t, err)
		require.Equal(t, uint64(i+1), stats.Unique)
	}
}

func TestLeadershipIsHandedOver(t *testing.T) {
	t.Parallel()
	nodes := startThree(t)
	for _, to := range []string{"n2", "n3", "n1"} {
		require.Equal(t, to, handOver(t, nodes[0], to))
		_, err := nodes[1].Publish(t.Context(), someEvent(to))
		require.NoError(t, err)
	}
	_, err := nodes[0].TransferLeadership(t.Context(), "n9")
	require.ErrorIs(t, err, oncelog.ErrNotFound)
	awaitReady(t, nodes...) // the last to hear of the new leader, too
	c, err := nodes[2].Cluster(t.Context())
	require.NoError(t, err)
	require.Len(t, c.Nodes, 3)
	require.Equal(t, "n1", c.Leader)
	for _, m := range c.Nodes {
		require.Equal(t, oncelog.Alive, m.Status)
		require.Equal(t, m.Name == "n1", m.Role == oncelog.Leader)
		require.NotZero(t, m.AppliedIndex)
	}
}

// Nobody is there to take it: that is for the caller to know, and no fault of the node.
// A leader that can not hand over to a dead node goes on taking events, and hands over
// to one that lives.
func TestLeadershipThatIsNotTaken(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t, func(c *Config) { c.Timing = patientTiming })
	leader, others := leaderOf(t, nodes)
	dead, alive := others[0], others[1]
	require.NoError(t, dead.Close())
	err := leader.leadership.transfer(t.Context(), dead.identity.get().NodeID)
	require.ErrorIs(t, err, oncelog.ErrUnavailable)
	_, err = leader.commit(raftfsm.EncodeOpen(leader.identity.get().ClusterID))
	require.NoError(t, err, "Raft refuses nothing")
	require.Equal(t, alive.c.Name, handOver(t, leader.Node, ""))
}

func TestWhoIsTheBestHeir(t *testing.T) {
	t.Parallel()
	far, near := heir{nodeStatus: nodeStatus{Applied: 9}}, heir{nodeStatus: nodeStatus{Applied: 7}}
	full := heir{nodeStatus: nodeStatus{Applied: 9, DiskLow: true}}
	require.True(t, far.before(near))
	require.False(t, near.before(far))
	require.True(t, near.before(full), "room comes first")
	require.False(t, full.before(near))
}

func TestANameThatIsTakenStopsTheNewcomer(t *testing.T) {
	t.Parallel()
	first := start(t, testNode(t, "n1"))
	awaitReady(t, first)
	_, err := New(testNode(t, "n1", first.GossipAddr()))
	require.ErrorIs(t, err, ErrNameTaken)
	require.ErrorContains(t, err, first.ID())
}

func TestACloneOfARunningNodeIsRefused(t *testing.T) {
	t.Parallel()
	nodes := startThree(t)
	original := nodes[1].config
	clone := testNode(t, "n2", nodes[0].GossipAddr())
	require.NoError(t, os.CopyFS(clone.DataDir, os.DirFS(original.DataDir)))
	clone.BootstrapExpect = 3
	_, err := New(clone)
	require.ErrorIs(t, err, ErrCloned)
	require.ErrorContains(t, err, nodes[1].ID())
	_, err = nodes[1].Publish(t.Context(), someEvent("a"))
	require.NoError(t, err, "the original goes on")
}

func TestADirectoryThatHasLostAPartIsRefused(t *testing.T) {
	t.Parallel()
	for _, part := range []string{"raft.db", "store"} {
		t.Run(part, func(t *testing.T) {
			t.Parallel()
			c := testNode(t, "alone")
			n, err := New(c)
			require.NoError(t, err)
			awaitReady(t, n)
			require.NoError(t, n.Close())
			require.NoError(t, os.RemoveAll(filepath.Join(c.DataDir, part)))
			_, err = New(c)
			require.ErrorIs(t, err, oncelog.ErrCorrupt)
			require.ErrorContains(t, err, filepath.Join(c.DataDir, part))
			require.NoDirExists(t, filepath.Join(c.DataDir, part), "nothing was made in its place")
		})
	}
}

// An emptied log would let its node vote away what it has acknowledged.
func TestALogThatIsNotTheNodesOwnIsRefused(t *testing.T) {
	t.Parallel()
	c, other := testNode(t, "alone"), testNode(t, "other")
	for _, c := range []Config{c, other} {
		n, err := New(c)
		require.NoError(t, err)
		_, err = n.publish(t.Context(), []oncelog.Event{someEvent("a")})
		require.NoError(t, err)
		require.NoError(t, n.Close())
	}
	log := filepath.Join(c.DataDir, "raft.db")
	theirs, err := os.ReadFile(filepath.Join(other.DataDir, "raft.db"))
	require.NoError(t, err)
	for _, content := range [][]byte{nil, theirs} {
		require.NoError(t, os.WriteFile(log, content, 0o600))
		_, err := New(c)
		require.ErrorIs(t, err, oncelog.ErrCorrupt)
		require.ErrorContains(t, err, log)
		_, err = Verify(c.DataDir)
		require.ErrorIs(t, err, oncelog.ErrCorrupt)
	}
}

func TestANodeRestartsAtOtherAddresses(t *testing.T) {
	t.Parallel()
	nodes := startThree(t)
	c := nodes[2].config
	require.NoError(t, nodes[2].Close())
	c.Join = []string{nodes[0].GossipAddr(), nodes[1].GossipAddr()}
	moved := start(t, c) // port 0: free ones
	require.NotEqual(t, nodes[2].raftAddr(), moved.raftAddr())
	awaitReady(t, moved)
	_, err := moved.Publish(t.Context(), someEvent("a"))
	require.NoError(t, err)
}

func TestANewNodeJoinsAClusterAndGetsAVote(t *testing.T) {
	t.Parallel()
	first := start(t, testNode(t, "n1"))
	awaitReady(t, first)
	_, err := first.Publish(t.Context(), someEvent("a"))
	require.NoError(t, err)
	second := start(t, testNode(t, "n2", first.GossipAddr()))
	awaitReady(t, second)
	require.Eventually(t, func() bool {
		c, err := second.Cluster(t.Context())
		require.NoError(t, err)
		return len(c.Nodes) == 2 && c.Nodes[1].Role == oncelog.Follower
	}, 20*time.Second, 50*time.Millisecond)
	receipts, err := second.Publish(t.Context(), someEvent("a"))
	require.NoError(t, err)
	require.Equal(t, oncelog.Duplicate, receipts[0].Status)
}

func TestWithoutAQuorumTheOutcomeIsTold(t *testing.T) {
	t.Parallel()
	c := testNode(t, "n1")
	c.BootstrapExpect = 3
	n := start(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := n.Publish(ctx, someEvent("a"))
	require.ErrorIs(t, err, oncelog.ErrNotApplied)
	_, err = n.Stats(ctx, oncelog.Linearizable)
	require.ErrorIs(t, err, oncelog.ErrUnavailable)
	stats, err := n.Stats(ctx, oncelog.Stale)
	require.NoError(t, err)
	require.Zero(t, stats.Received)
	require.ErrorContains(t, n.Ready(t.Context()), "not in a cluster yet")
}

// What waits for a quorum is held once: not also as the request that it came in.
func TestPublishLetsGoOfARequestWhileItWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hold, never := make(chan struct{}), make(chan struct{})
		way := &scriptedWay{next: func(int, raftfsm.Batch) error { <-hold; return nil }}
		n := &Node{proposer: newProposer(raftfsm.SessionID{Run: 1}, way, func() <-chan struct{} { return never }, 1<<30), space: new(space)}
		n.config.RequestTimeout = time.Minute
		go n.proposer.run()
		es := []oncelog.Event{someEvent("a"), someEvent("b")}
		published := make(chan []oncelog.Receipt, 1)
		go func() {
			receipts, err := n.publish(t.Context(), es)
			assert.NoError(t, err)
			published <- receipts
		}()
		synctest.Wait()
		require.Equal(t, make([]oncelog.Event, 2), es)
		close(hold)
		receipts := <-published
		require.Equal(t, "order", receipts[0].Topic)
		require.Equal(t, []string{"a", "b"}, []string{receipts[0].EventID, receipts[1].EventID})
		n.proposer.close(t.Context())
		synctest.Wait()
	})
}

func TestPublishRefusesWhatIsNoEvent(t *testing.T) {
	t.Parallel()
	n := start(t, testNode(t, "alone"))
	awaitReady(t, n)
	bad := someEvent("a")
	bad.Topic = ""
	_, err := n.Publish(t.Context(), someEvent("fine"), bad)
	require.ErrorIs(t, err, oncelog.ErrInvalid)
	_, err = n.Publish(t.Context())
	require.ErrorIs(t, err, oncelog.ErrInvalid)
	for _, payload := range []string{``, `[]`, `{"a":1,"a":2}`, `{"a":"\ud800"}`, `{} {}`} {
		bad := someEvent("a")
		bad.Payload = []byte(payload)
		_, err = n.Publish(t.Context(), bad)
		require.Error(t, err, payload)
	}
	stats, err := n.Stats(t.Context(), oncelog.Linearizable)
	require.NoError(t, err)
	require.Zero(t, stats.Received, "nothing was stored, nothing was counted")
}

func TestAnAddressInUseIsNamed(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	for what, set := range map[string]func(*Config){
		"HTTP": func(c *Config) { c.HTTPAddr = l.Addr().String() },
		"Raft": func(c *Config) { c.RaftAddr = l.Addr().String() },
	} {
		c := testNode(t, "n1")
		set(&c)
		_, err := New(c)
		require.ErrorContains(t, err, what+" address "+l.Addr().String())
	}
	c := testNode(t, "n1")
	c.GossipAddr = l.Addr().String()
	_, err = New(c)
	require.ErrorContains(t, err, l.Addr().String())
}

func TestConfigNamesTheFieldAtFault(t *testing.T) {
	t.Parallel()
	for want, spoil := range map[string]func(*Config){
		"data directory":            func(c *Config) { c.DataDir = "" },
		"name":                      func(c *Config) { c.Name = "a\nb" },
		"HTTP address":              func(c *Config) { c.HTTPAddr = "nowhere" },
		"port \"99999\"":            func(c *Config) { c.RaftAddr = "127.0.0.1:99999" },
		"others can not reach":      func(c *Config) { c.GossipAddr = "0.0.0.0:7946" },
		"advertise host \"h:7946\"": func(c *Config) { c.AdvertiseHost = "h:7946" },
		"advertise host \"::\"":     func(c *Config) { c.AdvertiseHost = "::" },
		"join address \"x\"":        func(c *Config) { c.Join = []string{"x"} },
		"bootstrap-expect 9":        func(c *Config) { c.BootstrapExpect = 9 },
		"would join no other":       func(c *Config) { c.BootstrapExpect, c.Join = 1, []string{"127.0.0.1:1"} },
		"queue of 5 bytes":          func(c *Config) { c.QueueBytes = 5 },
		"request timeout -1s":       func(c *Config) { c.RequestTimeout = -time.Second },
	} {
		c := testNode(t, "n1")
		spoil(&c)
		_, err := New(c)
		require.ErrorContains(t, err, want)
	}
}
