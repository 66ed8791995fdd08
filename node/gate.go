package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/hashicorp/raft"
)

// gate is Raft's transport, and has a word in what comes and goes: it sends again what
// was lost on a connection of old, has Raft stand for election when it is time, holds
// entries up while the log is full, and answers itself the snapshots that must not be
// installed, those that end within the log.
//
// A leader that has lost a follower's replies may take it to be further behind
// than it is. Raft installs the snapshot that it then sends whatever the follower
// has (hashicorp/raft#697): it would drop the entries behind the snapshot, which
// the follower has acknowledged, or keep them and forget the changes of membership
// in them. The Raft paper's rule, that a log which holds the snapshot's last entry
// stays as it is (section 7, InstallSnapshot, step 6), is kept here.
type gate struct {
	*raft.NetworkTransport
	rpcs   chan raft.RPC
	log    *guardedLog
	writes *parallelLog
	logger *slog.Logger
	// outdated is told of a snapshot that begins before this node's log does: only
	// a newer one can help.
	outdated func()
	// full tells whether no entries are to be taken now, and when to ask again.
	full func() (bool, <-chan struct{})

	shut context.CancelFunc
	// tasks are what the gate and heartbeats have under way.
	tasks tasks
}

func newGate(t *raft.NetworkTransport, l *guardedLog, writes *parallelLog, logger *slog.Logger, outdated func()) *gate {
	return &gate{NetworkTransport: t, rpcs: make(chan raft.RPC), log: l, writes: writes, logger: logger, outdated: outdated}
}

// Consumer implements raft.Transport.
func (g *gate) Consumer() <-chan raft.RPC { return g.rpcs }

// open begins to let in what comes. term is Raft's current one.
func (g *gate) open(term func() uint64) {
	ctx, cancel := context.WithCancel(context.Background())
	g.shut = cancel
	g.tasks.start(func() {
		for {
			select {
			case rpc := <-g.NetworkTransport.Consumer():
				g.pass(ctx, rpc, term())
			case <-ctx.Done():
				return
			}
		}
	})
}

// SetHeartbeatHandler implements raft.Transport. Raft answers a heartbeat on the
// connection's own goroutine, which its end does not wait for: a late one could write a
// term into a log that is closed.
func (g *gate) SetHeartbeatHandler(handle func(raft.RPC)) {
	g.NetworkTransport.SetHeartbeatHandler(g.untilClosed(handle))
}

func (g *gate) untilClosed(handle func(raft.RPC)) func(raft.RPC) {
	return func(rpc raft.RPC) {
		if g.tasks.begin() {
			defer g.tasks.done()
			handle(rpc)
		}
	}
}

// Close ends the transport, and waits for what the gate and heartbeats have under way.
func (g *gate) Close() error {
	err := g.NetworkTransport.Close()
	if g.shut != nil {
		g.shut()
	}
	g.tasks.close()
	return err
}

// pass hands a request to Raft, unless it is a snapshot that is answered here, or
// entries that have to wait. Of the current term's leader only: any other is Raft's
// to refuse. A node that has led until now may still write what it tells its successor
// that it has. Where that write fails, the node ends.
func (g *gate) pass(ctx context.Context, rpc raft.RPC, term uint64) {
	switch request := rpc.Command.(type) {
	case *raft.InstallSnapshotRequest:
		if g.writes.await() != nil {
			return
		}
		if request.Term == term && g.answers(rpc, request) {
			return
		}
	case *raft.AppendEntriesRequest:
		if g.writes.await() != nil {
			return
		}
		if full, _ := g.full(); full && request.Term == term && len(request.Entries) > 0 {
			g.tasks.start(func() { g.hold(ctx, rpc, request) })
			return
		}
	}
	g.hand(ctx, rpc)
}

// hand hands a request to Raft.
func (g *gate) hand(ctx context.Context, rpc raft.RPC) {
	select {
	case g.rpcs <- rpc:
	case <-ctx.Done():
	}
}

// again sends a request again that fails at once, as one does on a connection that
// the other node has closed meanwhile. Raft's transport keeps some in a pool and finds
// each broken only by losing a request over it: a vote lost so, for a voter that was
// restarted since, costs an election time-out. The last attempt finds the pool empty.
// A dial that fails has taken its time. All these requests may come twice.
func (g *gate) again(request func() error) (err error) {
	for range maxPool + 1 {
		begin := time.Now()
		if err = request(); err == nil || time.Since(begin) >= redialPause {
			return err
		}
	}
	return err
}

// AppendEntries implements raft.Transport. By the answer Raft may commit the entries: it
// is held back until this node, too, has them on disk.
func (g *gate) AppendEntries(id raft.ServerID, to raft.ServerAddress, request *raft.AppendEntriesRequest, response *raft.AppendEntriesResponse) error {
	err := g.again(func() error { return g.NetworkTransport.AppendEntries(id, to, request, response) })
	if n := len(request.Entries); err == nil && n > 0 {
		err = g.writes.awaitEntry(request.Entries[n-1].Index)
	}
	return err
}

// AppendEntriesPipeline implements raft.Transport. The answers of a pipeline would not
// come through the gate.
func (g *gate) AppendEntriesPipeline(raft.ServerID, raft.ServerAddress) (raft.AppendPipeline, error) {
	return nil, raft.ErrPipelineReplicationNotSupported
}

// RequestVote implements raft.Transport.
func (g *gate) RequestVote(id raft.ServerID, to raft.ServerAddress, request *raft.RequestVoteRequest, response *raft.RequestVoteResponse) error {
	return g.again(func() error { return g.NetworkTransport.RequestVote(id, to, request, response) })
}

// RequestPreVote implements raft.WithPreVote.
func (g *gate) RequestPreVote(id raft.ServerID, to raft.ServerAddress, request *raft.RequestPreVoteRequest, response *raft.RequestPreVoteResponse) error {
	return g.again(func() error { return g.NetworkTransport.RequestPreVote(id, to, request, response) })
}

// TimeoutNow implements raft.Transport.
func (g *gate) TimeoutNow(id raft.ServerID, to raft.ServerAddress, request *raft.TimeoutNowRequest, response *raft.TimeoutNowResponse) error {
	return g.again(func() error { return g.NetworkTransport.TimeoutNow(id, to, request, response) })
}

// stand has Raft stand for election at once. To Raft it is the word of a leader that
// hands over: it asks nobody beforehand, and the others vote although they may still
// know a leader.
func (g *gate) stand(ctx context.Context) {
	g.hand(ctx, raft.RPC{
		Command:  &raft.TimeoutNowRequest{RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax}},
		RespChan: make(chan raft.RPCResponse, 1),
	})
}

// errOutdated is the answer to a snapshot that ends before this node's log begins.
var errOutdated = errors.New("the snapshot is older than this node's log")

// answers tells whether it has answered a snapshot.
func (g *gate) answers(rpc raft.RPC, request *raft.InstallSnapshotRequest) bool {
	held, err := g.log.holds(request.LastLogIndex, request.LastLogTerm)
	if !held && err == nil {
		return false
	}
	g.logger.Info("a snapshot from the leader is not needed", "index", request.LastLogIndex, "term", request.LastLogTerm, "error", err)
	g.tasks.start(func() {
		// The next request comes behind the snapshot.
		_, _ = io.Copy(io.Discard, rpc.Reader)
		rpc.Respond(&raft.InstallSnapshotResponse{
			RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax},
			Term:      request.Term,
			Success:   err == nil,
		}, err)
		if errors.Is(err, errOutdated) {
			g.outdated()
		}
	})
	return true
}

// holds tells whether an entry of that index and term is in the log. Then all
// before it are the leader's too. An errOutdated means that the log begins
// behind it.
func (l *guardedLog) holds(index, term uint64) (bool, error) {
	first, err := l.FirstIndex()
	if err != nil || first == 0 {
		return false, err
	}
	last, err := l.LastIndex()
	switch {
	case err != nil || index > last:
		return false, err
	case index < first:
		return false, fmt.Errorf("%w: it ends at entry %d, and the log begins at %d", errOutdated, index, first)
	}
	held, err := l.termOf(index, first, last)
	return err == nil && held == term, err
}
