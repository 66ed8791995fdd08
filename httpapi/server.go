package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/httpapi/wire"
)

// Server serves one Log.
type Server struct {
	cfg    Config
	http   *http.Server
	routes map[string]*route
	memory *budget
	conns  *connections
	// scratch holds *scratch, what a request needs and the next one can use, and
	// intakes *intake, which it needs only until it is decoded.
	scratch, intakes sync.Pool

	// stopping ends when Shutdown begins: streams then finish what they have.
	stopping context.Context
	stop     context.CancelFunc
}

// New makes a server that does not listen yet.
func New(cfg Config) (*Server, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, memory: newBudget(cfg.MaxBufferedBytes), conns: newConnections(cfg.MaxConnections)}
	s.stopping, s.stop = context.WithCancel(context.Background())
	s.scratch.New = func() any { return new(scratch) }
	s.intakes.New = func() any { return new(intake) }
	s.routes = s.newRoutes()
	// There is no ReadTimeout and no WriteTimeout: they would cut long streams.
	// Each body and each answer extends its own deadline as it gets on.
	s.http = &http.Server{
		Handler:           http.HandlerFunc(s.serveHTTP),
		ReadHeaderTimeout: cfg.StallTimeout,
		IdleTimeout:       cfg.IdleTimeout,
		MaxHeaderBytes:    cfg.MaxHeaderBytes,
		ConnState:         s.conns.note,
		ErrorLog:          slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelDebug),
	}
	return s, nil
}

// Handler is the API as a handler, for a server other than Serve's.
func (s *Server) Handler() http.Handler { return s.http.Handler }

// Serve answers on the listener, which it closes, until Shutdown. It may be
// called for several listeners, which share one limit of connections.
func (s *Server) Serve(l net.Listener) error {
	err := s.http.Serve(&limitedListener{l, s.conns})
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Shutdown stops to listen, ends the streams of events after what they have sent
// so far, and waits for the requests in flight. Those that are not done when ctx
// ends are cut off, and the context's error is returned.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stop()
	s.conns.end()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.http.Close())
	}
	return err
}

// intake is the memory in which a request is read and decoded.
type intake struct {
	decoder wire.Decoder
	body    []byte
}

// scratch is the memory that one request works in until its answer.
type scratch struct {
	events []oncelog.Event
	out    []byte
}

// scratchBytes is the largest body or answer whose memory is kept for the next
// request.
const scratchBytes = 1 << 20

func (s *Server) getIntake() *intake { return s.intakes.Get().(*intake) }

// putIntake takes back what getIntake gave.
func (s *Server) putIntake(in *intake) {
	if cap(in.body) <= scratchBytes {
		s.intakes.Put(in)
	}
}

func (s *Server) getScratch() *scratch { return s.scratch.Get().(*scratch) }

// putScratch takes back what getScratch gave. What an exceptional request has
// blown up is left to the garbage collector.
func (s *Server) putScratch(sc *scratch) {
	const eventBytes = 96
	if max(cap(sc.out), cap(sc.events)*eventBytes) > scratchBytes {
		return
	}
	clear(sc.events)
	sc.events = sc.events[:0]
	s.scratch.Put(sc)
}
