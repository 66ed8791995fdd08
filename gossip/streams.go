package gossip

import (
	"container/list"
	"context"
	"net"
	"sync"
)

// maxStreams bounds the connections that others have opened. memberlist gives each a
// goroutine and ten seconds; its own are over within a moment.
const maxStreams = 256

// streams hands on the connections that others open. Where there are too many it
// closes the oldest, so that silent ones take no more than their part.
//
// Its goroutine is started by newStreams. It drops what still comes once ctx ends,
// and ends with stop.
type streams struct {
	out        chan net.Conn
	stop, done chan struct{}
	ending     sync.Once

	// mu guards open, the oldest first.
	mu   sync.Mutex
	open list.List
}

func newStreams(ctx context.Context, in <-chan net.Conn) *streams {
	s := &streams{out: make(chan net.Conn), stop: make(chan struct{}), done: make(chan struct{})}
	go s.run(ctx, in)
	return s
}

func (s *streams) run(ctx context.Context, in <-chan net.Conn) {
	defer close(s.done)
	for {
		select {
		case conn := <-in:
			taken := s.take(conn)
			select {
			case s.out <- taken:
			case <-ctx.Done():
				_ = taken.Close()
			}
		case <-s.stop:
			return
		}
	}
}

// end ends the goroutine; nothing may come any more. It is safe to call it again.
func (s *streams) end() {
	s.ending.Do(func() { close(s.stop) })
	<-s.done
}

// take makes room for a connection and keeps count of it until it is closed.
func (s *streams) take(conn net.Conn) *stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open.Len() >= maxStreams {
		oldest := s.open.Remove(s.open.Front()).(net.Conn)
		_ = oldest.Close()
	}
	return &stream{Conn: conn, streams: s, place: s.open.PushBack(conn)}
}

// stream is a connection that somebody else has opened.
type stream struct {
	net.Conn
	streams *streams
	place   *list.Element
}

// Close implements [net.Conn].
func (c *stream) Close() error {
	c.streams.mu.Lock()
	c.streams.open.Remove(c.place)
	c.streams.mu.Unlock()
	return c.Conn.Close()
}
