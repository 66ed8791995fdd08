package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"

	"github.com/oncelog/oncelog/node/call"
)

// simWay is how long a message is on its way at least; up to twice that.
const simWay = 200 * time.Microsecond

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

// Call implements callClient.
func (c simCalls) Call(ctx context.Context, to uuid.UUID, m call.Method, body []byte) (call.Reply, error) {
	other := c.node.world.node(to)
	if err := pass(ctx, c.node, other); err != nil {
		return call.Reply{}, fmt.Errorf("%w: %w", call.ErrNoReply, err)
	}
	l := other.life()
	if l == nil {
		return call.Reply{}, fmt.Errorf("%w: %w", call.ErrNotSent, syscall.ECONNREFUSED)
	}
	reply := l.calls[m](ctx, body)
	if err := pass(ctx, c.node, other); err != nil {
		return call.Reply{}, fmt.Errorf("%w: %w", call.ErrNoReply, err)
	}
	return reply, nil
}

// Close implements callClient.
func (simCalls) Close() error { return nil }
