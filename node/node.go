package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/oncelog/oncelog/gossip"
	"github.com/oncelog/oncelog/httpapi"
	"github.com/oncelog/oncelog/node/call"
	"github.com/oncelog/oncelog/raftfsm"
)

// Node is a running node. Its methods may be called from any goroutine.
type Node struct {
	config  Config
	started time.Time

	identity   *identity
	group      *group
	gossip     *gossip.Gossip
	port       *port
	caller     *caller
	calls      *call.Server
	leadership *leadership
	proposer   *proposer
	reader     *reader
	forwarder  *forwarder
	sequencer  *sequencer
	takeover   *takeover
	space      *space
	standing   *standing
	membership *membership
	api        *httpapi.Server

	httpListener, raftListener net.Listener

	// failure gets the first reason for which the node must stop.
	failure chan error
	// departed is closed when the node has left the cluster, and stops.
	departed chan struct{}
	// background is the goroutines of this package; stopBackground ends them.
	background     sync.WaitGroup
	stopBackground context.CancelFunc
	// undo closes what was opened, last first.
	undo []func() error
	stop sync.Once
	err  error
}

// New opens the data directory, binds the three addresses and starts to take
// part in the cluster. The node then works until [Node.Run] or [Node.Close] ends
// it. The errors name what is wrong: a field of the configuration, a directory
// (ErrDirectoryInUse, ErrForeignDirectory, oncelog.ErrCorrupt), or an address.
func New(config Config) (*Node, error) {
	n := &Node{config: config.withDefaults(), started: time.Now(), failure: make(chan error, 1), departed: make(chan struct{})}
	if err := n.config.validate(); err != nil {
		return nil, err
	}
	if err := n.open(); err != nil {
		return nil, errors.Join(err, n.unwind())
	}
	n.work()
	return n, nil
}

// open does all that can fail, one thing standing on the other.
func (n *Node) open() (err error) {
	if n.identity, err = openIdentity(n.config.DataDir, n.config.Name); err != nil {
		return err
	}
	n.undo = append(n.undo, n.identity.Close)
	if err := n.listen(); err != nil {
		return err
	}
	if err := n.openStores(); err != nil {
		return err
	}
	if err := n.startGossip(); err != nil {
		return err
	}
	n.openPort()
	if err := n.claim(); err != nil {
		return err
	}
	if err := n.startRaft(); err != nil {
		return err
	}
	return n.openAPI()
}

// listen binds the addresses before anything is written, so that one in use is
// told at once.
func (n *Node) listen() (err error) {
	if n.httpListener, err = n.bind("HTTP", n.config.HTTPAddr); err != nil {
		return err
	}
	n.raftListener, err = n.bind("Raft", n.config.RaftAddr)
	return err
}

// advertised is the address to tell others of a listener.
func (n *Node) advertised(configured string, l net.Listener) string {
	return n.config.advertised(configured, l.Addr())
}

func (n *Node) bind(what, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%s address %s: %w", what, addr, err)
	}
	n.undo = append(n.undo, func() error {
		if err := l.Close(); !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	})
	return l, nil
}

// openStores opens the store and the Raft log and checks whose they are.
func (n *Node) openStores() (err error) {
	own := n.identity.get()
	if _, err := os.Stat(filepath.Join(n.config.DataDir, "store")); err != nil && own.belongs() {
		return lostPart(own, err)
	}
	if n.group, err = openStores(n.config, own, n.fail); err != nil {
		return err
	}
	n.undo = append(n.undo, n.group.closeStores)
	if c := n.group.fsm.Cluster(); c != uuid.Nil && c != own.ClusterID {
		return fmt.Errorf("%w: its store belongs to cluster %s and its %s says %s", ErrForeignDirectory, c, identityFile, own.ClusterID)
	}
	return n.group.recoverCluster(n.config.DataDir, own)
}

func (n *Node) startGossip() (err error) {
	own := n.identity.get()
	advertise := ""
	if n.config.AdvertiseHost != "" {
		advertise = net.JoinHostPort(n.config.AdvertiseHost, "0")
	}
	n.gossip, err = gossip.Start(gossip.Config{
		BindAddr:      n.config.GossipAddr,
		AdvertiseAddr: advertise,
		Join:          n.config.Join,
		Meta: gossip.Meta{
			ID: own.NodeID.String(), Name: own.Name, ClusterID: clusterName(own.ClusterID),
			HTTPAddr: n.Addr(), RaftAddr: n.raftAddr(),
			Expect: n.config.BootstrapExpect, Version: n.config.Version,
		},
		Logger: n.config.Logger.With("component", "gossip"),
	})
	if err != nil {
		return err
	}
	n.undo = append(n.undo, n.gossip.Close)
	return nil
}

// openPort opens the way to the other nodes, and from them.
func (n *Node) openPort() {
	n.port = openPort(n.raftListener, n.raftAddr(), n.identity, n.config.Logger.With("component", "port"))
	n.undo = append(n.undo, n.port.Close)
	n.caller = newCaller(&peers{identity: n.identity, gossip: n.gossip, fsm: n.group.fsm})
	n.undo = append(n.undo, n.caller.Close)
	n.standing = &standing{
		identity: n.identity, group: n.group, gossip: n.gossip, caller: n.caller, logger: n.config.Logger,
		status: n.status, depart: n.depart, fail: n.fail, dismissed: make(chan struct{}, 1),
	}
}

// startRaft takes part in the group.
func (n *Node) startRaft() error {
	own, logger := n.identity.get(), n.config.Logger
	directory := n.caller.peers
	if err := n.group.start(n.config, n.identity, raftStreams{n.port.raft, directory}, directory, n.askForSnapshot); err != nil {
		return err
	}
	n.undo = append(n.undo, n.group.leave)
	n.leadership = newLeadership(n.group, n.caller, n.identity, logger)
	n.sequencer = newSequencer(n.commit)
	n.space = &space{
		reserve: uint64(n.config.DiskReserve), free: n.group.store.Free,
		leadership: n.leadership, logger: logger,
	}
	if n.config.free != nil {
		n.space.free = n.config.free
	}
	n.forwarder = &forwarder{leadership: n.leadership, sequencer: n.sequencer, space: n.space, caller: n.caller}
	n.proposer = newProposer(raftfsm.SessionID{Node: own.NodeID, Run: own.session()}, n.forwarder, n.leaderMoved, n.config.QueueBytes)
	n.reader = newReader(n.leadership, n.group, n.caller)
	n.takeover = &takeover{
		leadership: n.leadership, group: n.group, streams: n.port.raft, caller: n.caller,
		dial: directory.dial, logger: logger, patience: n.config.Timing.Heartbeat,
	}
	n.membership = &membership{
		leadership: n.leadership, group: n.group, gossip: n.gossip, caller: n.caller, identity: n.identity, logger: logger,
		standing: n.standing,
	}
	return nil
}

// commit stamps a command and puts it into the log, as leader.
func (n *Node) commit(command []byte) (any, error) {
	raftfsm.Stamp(command, n.config.Clock().UnixNano())
	return n.group.propose(command)
}

func clusterName(id uuid.UUID) string {
	if id == uuid.Nil {
		return ""
	}
	return id.String()
}

func (n *Node) leaderMoved() <-chan struct{} {
	_, _, moved := n.leadership.leader()
	return moved
}

// work starts the goroutines and the servers. It can not fail.
func (n *Node) work() {
	f := &founding{
		identity: n.identity, group: n.group, gossip: n.gossip, caller: n.caller,
		expect: n.config.BootstrapExpect, logger: n.config.Logger,
	}
	n.calls = newCallServer(map[call.Method]call.Handler{
		methodForward:   handle(n.forwarder.accept),
		methodIndex:     handle(n.reader.serveIndex),
		methodConfirm:   handle(n.reader.serveTerm),
		methodStatus:    handleJSON(n.serveStatus),
		methodPledge:    handleJSON(f.servePledge),
		methodTransfer:  handleJSON(n.serveTransfer),
		methodSnapshot:  handle(n.serveSnapshot),
		methodVacancy:   handleJSON(n.takeover.serveVacancy),
		methodLeave:     handleJSON(n.membership.serveLeave),
		methodDismissed: handleJSON(n.standing.serveDismissed),
	})

	ctx, cancel := context.WithCancel(context.Background())
	n.stopBackground = cancel
	n.background.Go(func() { n.watch(n.calls.Serve(n.port.calls)) })
	n.background.Go(func() { n.watch(n.api.Serve(n.httpListener)) })
	n.background.Go(func() { n.leadership.run(ctx) })
	n.background.Go(func() { n.takeover.run(ctx) })
	n.background.Go(func() { n.space.run(ctx) })
	n.background.Go(func() { n.identity.watch(ctx, n.fail) })
	n.background.Go(func() { n.membership.run(ctx) })
	n.background.Go(func() { n.group.logSize.run(ctx, n.group.Raft, trailingEntries, n.config.Logger) })
	n.background.Go(n.proposer.run)
	n.background.Go(n.sequencer.run)
	n.background.Go(func() { n.enter(ctx, f) })
}

// enter brings a new node into a cluster and tells gossip.
func (n *Node) enter(ctx context.Context, f *founding) {
	if err := f.run(ctx); err != nil {
		n.fail(err)
		return
	}
	_ = n.gossip.SetMeta(func(m *gossip.Meta) { m.ClusterID = clusterName(n.identity.get().ClusterID) })
}

// openAPI makes the HTTP API, which does not serve yet.
func (n *Node) openAPI() (err error) {
	n.api, err = httpapi.New(httpapi.Config{
		Log: service{n}, Node: n.config.Name, RequestTimeout: n.config.RequestTimeout,
		Logger: n.config.Logger.With("component", "api"),
	})
	return err
}

// watch turns the end of a server into the node's.
func (n *Node) watch(err error) {
	if err != nil && !errors.Is(err, net.ErrClosed) {
		n.fail(err)
	}
}

// fail ends the node; the first reason counts. It never blocks.
func (n *Node) fail(err error) {
	select {
	case n.failure <- err:
	default:
	}
}

// Addr returns the host:port of the HTTP API.
func (n *Node) Addr() string { return n.advertised(n.config.HTTPAddr, n.httpListener) }

func (n *Node) raftAddr() string {
	if n.config.RaftAdvertise != "" {
		return n.config.RaftAdvertise
	}
	return n.advertised(n.config.RaftAddr, n.raftListener)
}

// GossipAddr returns the host:port to give to other nodes' Join.
func (n *Node) GossipAddr() string {
	if n.config.AdvertiseHost == "" {
		return n.gossip.Addr()
	}
	_, port, _ := net.SplitHostPort(n.gossip.Addr())
	return net.JoinHostPort(n.config.AdvertiseHost, port)
}

// ID returns the node's UUID.
func (n *Node) ID() string { return n.identity.get().NodeID.String() }
