package node

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/google/uuid"
)

// preambleTimeout bounds how long a connection may take to say what it is.
const preambleTimeout = 5 * time.Second

// port is the one listener for other nodes. It reads the preamble of each
// connection and hands it to the listener of its kind.
type port struct {
	listener net.Listener
	identity *identity
	logger   *slog.Logger
	raft     *streamListener
	calls    *streamListener

	greetings greetings
	// failures, refusals and strangers are what is logged seldom: an accept that
	// failed, a connection that was refused, a Raft stream of another cluster.
	failures, refusals, strangers seldom

	closing context.Context
	close   context.CancelFunc
	done    sync.WaitGroup
}

// openPort takes over a bound listener; addr is what others are told.
func openPort(listener net.Listener, addr string, id *identity, logger *slog.Logger) *port {
	closing, cancel := context.WithCancel(context.Background())
	p := &port{
		listener: listener,
		identity: id,
		logger:   logger,
		raft:     newStreamListener(string(raftAddress(id.get().NodeID.String(), addr, id.get().Name))),
		calls:    newStreamListener(addr),
		closing:  closing,
		close:    cancel,
	}
	p.done.Go(p.accept)
	return p
}

// Close stops accepting and closes all connections. It is safe to call it again.
func (p *port) Close() error {
	p.close()
	err := p.listener.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	p.done.Wait()
	return errors.Join(err, p.raft.Close(), p.calls.Close())
}

func (p *port) accept() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			if p.closing.Err() != nil {
				return
			}
			// Out of file handles, most likely: it passes, or the operator sees it.
			if more, ok := p.failures.due(time.Now()); ok {
				p.logger.Error("node port: accept failed", "error", err, "more_before", more)
			}
			p.pause(100 * time.Millisecond)
			continue
		}
		place := p.greetings.begin(conn)
		p.done.Go(func() { p.greet(conn, place) })
	}
}

func (p *port) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-p.closing.Done():
	}
}

// greet reads the preamble, answers it, and hands the connection on.
func (p *port) greet(conn net.Conn, place *list.Element) {
	stop := context.AfterFunc(p.closing, func() { _ = conn.Close() })
	defer stop()
	taker, from, err := p.handshake(conn)
	p.greetings.end(place)
	if err != nil {
		if more, ok := p.refusals.due(time.Now()); ok {
			p.logger.Warn("node port: connection refused", "from", conn.RemoteAddr().String(), "error", err, "more_before", more)
		}
		_ = conn.Close()
		return
	}
	if !stop() || !taker.hand(p.closing, conn, from) {
		_ = conn.Close()
	}
}

// handshake returns who takes the connection, and from which node it is.
func (p *port) handshake(conn net.Conn) (*streamListener, uuid.UUID, error) {
	_ = conn.SetDeadline(time.Now().Add(preambleTimeout))
	var raw [preambleSize]byte
	if _, err := io.ReadFull(conn, raw[:]); err != nil {
		return nil, uuid.Nil, fmt.Errorf("%w: %w", errBadPreamble, err)
	}
	greeting, err := decodePreamble(raw)
	verdict, taker := badPreamble, (*streamListener)(nil)
	if err == nil {
		verdict, taker = p.judge(greeting)
		err = verdict.err()
	}
	reply := encodeAnswer(verdict)
	if _, werr := conn.Write(reply[:]); werr != nil && err == nil {
		err = werr
	}
	if err != nil {
		return nil, uuid.Nil, err
	}
	return taker, greeting.dialler, conn.SetDeadline(time.Time{})
}

// judge decides on a connection. The first Raft stream of a cluster binds a
// node that belongs to none: only a member of that cluster's configuration is
// dialled by its id.
func (p *port) judge(greeting preamble) (answer, *streamListener) {
	own := p.identity.get()
	switch {
	case greeting.group != 0:
		return wrongGroup, nil
	case greeting.target != own.NodeID:
		return wrongTarget, nil
	case greeting.kind == streamCalls:
		if greeting.cluster != uuid.Nil && own.ClusterID != uuid.Nil && greeting.cluster != own.ClusterID {
			return wrongCluster, nil
		}
		return accepted, p.calls
	case greeting.kind != streamRaft:
		return wrongKind, nil
	case greeting.cluster == uuid.Nil:
		return wrongCluster, nil
	}
	if err := p.identity.belongTo(greeting.cluster); err != nil {
		if more, ok := p.strangers.due(time.Now()); ok {
			p.logger.Warn("node port: raft stream of another cluster", "cluster", greeting.cluster.String(), "error", err, "more_before", more)
		}
		return wrongCluster, nil
	}
	return accepted, p.raft
}

// dialPeer connects to a node's port and says what for. An errRefused means that
// the peer answered and said no.
func dialPeer(ctx context.Context, id *identity, target uuid.UUID, addr string, kind streamKind) (_ net.Conn, err error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = conn.Close()
		}
	}()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	_ = conn.SetDeadline(time.Now().Add(preambleTimeout))
	own := id.get()
	greeting := preamble{kind: kind, cluster: own.ClusterID, target: target, dialler: own.NodeID}.encode()
	if _, err := conn.Write(greeting[:]); err != nil {
		return nil, err
	}
	var reply [answerSize]byte
	if _, err := io.ReadFull(conn, reply[:]); err != nil {
		return nil, fmt.Errorf("node %s at %s gave no answer: %w", target, addr, err)
	}
	verdict, err := decodeAnswer(reply)
	if err == nil {
		err = verdict.err()
	}
	if err != nil {
		return nil, fmt.Errorf("node %s at %s: %w", target, addr, err)
	}
	if !stop() {
		return nil, context.Cause(ctx)
	}
	return conn, conn.SetDeadline(time.Time{})
}

// streamListener is a net.Listener of the connections of one kind. It closes
// those that are still open when it is closed, and those that it was told of:
// Raft's transport, for one, leaves its connections open.
type streamListener struct {
	addr  streamAddr
	conns chan net.Conn
	// silent gets a signal when a node's last connection to this one has ended.
	silent chan struct{}

	// mu guards what follows.
	mu     sync.Mutex
	open   map[*streamConn]bool
	closed chan struct{}
	ended  bool
}

// streamAddr is the address under which others reach the listener: host:port, or
// Raft's form of it.
type streamAddr string

// Network is always "tcp".
func (streamAddr) Network() string { return "tcp" }

// String returns the address.
func (a streamAddr) String() string { return string(a) }

func newStreamListener(addr string) *streamListener {
	return &streamListener{
		addr: streamAddr(addr), conns: make(chan net.Conn), silent: make(chan struct{}, 1),
		open: make(map[*streamConn]bool), closed: make(chan struct{}),
	}
}

// hand gives a connection to whoever accepts next.
func (l *streamListener) hand(ctx context.Context, conn net.Conn, from uuid.UUID) bool {
	tracked, ok := l.track(conn, from)
	if !ok {
		return false
	}
	select {
	case l.conns <- tracked:
		return true
	case <-l.closed:
	case <-ctx.Done():
	}
	l.forget(tracked)
	return false
}

// track makes Close close the connection; false means that Close came first. from
// is the node that has dialled, uuid.Nil for this one.
func (l *streamListener) track(conn net.Conn, from uuid.UUID) (*streamConn, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return nil, false
	}
	tracked := &streamConn{Conn: conn, listener: l, from: from}
	l.open[tracked] = true
	return tracked, true
}

func (l *streamListener) forget(c *streamConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, c)
	if c.from != uuid.Nil && !l.hears(c.from) {
		select {
		case l.silent <- struct{}{}:
		default:
		}
	}
}

// connected tells whether a node has a connection to this one.
func (l *streamListener) connected(from uuid.UUID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.hears(from)
}

// hears is connected for a caller that holds mu.
func (l *streamListener) hears(from uuid.UUID) bool {
	for c := range l.open {
		if c.from == from {
			return true
		}
	}
	return false
}

// Accept waits for the next connection of this kind.
func (l *streamListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close makes Accept return and closes the connections that are open.
func (l *streamListener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return nil
	}
	l.ended = true
	close(l.closed)
	for c := range l.open {
		_ = c.Conn.Close()
	}
	return nil
}

// Addr is the address under which others reach this listener.
func (l *streamListener) Addr() net.Addr { return l.addr }

// streamConn is a connection that its listener knows of.
type streamConn struct {
	net.Conn
	listener *streamListener
	from     uuid.UUID
}

// Close closes the connection. Raft's transport does it when it has answered all that
// came over it.
func (c *streamConn) Close() error {
	c.listener.forget(c)
	return c.Conn.Close()
}
