package node

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"
	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/node/call"
	"github.com/oncelog/oncelog/raftfsm"
	"github.com/oncelog/oncelog/raftfsm/store"
)

// simWorld is three nodes on a virtual clock (testing/synctest), without files and
// sockets: Raft with its network transport, and of this package the gate, the guarded
// log, leadership, takeover and the reader, on pipes and memory. Time passes only
// when all of them wait.
type simWorld struct {
	t       *testing.T
	timing  Timing
	cluster uuid.UUID
	nodes   []*simNode

	// mu guards what follows.
	mu sync.Mutex
	// leaders are by the term that they led.
	leaders map[uint64]uuid.UUID
	// acked is the last log entry that was acknowledged to anybody, reads the number
	// of reads that were answered.
	acked uint64
	reads int
}

// simNode is one node. What it keeps survives a kill.
type simNode struct {
	world    *simWorld
	id       uuid.UUID
	identity *identity
	store    *store.Store
	fsm      *raftfsm.FSM
	log      *guardedLog

	// mu guards what follows.
	mu sync.Mutex
	// simLife is nil while the node does not run.
	*simLife
	// shunned says that the node has no Raft streams, and that nobody is at its port
	// for the others; its calls go through. It can not know that it has "ended".
	shunned bool
	// unplugged says that the node has no Raft streams, though it answers at its port.
	unplugged bool
	// cut is closed when what the node sends and is sent goes through again; nil
	// where it does.
	cut chan struct{}
}

// simLife is one run of a node.
type simLife struct {
	group      *group
	streams    *streamListener
	leadership *leadership
	reader     *reader
	takeover   *takeover
	calls      map[call.Method]call.Handler
	stop       context.CancelFunc
	background sync.WaitGroup
}

// simSync is how long a write takes to be synced at least; up to twice that.
const simSync = 2 * time.Millisecond

func newSimWorld(t *testing.T, timing Timing) *simWorld {
	t.Helper()
	w := &simWorld{t: t, timing: timing, cluster: uuid.New(), leaders: make(map[uint64]uuid.UUID)}
	var c raft.Configuration
	for range 3 {
		n := w.newNode()
		w.nodes = append(w.nodes, n)
		c.Servers = append(c.Servers, raft.Server{ID: raft.ServerID(n.id.String()), Address: n.address()})
	}
	for _, n := range w.nodes {
		n.start()
		require.NoError(t, n.group.BootstrapCluster(c).Error())
	}
	return w
}

func (w *simWorld) newNode() *simNode {
	n := &simNode{world: w, id: uuid.New()}
	n.identity = &identity{state: identityState{NodeID: n.id, ClusterID: w.cluster}}
	fail := func(err error) { w.t.Error(err) }
	var err error
	n.store, err = store.Open("store", store.Options{FS: vfs.NewMem(), CacheBytes: 1 << 20, MemTableBytes: 1 << 20, FilterBytes: 64 << 10, OnError: fail})
	require.NoError(w.t, err)
	n.fsm, err = raftfsm.New(n.store, fail)
	require.NoError(w.t, err)
	n.log = &guardedLog{
		store: simLog{raft.NewInmemStore()}, path: "in memory", fail: fail, stall: stallLimit,
		written: func(uint64, int) {}, applied: n.store.Applied,
	}
	return n
}

// simLog is a log in memory that takes its time to sync.
type simLog struct{ *raft.InmemStore }

func (simLog) Close() error { return nil }

func (l simLog) StoreLogs(logs []*raft.Log) error {
	linger(simSync)
	return l.InmemStore.StoreLogs(logs)
}

func (l simLog) Set(key, value []byte) error { linger(simSync); return l.InmemStore.Set(key, value) }

func (l simLog) SetUint64(key []byte, value uint64) error {
	linger(simSync)
	return l.InmemStore.SetUint64(key, value)
}

func (l simLog) Get(key []byte) ([]byte, error) {
	value, err := l.InmemStore.Get(key)
	if err != nil {
		err = errNoKey
	}
	return value, err
}

// linger takes from least to twice as long.
func linger(least time.Duration) { time.Sleep(least + rand.N(least)) }

func (n *simNode) address() raft.ServerAddress { return raftAddress(n.id.String(), "sim:1", "") }

// start begins a run.
func (n *simNode) start() {
	l := &simLife{streams: newStreamListener(string(n.address()))}
	logger := slog.New(slog.DiscardHandler)
	size := newLogSize(defaultSnapshotBytes, defaultTrailingBytes) // and nothing asks for snapshots
	l.group = &group{fsm: n.fsm, store: n.store, log: n.log, logSize: size, logger: logger}
	ctx, stop := context.WithCancel(context.Background())
	l.stop = stop
	require.NoError(n.world.t, l.group.start(Config{Timing: n.world.timing, Logger: logger, appends: func(l *guardedLog) raft.LogStore { return l }},
		n.identity, simStreams{l.streams, n}, simAddresses{n.world}, func() {}))
	l.group.RegisterObserver(raft.NewObserver(nil, false, func(o *raft.Observation) bool {
		if o.Data == raft.Leader {
			n.world.leads(n.id, o.Raft.CurrentTerm())
		}
		return false
	}))
	caller := &caller{self: n.id, callClient: simCalls{n}}
	l.leadership = newLeadership(l.group, caller, n.identity, logger)
	l.reader = newReader(l.leadership, l.group, caller)
	l.takeover = &takeover{
		leadership: l.leadership, group: l.group, streams: l.streams, caller: caller, logger: logger, patience: n.world.timing.Heartbeat,
		dial: n.dial,
	}
	l.calls = map[call.Method]call.Handler{
		methodIndex:   handle(l.reader.serveIndex),
		methodConfirm: handle(l.reader.serveTerm),
		methodVacancy: handleJSON(l.takeover.serveVacancy),
	}
	l.background.Go(func() { l.leadership.run(ctx) })
	l.background.Go(func() { l.takeover.run(ctx) })
	n.mu.Lock()
	n.simLife = l
	n.mu.Unlock()
}

// life is the current run, nil where there is none.
func (n *simNode) life() *simLife {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.simLife
}

// away tells whether the node does not run, or is cut off.
func (n *simNode) away() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.simLife == nil || n.cut != nil
}

// stand has the node stand for election, with or without reason.
func (n *simNode) stand() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	n.life().group.gate.stand(ctx)
}

// handOver has the node hand over leadership, if it leads and somebody takes it.
func (n *simNode) handOver() { _ = n.life().group.LeadershipTransfer().Error() }

// kill ends the run at once, as far as the others can tell.
func (n *simNode) kill() {
	n.mu.Lock()
	l := n.simLife
	n.simLife = nil
	n.mu.Unlock()
	if l == nil {
		return
	}
	_ = l.streams.Close()
	l.stop()
	require.NoError(n.world.t, l.group.leave())
	l.reader.tasks.close()
	l.background.Wait()
}

func (w *simWorld) node(id uuid.UUID) *simNode {
	for _, n := range w.nodes {
		if n.id == id {
			return n
		}
	}
	panic("no such node")
}

// leads notes a leader. There may be one in a term.
func (w *simWorld) leads(id uuid.UUID, term uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if before, ok := w.leaders[term]; ok && before != id {
		w.t.Errorf("two leaders of term %d: %s and %s", term, before, id)
	}
	w.leaders[term] = id
}

// awaitLeader waits until a node but the one given has opened its term, and returns it.
func (w *simWorld) awaitLeader(but *simNode) (leader *simNode) {
	w.await(func() bool {
		for _, n := range w.nodes {
			if l := n.life(); l != nil && n != but {
				if _, err := l.leadership.leads(); err == nil {
					leader = n
				}
			}
		}
		return leader != nil
	})
	return leader
}

// settle waits until there is a leader whom all nodes follow and are connected with.
func (w *simWorld) settle() (leader *simNode) {
	w.await(func() bool {
		leader = w.awaitLeader(nil)
		term, err := leader.life().leadership.leads()
		for _, n := range w.nodes {
			l := n.life()
			id, known, _ := l.leadership.leader()
			if err != nil || !known || id != leader.id || l.group.CurrentTerm() != term || n != leader && !l.streams.connected(id) {
				return false
			}
		}
		return true
	})
	return leader
}

// await looks again and again, for up to an hour of the virtual clock.
func (w *simWorld) await(condition func() bool) {
	for end := time.Now().Add(time.Hour); !condition(); time.Sleep(time.Millisecond) {
		require.True(w.t, time.Now().Before(end), "it never comes to be")
	}
}

// write has an entry acknowledged, if its leader can.
func (w *simWorld) write(leader *simNode) {
	l := leader.life()
	if l == nil {
		return
	}
	future := l.group.Apply(raftfsm.EncodeOpen(w.cluster), time.Second)
	if future.Error() != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.acked = max(w.acked, future.Index())
}

// read asks a node for all that was acknowledged before.
func (w *simWorld) read(n *simNode) {
	l := n.life()
	if l == nil {
		return
	}
	w.mu.Lock()
	least := w.acked
	w.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := l.reader.catchUp(ctx); err != nil {
		if !errors.Is(err, oncelog.ErrUnavailable) {
			w.t.Error(err)
		}
		return
	}
	w.mu.Lock()
	w.reads++
	w.mu.Unlock()
	if applied := n.store.Applied().Index; applied < least {
		w.t.Errorf("a read of node %s at entry %d misses entry %d, acknowledged before", n.id, applied, least)
	}
}

// answered is how many reads were.
func (w *simWorld) answered() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.reads
}

// work has entries written through every node and read from it, until stop is called.
func (w *simWorld) work() (stop func()) {
	ctx, cancel := context.WithCancel(w.t.Context())
	var clients sync.WaitGroup
	for _, n := range w.nodes {
		clients.Go(func() { w.repeat(ctx, func() { w.write(n) }) })
		clients.Go(func() { w.repeat(ctx, func() { w.read(n) }) })
	}
	return func() {
		cancel()
		clients.Wait()
	}
}

// repeat does something again and again, until ctx ends.
func (w *simWorld) repeat(ctx context.Context, do func()) {
	for ctx.Err() == nil {
		do()
		linger(time.Millisecond)
	}
}

// harm brings some fault to some node, unless that is away already, and returns what
// mends it.
func (w *simWorld) harm(faults []simFault) (mend func()) {
	n, fault := w.nodes[rand.N(len(w.nodes))], faults[rand.N(len(faults))]
	if n.away() {
		return func() {}
	}
	fault.bring(n)
	return func() { fault.mend(n) }
}

// close ends all. What is still on its way then comes to its end.
func (w *simWorld) close() {
	defer time.Sleep(time.Minute)
	for _, n := range w.nodes {
		n.kill()
		require.NoError(w.t, n.store.Close())
	}
}
