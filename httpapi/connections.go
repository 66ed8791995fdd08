package httpapi

import (
	"container/list"
	"net"
	"net/http"
	"sync"
)

// connections bounds the connections that are open at once. For one more, the one
// that has been longest without a request is closed, so that whoever holds
// connections open and asks nothing, or sends a header byte by byte, shuts nobody
// out. Where all have requests under way nobody is accepted until one ends: new
// connections wait in the kernel's queue.
type connections struct {
	most int

	// mu guards what follows; changed is signalled when any of it changes.
	mu      sync.Mutex
	changed sync.Cond
	// open has each connection with its place in resting, nil while it has a
	// request under way.
	open map[net.Conn]*list.Element
	// resting has those without one, the longest first.
	resting list.List
	// ended says that no more are accepted.
	ended bool
}

func newConnections(most int) *connections {
	c := &connections{most: most, open: make(map[net.Conn]*list.Element)}
	c.changed.L = &c.mu
	return c
}

// note is the ConnState of an [http.Server], to which a connection is active once
// the header of a request has been read in full.
func (c *connections) note(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if place := c.open[conn]; place != nil {
		c.resting.Remove(place)
	}
	switch state {
	case http.StateNew, http.StateIdle:
		c.open[conn] = c.resting.PushBack(conn)
	case http.StateActive:
		c.open[conn] = nil
	case http.StateClosed, http.StateHijacked:
		delete(c.open, conn)
	}
	c.changed.Broadcast()
}

// makeRoom returns when there is room for one more connection, or false after end.
func (c *connections) makeRoom() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.open) >= c.most && !c.ended {
		if oldest := c.resting.Front(); oldest != nil {
			conn := c.resting.Remove(oldest).(net.Conn)
			delete(c.open, conn)
			_ = conn.Close()
			continue
		}
		c.changed.Wait()
	}
	return !c.ended
}

// end makes all listeners give up.
func (c *connections) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	c.changed.Broadcast()
}

// limitedListener accepts where there is room.
type limitedListener struct {
	net.Listener
	connections *connections
}

// Accept implements [net.Listener].
func (l *limitedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if !l.connections.makeRoom() {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	return conn, nil
}
