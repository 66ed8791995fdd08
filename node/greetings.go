package node

import (
	"container/list"
	"net"
	"sync"
	"time"
)

// maxGreetings bounds the connections that have not said yet what they are. A peer
// says it at once, so its connection is among the newest.
const maxGreetings = 256

// greetings are the connections that have not said yet what they are.
type greetings struct {
	// mu guards waiting, the oldest first.
	mu      sync.Mutex
	waiting list.List
}

// begin takes a connection in. Where there are too many it closes the oldest, so
// that connections that say nothing do not hold up those that do.
func (g *greetings) begin(conn net.Conn) *list.Element {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.waiting.Len() >= maxGreetings {
		oldest := g.waiting.Remove(g.waiting.Front()).(net.Conn)
		_ = oldest.Close()
	}
	return g.waiting.PushBack(conn)
}

// end takes note of a connection that has said what it is, or has failed to.
func (g *greetings) end(place *list.Element) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting.Remove(place)
}

// quietFor is how long the same is not logged again.
const quietFor = 10 * time.Second

// seldom keeps a flood of connections from becoming one of log lines.
type seldom struct {
	// mu guards what follows.
	mu      sync.Mutex
	last    time.Time
	skipped int
}

// due tells whether to log now, and how often it was not since the last time.
func (s *seldom) due(now time.Time) (skipped int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.last) < quietFor {
		s.skipped++
		return 0, false
	}
	skipped, s.last, s.skipped = s.skipped, now, 0
	return skipped, true
}
