package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/google/uuid"
)

// What a proxy knows of the preamble of a connection to a node port, of which
// docs/formats.md has the table.
const (
	preambleBytes       = 60
	preambleAnswerBytes = 8
	preambleKind        = 5
	preambleDialler     = 40
	kindCalls           = 2
	// preambleTimeout bounds the wait for a preamble.
	preambleTimeout = 5 * time.Second
)

// proxy stands in front of one node's port. It tells by the preamble who dials,
// and has each dialler's connections carried by a link of its own.
type proxy struct {
	listener net.Listener
	target   string

	closing context.Context
	close   context.CancelFunc
	done    sync.WaitGroup

	// mu guards what follows.
	mu sync.Mutex
	// links are by the dialler's id. Those that are yet to come begin cut where
	// shut is set.
	links map[uuid.UUID]*Link
	shut  bool
}

// openProxy listens at addr for the node at target.
func openProxy(addr, target string) (*proxy, error) {
	closing, cancel := context.WithCancel(context.Background())
	var lc net.ListenConfig
	l, err := lc.Listen(closing, "tcp", addr)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("%w: %w", ErrPortInUse, err)
	}
	p := &proxy{listener: l, target: target, closing: closing, close: cancel, links: make(map[uuid.UUID]*Link)}
	p.done.Go(p.accept)
	return p, nil
}

// Close ends all connections and waits until nothing is left of them. It is safe
// to call it again.
func (p *proxy) Close() error {
	p.close()
	err := p.listener.Close()
	p.done.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (p *proxy) accept() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.done.Go(func() { p.serve(conn) })
	}
}

// serve carries one connection. A node that cannot be reached resets it.
func (p *proxy) serve(dialler net.Conn) {
	// What has ended in order already is not touched by this.
	defer resetConn(dialler)
	stop := context.AfterFunc(p.closing, func() { resetConn(dialler) })
	defer stop()
	var preamble [preambleBytes]byte
	_ = dialler.SetReadDeadline(time.Now().Add(preambleTimeout))
	if _, err := io.ReadFull(dialler, preamble[:]); err != nil {
		return
	}
	_ = dialler.SetReadDeadline(time.Time{})
	l := p.link(uuid.UUID(preamble[preambleDialler : preambleDialler+16]))
	if l.refuses() {
		return
	}
	var d net.Dialer
	target, err := d.DialContext(p.closing, "tcp", p.target)
	if err != nil {
		return
	}
	defer resetConn(target)
	s := newStream(l, preamble[preambleKind], dialler, target)
	if !l.admit(s) {
		return
	}
	defer l.dismiss(s)
	end := context.AfterFunc(p.closing, s.reset)
	defer end()
	s.carry(preamble[:])
}

// link is the one of a dialler.
func (p *proxy) link(dialler uuid.UUID) *Link {
	p.mu.Lock()
	defer p.mu.Unlock()
	l, ok := p.links[dialler]
	if !ok {
		l = newLink()
		l.faults.cut = p.shut
		p.links[dialler] = l
	}
	return l
}

// setShut says how the links begin that are yet to come.
func (p *proxy) setShut(shut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shut = shut
}

// all are the links so far.
func (p *proxy) all() []*Link {
	p.mu.Lock()
	defer p.mu.Unlock()
	links := make([]*Link, 0, len(p.links))
	for _, l := range p.links {
		links = append(links, l)
	}
	return links
}
