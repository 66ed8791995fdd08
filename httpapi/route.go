package httpapi

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/oncelog/oncelog"
)

// handler answers one request. An error that it returns becomes a problem
// document, so it must not have written anything then; a handler that fails
// later cuts the connection with [http.ErrAbortHandler].
type handler func(http.ResponseWriter, *http.Request) error

// route is what one path serves.
type route struct {
	get, post handler
	allow     string
}

func reads(h handler) *route  { return &route{get: h, allow: "GET, HEAD, OPTIONS"} }
func writes(h handler) *route { return &route{post: h, allow: "POST, OPTIONS"} }

func (s *Server) newRoutes() map[string]*route {
	return map[string]*route{
		"/":                            reads(s.home),
		"/publish":                     writes(s.publish),
		"/publish/batch":               writes(s.publishBatch),
		eventsPath:                     reads(s.events),
		eventPrefix:                    reads(s.event),
		"/topics":                      reads(s.topics),
		"/stats":                       reads(s.stats),
		"/cluster":                     reads(s.cluster),
		"/cluster/transfer-leadership": writes(s.transferLeadership),
		"/cluster/leave":               writes(s.leave),
		"/livez":                       reads(s.live),
		"/readyz":                      reads(s.ready),
	}
}

const (
	eventsPath = "/events"
	// eventPrefix stands in the routes for all paths that have an id behind it.
	eventPrefix = eventsPath + "/"
)

func (s *Server) serveHTTP(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength != 0 {
		// A body that nobody reads is still drained before the connection is used
		// again, so there has to be a deadline before anything else happens.
		extendRead(http.NewResponseController(w), s.cfg.StallTimeout)
	}
	if err := s.dispatch(w, r); err != nil {
		if !errors.Is(err, errStalled) {
			s.drain(w, r)
		}
		s.fail(w, r, err)
	}
}

func (s *Server) dispatch(w http.ResponseWriter, r *http.Request) error {
	rt := s.route(r.URL.Path)
	if rt == nil {
		return oncelog.ErrNotFound
	}
	switch {
	case r.Method == http.MethodOptions:
		w.Header()["Allow"] = []string{rt.allow}
		w.WriteHeader(http.StatusNoContent)
		return nil
	case rt.get != nil && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		if err := s.noBody(w, r); err != nil {
			return err
		}
		return rt.get(w, r)
	case rt.post != nil && r.Method == http.MethodPost:
		return rt.post(w, r)
	}
	w.Header()["Allow"] = []string{rt.allow}
	return errMethod
}

// noBody gets a body out of the way that a read should not have: left where it
// is, its deadline would end a long answer.
func (s *Server) noBody(w http.ResponseWriter, r *http.Request) error {
	if r.ContentLength == 0 {
		return nil
	}
	n, err := io.CopyN(io.Discard, r.Body, progressBytes)
	switch {
	case n == progressBytes:
		return badRequest("a %s takes no body", r.Method)
	case !errors.Is(err, io.EOF):
		return bodyError(err)
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	return nil
}

func (s *Server) route(path string) *route {
	if id, ok := strings.CutPrefix(path, eventPrefix); ok {
		if id == "" || strings.Contains(id, "/") {
			return nil
		}
		path = eventPrefix
	}
	return s.routes[path]
}

// extendRead lets the peer take d from now on for what it sends next. Servers
// without deadlines, as in tests of handlers, go without.
func extendRead(rc *http.ResponseController, d time.Duration) {
	_ = rc.SetReadDeadline(time.Now().Add(d))
}

// extendWrite lets the peer take d from now on for taking what it is sent next.
func extendWrite(rc *http.ResponseController, d time.Duration) {
	_ = rc.SetWriteDeadline(time.Now().Add(d))
}
