package call

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"
)

// maxConcurrent is how many calls of one connection are carried out at once. More of
// them are answered with unavailable: a connection that is read no further would be
// taken for a dead one.
const maxConcurrent = 1024

// Handler carries out a call, within ctx, and owns its body. ctx ends with the
// connection and with the time that the caller gives.
type Handler func(ctx context.Context, body []byte) Reply

// Server carries out the calls of other nodes.
type Server struct {
	handlers map[Method]Handler
	// unavailable is the reply to what the server does not carry out: while it stops,
	// beyond maxConcurrent, and to methods that it does not know.
	unavailable Reply

	// mu guards what follows.
	mu       sync.Mutex
	listener net.Listener
	streams  map[*stream]bool
	stopping bool

	// calls are those under way; streaming the goroutines of connections.
	calls, streaming sync.WaitGroup
}

// NewServer makes a server of some methods. A call that it does not carry out is
// answered with unavailable.
func NewServer(handlers map[Method]Handler, unavailable Reply) *Server {
	return &Server{handlers: handlers, unavailable: unavailable, streams: make(map[*stream]bool)}
}

// Serve carries out the calls that come over a listener's connections until
// Shutdown, and returns nil then. It closes the listener.
func (s *Server) Serve(l net.Listener) error {
	defer func() { _ = l.Close() }()
	s.mu.Lock()
	s.listener = l
	stopping := s.stopping
	s.mu.Unlock()
	if stopping {
		return nil
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			if s.stops() {
				return nil
			}
			return err
		}
		if !s.take(conn) {
			_ = conn.Close()
		}
	}
}

func (s *Server) stops() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopping
}

// take begins to serve a connection, unless the server stops.
func (s *Server) take(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return false
	}
	stream := newStream(conn)
	s.streams[stream] = true
	s.streaming.Go(func() {
		s.serve(stream)
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.streams, stream)
	})
	return true
}

// serve carries out the calls that come over a stream until it ends.
func (s *Server) serve(stream *stream) {
	ctx, cancel := context.WithCancel(context.Background())
	defer stream.tasks.Wait()
	defer cancel()
	places := make(chan struct{}, maxConcurrent)
	for {
		f, err := stream.receive()
		if err == nil && f.kind != kindCall {
			err = fmt.Errorf("%w: a reply from the node that dialled", errBadFrame)
		}
		if err != nil {
			stream.end(err)
			return
		}
		select {
		case places <- struct{}{}:
			go func() {
				s.answer(ctx, stream, f)
				<-places
			}()
		default:
			s.reply(stream, f, s.unavailable)
		}
	}
}

// answer carries out one call.
func (s *Server) answer(ctx context.Context, stream *stream, f frame) {
	reply := s.unavailable
	if handler, ok := s.handlers[Method(f.code)]; ok && s.begin() {
		defer s.calls.Done()
		if f.millis > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, time.Duration(f.millis)*time.Millisecond)
			defer cancel()
		}
		reply = handler(ctx, f.body)
	}
	s.reply(stream, f, reply)
}

func (s *Server) reply(stream *stream, f frame, r Reply) {
	stream.send(frame{kind: kindReply, number: f.number, code: uint8(r.Status), body: r.Body})
}

// begin tells whether a call may begin.
func (s *Server) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.stopping {
		s.calls.Add(1)
	}
	return !s.stopping
}

// Shutdown takes no more connections and no more calls, waits for those under way
// and for their replies to be written until ctx ends, and closes the connections.
// The error is ctx's. It is safe to call it again.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.stopping = true
	if s.listener != nil {
		_ = s.listener.Close()
	}
	s.mu.Unlock()
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		s.calls.Wait()
		s.each(func(stream *stream) { stream.finish(net.ErrClosed) })
		s.streaming.Wait()
	}()
	select {
	case <-stopped:
		return nil
	case <-ctx.Done():
		s.each(func(stream *stream) { stream.end(net.ErrClosed) })
		s.streaming.Wait()
		return context.Cause(ctx)
	}
}

func (s *Server) each(do func(*stream)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for stream := range s.streams {
		do(stream)
	}
}
