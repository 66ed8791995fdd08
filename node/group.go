package node

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/raftfsm"
	"github.com/oncelog/oncelog/raftfsm/store"
)

// Settings of Raft that were chosen with care; docs/architecture.md says why.
const (
	// maxAppendEntries is how many entries a follower is sent, and any node applies,
	// at once. Each may have 512 KiB, and a follower that is behind holds several times
	// what it is sent; a transaction of over half a memtable would cost one of its own.
	maxAppendEntries = 8
	// maxRPCsInFlight keeps entries few and large on the wire.
	maxRPCsInFlight = 1
	// logCacheEntries holds the entries that followers are about to fetch: enough
	// for two requests of Raft's.
	logCacheEntries = 2 * maxAppendEntries
	// maxPool is how many idle connections Raft keeps to each other node.
	maxPool = 3
	// commitTimeout is how soon an idle leader tells followers what is committed:
	// a linearizable read on a follower may wait that long, up to twice.
	commitTimeout = 10 * time.Millisecond
	// transportTimeout bounds one read or write of Raft's transport.
	transportTimeout = 10 * time.Second
	// enqueueTimeout bounds the wait for a busy leader's main loop.
	enqueueTimeout = 5 * time.Second
	// snapshotInterval is how often Raft looks whether there are snapshotEntries
	// since the last snapshot; logSize asks for one by bytes much earlier.
	snapshotInterval = 30 * time.Second
	snapshotEntries  = 1 << 16
	// trailingEntries bounds what stays in the log for followers that are behind.
	trailingEntries = 1 << 16
)

// group is this node's part in the Raft group.
type group struct {
	*raft.Raft
	fsm     *raftfsm.FSM
	store   *store.Store
	log     *guardedLog
	writes  *parallelLog
	logSize *logSize
	gate    *gate
	logger  *slog.Logger
	// storePath is where the store is; fail ends the node.
	storePath string
	fail      func(error)
}

// openStores opens the store, the state machine on it, and the Raft log. A
// failure in the background is handed to fail.
func openStores(c Config, own identityState, fail func(error)) (g *group, err error) {
	g = &group{logger: c.Logger, storePath: filepath.Join(c.DataDir, "store"), fail: fail}
	kind, err := kindOf(c.LogStore)
	if err == nil {
		err = kind.check(c.DataDir, own)
	}
	if err != nil {
		return g, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.closeStores())
		}
	}()
	options := store.Options{
		CacheBytes:    c.CacheBytes,
		FilterBytes:   c.FilterBytes,
		MemTableBytes: c.MemTableBytes,
		Logger:        c.Logger.With("component", "store"),
		OnError:       fail,
	}
	c.store(&options)
	if g.store, err = store.Open(g.storePath, options); err != nil {
		return g, advise(err)
	}
	if g.fsm, err = raftfsm.New(g.store, func(err error) { fail(advise(err)) }); err != nil {
		return g, advise(err)
	}
	g.logSize = newLogSize(c.SnapshotBytes, c.TrailingBytes)
	g.log, err = openLog(kind, c.DataDir, c.Logger.With("component", "log"), fail, g.logSize.append)
	if g.log != nil {
		g.log.applied = g.store.Applied
	}
	if err != nil {
		return g, err
	}
	g.log.store = c.disk(g.log.store)
	if err := g.log.own(own.NodeID, own.ClusterID); err != nil {
		return g, err
	}
	if err := g.log.reconcile(g.store.Applied()); err != nil {
		return g, err
	}
	return g, g.logSize.seed(g.log, g.store.Applied().Index)
}

// advise says what can be done about data of a format that this program does not
// know.
func advise(err error) error {
	switch {
	case errors.Is(err, raftfsm.ErrBadCommand):
		return fmt.Errorf("%w (if other nodes run a later program, start this one with it too)", err)
	case errors.Is(err, store.ErrFormat):
		return fmt.Errorf("%w (start the program that wrote it, or a later one)", err)
	}
	return err
}

func (g *group) closeStores() (err error) {
	if g.log != nil {
		err = g.log.Close()
	}
	if g.store != nil {
		err = errors.Join(err, g.store.Close())
	}
	return err
}

// start begins to take part in the group. A snapshot from the leader that is older
// than this node's log is told to outdated.
func (g *group) start(c Config, id *identity, streams raft.StreamLayer, addresses raft.ServerAddressProvider, outdated func()) error {
	logger := raftLogger(c.Logger.With("component", "raft"))
	transport := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream:                  streams,
		ServerAddressProvider:   addresses,
		MaxPool:                 maxPool,
		MaxRPCsInFlight:         maxRPCsInFlight,
		Timeout:                 transportTimeout,
		Logger:                  logger.Named("transport"),
		MsgpackUseNewTimeFormat: true,
	})
	g.writes = newParallelLog(c.appends(g.log))
	g.gate = newGate(transport, g.log, g.writes, c.Logger, outdated)
	g.gate.full = func() (bool, <-chan struct{}) { return g.logSize.full(g.CommitIndex()) }
	logs, err := raft.NewLogCache(logCacheEntries, g.writes)
	if err == nil {
		g.Raft, err = g.newRaft(raftConfig(c, id, logger), logs)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("raft: %w", err), transport.Close())
	}
	self := id.get().NodeID
	another := func(voter uuid.UUID) bool { return voter != self }
	othersCommit := func() bool { return g.State() == raft.Leader && slices.ContainsFunc(g.voters(), another) }
	g.writes.othersCommit.Store(&othersCommit)
	g.gate.open(g.CurrentTerm)
	g.log.running.Store(true)
	return nil
}

// newRaft turns into an error that Raft panics on a log that it can not read.
func (g *group) newRaft(c *raft.Config, logs raft.LogStore) (r *raft.Raft, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", oncelog.ErrCorrupt, p)
		}
	}()
	watched := watchedFSM{
		FSM: g.fsm, path: g.storePath, fail: g.fail, stall: stallLimit,
		advance: func() { g.logSize.advance(g.store.Applied().Index) },
	}
	return raft.NewRaft(c, watched, logs, g.log, raftfsm.NewSnapshots(g.store), g.gate)
}

func raftConfig(c Config, id *identity, logger hclog.Logger) *raft.Config {
	r := raft.DefaultConfig()
	r.LocalID = raft.ServerID(id.get().NodeID.String())
	r.HeartbeatTimeout, r.ElectionTimeout = c.Timing.raft()
	r.LeaderLeaseTimeout = c.Timing.Lease
	r.CommitTimeout = commitTimeout
	r.MaxAppendEntries = maxAppendEntries
	r.SnapshotInterval = snapshotInterval
	r.SnapshotThreshold = snapshotEntries
	r.TrailingLogs = trailingEntries
	r.NoSnapshotRestoreOnStart = true
	r.NoLegacyTelemetry = true
	r.Logger = logger
	return r
}

// leave ends the part in the group. The stores stay open. Raft waits for those of
// its goroutines that dial, which the end of the transport ends.
func (g *group) leave() error {
	ended := g.Shutdown()
	return errors.Join(g.gate.Close(), ended.Error(), g.writes.await())
}

// propose puts a command into the log, as leader, and waits for the state
// machine's answer. The error is an oncelog.ErrNotApplied or an
// oncelog.ErrOutcomeUnknown.
func (g *group) propose(command []byte) (any, error) {
	future := g.Raft.Apply(command, enqueueTimeout)
	if err := future.Error(); err != nil {
		return nil, outcomeOf(err)
	}
	if err, ok := future.Response().(error); ok {
		return nil, fmt.Errorf("%w: %w", oncelog.ErrOutcomeUnknown, err)
	}
	return future.Response(), nil
}

// outcomeOf tells the errors after which nothing was put into the log from
// those after which it may have been.
func outcomeOf(err error) error {
	switch {
	case errors.Is(err, raft.ErrNotLeader),
		errors.Is(err, raft.ErrLeadershipTransferInProgress),
		errors.Is(err, raft.ErrEnqueueTimeout):
		return fmt.Errorf("%w: %w", oncelog.ErrNotApplied, err)
	default:
		return fmt.Errorf("%w: %w", oncelog.ErrOutcomeUnknown, err)
	}
}
