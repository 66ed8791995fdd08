package node

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"
	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
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
	calls      *http.ServeMux
	stop       context.CancelFunc
	background sync.WaitGroup
}

const (
	// simWay is how long a message is on its way at least, and simSync how long a
	// write takes to be synced; each up to twice that.
	simWay  = 200 * time.Microsecond
	simSync = 2 * time.Millisecond
)

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
	l := &simLife{streams: newStreamListener(string(n.address())), calls: http.NewServeMux()}
	logger := slog.New(slog.DiscardHandler)
	l.group = &group{fsm: n.fsm, store: n.store, log: n.log, logger: logger}
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
	caller := &caller{self: n.id, client: &http.Client{Transport: simCalls{n}}}
	l.leadership = newLeadership(l.group, caller, n.identity, logger)
	l.reader = newReader(l.leadership, l.group, caller)
	l.takeover = &takeover{
		leadership: l.leadership, group: l.group, streams: l.streams, caller: caller, logger: logger, patience: n.world.timing.Heartbeat,
		dial: n.dial,
	}
	l.calls.HandleFunc("POST "+pathIndex, handle(l.reader.serveIndex))
	l.calls.HandleFunc("POST "+pathConfirm, handle(l.reader.serveTerm))
	l.calls.HandleFunc("POST "+pathVacancy, handleJSON(l.takeover.serveVacancy))
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
	l.reader.tasks.Wait()
	l.background.Wait()
}

// dial connects to a node as the kernel does: at once, or not at all.
func (n *simNode) dial(ctx context.Context, id uuid.UUID, kind streamKind) (net.Conn, error) {
	to := n.world.node(id)
	if err := pass(ctx, n, to); err != nil {
		return nil, err
	}
	life := to.life()
	if life == nil || n.life() == nil || n.apart(to, kind) {
		return nil, syscall.ECONNREFUSED
	}
	near, far := net.Pipe()
	if kind != streamRaft {
		return near, far.Close()
	}
	if !life.streams.hand(ctx, newSimConn(far, to, n), n.id) {
		return nil, io.EOF
	}
	return newSimConn(near, n, to), nil
}

// pass is the way of a message between two nodes. It lasts for as long as one is cut
// off, or until ctx ends.
func pass(ctx context.Context, ends ...*simNode) error {
	linger(simWay)
	for _, n := range ends {
		n.mu.Lock()
		cut := n.cut
		n.mu.Unlock()
		if cut == nil {
			continue
		}
		select {
		case <-cut:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// apart tells whether two nodes can not connect.
func (n *simNode) apart(to *simNode, kind streamKind) bool {
	for _, end := range []*simNode{n, to} {
		end.mu.Lock()
		apart := end.shunned || end.unplugged && kind == streamRaft
		end.mu.Unlock()
		if apart {
			return true
		}
	}
	return false
}

// shun makes the others take a node for ended, or takes that back.
func (n *simNode) shun(shunned bool) {
	n.mu.Lock()
	n.shunned = shunned
	n.mu.Unlock()
	n.dropStreams()
}

// unplug cuts a node's Raft streams, or lets it have them again.
func (n *simNode) unplug(unplugged bool) {
	n.mu.Lock()
	n.unplugged = unplugged
	n.mu.Unlock()
	n.dropStreams()
}

func (n *simNode) dropStreams() {
	if l := n.life(); l != nil {
		dropStreams(l.streams)
	}
}

// silence holds back all that a node sends and is sent, or lets it go.
func (n *simNode) silence(cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if cut {
		n.cut = make(chan struct{})
	} else {
		close(n.cut)
		n.cut = nil
	}
}

// simConn is one end of a connection.
type simConn struct {
	net.Conn
	ends []*simNode
	open context.Context
	end  context.CancelFunc
}

func newSimConn(c net.Conn, ends ...*simNode) *simConn {
	open, end := context.WithCancel(context.Background())
	return &simConn{Conn: c, ends: ends, open: open, end: end}
}

func (c *simConn) Write(b []byte) (int, error) {
	if err := pass(c.open, c.ends...); err != nil {
		return 0, net.ErrClosed
	}
	return c.Conn.Write(b)
}

func (c *simConn) Close() error {
	c.end()
	return c.Conn.Close()
}

// simStreams is Raft's way to the other nodes.
type simStreams struct {
	*streamListener
	node *simNode
}

// Dial implements raft.StreamLayer.
func (s simStreams) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	to := uuid.MustParse(string(address[:36]))
	conn, err := s.node.dial(ctx, to, streamRaft)
	if err != nil {
		return nil, err
	}
	tracked, ok := s.track(conn, uuid.Nil)
	if !ok || s.node.apart(s.node.world.node(to), streamRaft) {
		return nil, errors.Join(net.ErrClosed, conn.Close())
	}
	return tracked, nil
}

// simAddresses knows where a node is.
type simAddresses struct{ world *simWorld }

// ServerAddr implements raft.ServerAddressProvider.
func (a simAddresses) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
	return a.world.node(uuid.MustParse(string(id))).address(), nil
}

// simCalls carries the calls of a node.
type simCalls struct{ node *simNode }

// RoundTrip implements http.RoundTripper.
func (c simCalls) RoundTrip(r *http.Request) (*http.Response, error) {
	to := c.node.world.node(uuid.MustParse(r.URL.Host))
	if err := pass(r.Context(), c.node, to); err != nil {
		return nil, err
	}
	l := to.life()
	if l == nil {
		return nil, &dialError{syscall.ECONNREFUSED}
	}
	answer := httptest.NewRecorder()
	l.calls.ServeHTTP(answer, r)
	if err := pass(r.Context(), c.node, to); err != nil {
		return nil, err
	}
	return answer.Result(), nil
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

// repeat does something again and again, until ctx ends.
func (w *simWorld) repeat(ctx context.Context, do func()) {
	for ctx.Err() == nil {
		do()
		linger(time.Millisecond)
	}
}

// close ends all. What is still on its way then comes to its end.
func (w *simWorld) close() {
	defer time.Sleep(time.Minute)
	for _, n := range w.nodes {
		n.kill()
		require.NoError(w.t, n.store.Close())
	}
}

// simFault is a way to lose a leader, and to get it back.
type simFault struct {
	bring, mend func(*simNode)
	// within bounds the time until another leads.
	within func(Timing) time.Duration
}

// simFaults are by name.
func simFaults() map[string]simFault {
	// A dozen writes to disk, one after the other, and as many messages.
	atOnce := func(Timing) time.Duration { return 100 * time.Millisecond }
	return map[string]simFault{
		"killed":  {(*simNode).kill, (*simNode).start, atOnce},
		"shunned": {func(n *simNode) { n.shun(true) }, func(n *simNode) { n.shun(false) }, atOnce},
		"silent": {
			func(n *simNode) { n.silence(true) }, func(n *simNode) { n.silence(false) },
			func(t Timing) time.Duration { return t.Heartbeat*3/2 + 100*time.Millisecond },
		},
	}
}

// Leaders are lost in one way and another, while entries are written through whoever
// takes itself for the leader and read from anywhere. There are never two leaders of
// one term, another leads in time, and no read misses what was acknowledged before it.
func TestSimulatedElections(t *testing.T) {
	t.Parallel()
	for _, p := range []RaftProfile{RaftFast, RaftDefault, RaftSlow} {
		timing, err := p.Timing()
		require.NoError(t, err)
		for name, fault := range simFaults() {
			t.Run(string(p)+"/"+name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) { simulate(t, timing, fault) })
			})
		}
	}
}

// simElections is how many leaders are lost in one simulation.
const simElections = 20

func simulate(t *testing.T, timing Timing, fault simFault) {
	w := newSimWorld(t, timing)
	defer w.close()
	ctx, cancel := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	for _, n := range w.nodes {
		clients.Go(func() { w.repeat(ctx, func() { w.write(n) }) })
		clients.Go(func() { w.repeat(ctx, func() { w.read(n) }) })
	}
	var took []time.Duration
	for range simElections {
		leader := w.settle()
		before := w.answered()
		lost := time.Now()
		fault.bring(leader)
		w.awaitLeader(leader)
		took = append(took, time.Since(lost))
		w.await(func() bool { return w.answered() > before+10 })
		fault.mend(leader)
	}
	cancel()
	clients.Wait()
	slices.Sort(took)
	t.Logf("%d leaders lost, another led after %s, at most %s", len(took), took[len(took)/2], took[len(took)-1])
	require.LessOrEqual(t, took[len(took)-1], fault.within(timing))
}

// A leader that has lost all its Raft streams, but answers at its port, is left in
// place: it gets them back.
func TestSimulatedLeaderWithoutStreamsStays(t *testing.T) {
	t.Parallel()
	timing, err := RaftDefault.Timing()
	require.NoError(t, err)
	synctest.Test(t, func(t *testing.T) {
		w := newSimWorld(t, timing)
		defer w.close()
		leader := w.settle()
		term := leader.group.CurrentTerm()
		for range simElections {
			leader.unplug(true)
			time.Sleep(timing.Heartbeat / 10)
			leader.unplug(false)
			require.Equal(t, leader.id, w.settle().id)
			require.Equal(t, term, leader.group.CurrentTerm(), "there was no election")
		}
	})
}
