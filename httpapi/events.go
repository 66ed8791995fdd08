package httpapi

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/httpapi/wire"
)

// layout is how a sequence of events is put together.
type layout struct {
	contentType               []string
	open, between, after, end string
}

var layouts = map[string]layout{
	mediaJSON:  {contentType: jsonType, open: "[", between: ",", end: "]"},
	mediaLines: {contentType: linesType, after: "\n"},
}

// appendRecord appends a record, which has others before it or not.
func (l *layout) appendRecord(dst []byte, r *oncelog.Record, first bool) []byte {
	if !first {
		dst = append(dst, l.between...)
	}
	dst = wire.AppendRecord(dst, r)
	return append(dst, l.after...)
}

// events answers all events that match a query.
func (s *Server) events(w http.ResponseWriter, r *http.Request) error {
	p, err := newQuery(r)
	if err != nil {
		return err
	}
	q, c, err := p.query()
	if err != nil {
		return err
	}
	media, err := accept(r.Header, mediaJSON, mediaLines)
	if err != nil {
		return err
	}
	timeout, err := s.timeout(r.Header)
	if err != nil {
		return err
	}
	sc := s.getScratch()
	defer s.putScratch(sc)
	a := &eventsAnswer{server: s, layout: layouts[media], timeout: timeout, head: r.Method == http.MethodHead}
	a.out = s.newOutflow(w, a.layout.contentType, sc.out)
	w.Header()["Vary"] = varyAccept
	if q.Limit > 0 {
		err = a.page(r.Context(), p, q, c)
	} else {
		err = a.all(r.Context(), q, c)
	}
	sc.out = a.out.buf
	return err
}

// eventsAnswer writes the answer to one query.
type eventsAnswer struct {
	server  *Server
	layout  layout
	timeout time.Duration
	out     *outflow
	head    bool
	// last is the id of the last event written, 0 before the first.
	last uint64
}

// all streams everything that matches.
func (a *eventsAnswer) all(ctx context.Context, q oncelog.Query, c oncelog.Consistency) error {
	a.out.buf = append(a.out.buf, a.layout.open...)
	if a.head {
		q.Limit = 1
	}
	if err := a.stream(ctx, q, c); err != nil {
		return err
	}
	a.finish()
	return nil
}

// stream writes the events that match. An error after the first byte went out
// cuts the connection.
func (a *eventsAnswer) stream(ctx context.Context, q oncelog.Query, c oncelog.Consistency) error {
	for record, err := range a.records(ctx, q, c) {
		if err != nil && !a.out.begun {
			return err
		}
		if err != nil {
			a.abort(ctx, err)
		}
		a.append(&record)
		if !a.out.full() {
			panic(http.ErrAbortHandler)
		}
	}
	return nil
}

func (a *eventsAnswer) append(r *oncelog.Record) {
	a.out.buf = a.layout.appendRecord(a.out.buf, r, a.last == 0)
	a.last = r.ID
}

// abort cuts the connection, which tells the client that this is not all.
func (a *eventsAnswer) abort(ctx context.Context, err error) {
	a.server.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "an answer broke off", slog.Any("error", err))
	panic(http.ErrAbortHandler)
}

// finish writes the end of the answer.
func (a *eventsAnswer) finish() {
	a.out.buf = append(a.out.buf, a.layout.end...)
	if !a.out.send() {
		panic(http.ErrAbortHandler)
	}
}

// records are the Log's, the first of which has to come within the time-out:
// a stream may take long, but must not be long in coming.
func (a *eventsAnswer) records(ctx context.Context, q oncelog.Query, c oncelog.Consistency) iter.Seq2[oncelog.Record, error] {
	return func(yield func(oncelog.Record, error) bool) {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		late := time.AfterFunc(a.timeout, func() { cancel(context.DeadlineExceeded) })
		defer late.Stop()
		for record, err := range a.server.cfg.Log.Events(ctx, q, c) {
			late.Stop()
			if err != nil && errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
				err = context.DeadlineExceeded
			}
			if !yield(record, asUnavailable(err)) {
				return
			}
		}
	}
}

// event answers one event.
func (s *Server) event(w http.ResponseWriter, r *http.Request) error {
	if _, err := accept(r.Header, mediaJSON); err != nil {
		return err
	}
	p, err := newParams(r, "consistency")
	if err != nil {
		return err
	}
	c, err := p.consistency()
	if err != nil {
		return err
	}
	id, err := eventID(r.URL.Path)
	if err != nil {
		return err
	}
	timeout, err := s.timeout(r.Header)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	for record, err := range s.cfg.Log.Events(ctx, oncelog.Query{After: id - 1, Before: id + 1, Limit: 1}, c) {
		if err != nil {
			return asUnavailable(err)
		}
		sc := s.getScratch()
		defer s.putScratch(sc)
		sc.out = wire.AppendRecord(sc.out[:0], &record)
		s.write(w, http.StatusOK, jsonType, sc.out)
		return nil
	}
	return oncelog.ErrNotFound
}

// eventID reads the id in a path. A number that no event can have is that of an
// event that does not exist.
func eventID(path string) (uint64, error) {
	text := strings.TrimPrefix(path, eventPrefix)
	id, err := strconv.ParseUint(text, 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange) || err == nil && (id == 0 || id == math.MaxUint64):
		return 0, oncelog.ErrNotFound
	case err != nil:
		return 0, badRequest("an event's id is a whole number, not %q", text)
	}
	return id, nil
}
