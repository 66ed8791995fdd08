package node

import (
	"context"
	"time"

	"github.com/hashicorp/raft"
)

// holdTime is how long entries wait for room before the leader is told to send them
// again. After transportTimeout it would take the connection for broken.
const holdTime = transportTimeout / 2

// hold keeps the leader waiting until the log has room for what it has sent. Raft has
// no flow control of its own: a follower whose store is slower than its log would take
// entries in without end, hold what it has not applied in memory, and could truncate
// nothing. The leader waits for one answer before it sends more, goes on with the
// other voters meanwhile, and counts on this one by its heartbeats, which do not come
// this way.
//
// It is done here and not in the log: Raft takes no snapshot, casts no vote and
// follows no other leader while its log keeps it waiting.
func (g *gate) hold(ctx context.Context, rpc raft.RPC, request *raft.AppendEntriesRequest) {
	timeout := time.NewTimer(holdTime)
	defer timeout.Stop()
	for {
		full, moved := g.full()
		if !full {
			g.hand(ctx, rpc)
			return
		}
		select {
		case <-moved:
		case <-timeout.C:
			g.putOff(rpc, request)
			return
		case <-ctx.Done():
			return
		}
	}
}

// putOff answers entries as a follower does that can not take them yet. The leader
// sends them again, and perhaps one more from before them.
func (g *gate) putOff(rpc raft.RPC, request *raft.AppendEntriesRequest) {
	last, err := g.log.LastIndex()
	g.logger.Warn("the store does not keep up with the log: the leader has to wait", "index", last, "error", err)
	rpc.Respond(&raft.AppendEntriesResponse{
		RPCHeader:      raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax},
		Term:           request.Term,
		LastLog:        last,
		NoRetryBackoff: true,
	}, err)
}
