package httpapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/httpapi/wire"
)

// batchLines is the greatest number of lines that are joined in one batch.
const batchLines = 1000

// lingerTimeout is how long a stream that ends in an error waits for the peer to
// read that.
const lingerTimeout = time.Second

// lineStream takes events, one a line, and answers each line in order.
//
// Invariant: an answer "stored" or "duplicate" is written only for a line whose
// receipt is there, so what was not answered may be sent again, and has to be. A
// stream that ends early says so in its last line, or is cut.
type lineStream struct {
	server  *Server
	lines   lineReader
	out     *outflow
	decoder *wire.Decoder
	sc      *scratch
	timeout time.Duration

	// read counts the lines that were read, answered those that were answered
	// or empty.
	read, answered int
	// verdicts has an entry for each line of the batch, in order.
	verdicts []verdict
}

// verdict is what became of one line before it was published.
type verdict struct {
	line   int
	faults []oncelog.FieldError // nil: it is an event
}

// publishLines serves a stream of events.
func (s *Server) publishLines(w http.ResponseWriter, r *http.Request) error {
	if _, err := accept(r.Header, mediaLines); err != nil {
		return err
	}
	timeout, err := s.timeout(r.Header)
	if err != nil {
		return err
	}
	rc := http.NewResponseController(w)
	if err := rc.EnableFullDuplex(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return fmt.Errorf("full duplex: %w", err)
	}
	in, sc, c := s.getIntake(), s.getScratch(), claim{budget: s.memory}
	defer s.putIntake(in)
	defer s.putScratch(sc)
	if err := c.raise(streamBytes); err != nil {
		return err
	}
	defer c.release()
	src, release, err := decoded(r.Header, r.Body, s.memory)
	if err != nil {
		return err
	}
	defer release()
	f := newFeed(src, rc, s.cfg.StallTimeout, s.cfg.IdleTimeout)
	defer f.close()
	defer context.AfterFunc(s.stopping, func() { f.interrupt(0) })()

	st := &lineStream{
		server: s, lines: lineReader{feed: f, claim: claim{budget: s.memory}, text: in.body[:0]},
		decoder: &in.decoder, sc: sc, timeout: timeout,
		out: s.newOutflow(w, linesType, sc.out),
	}
	defer st.lines.claim.release()
	// A batch that is on its way is seen through, whatever the peer does.
	err = st.run(context.WithoutCancel(r.Context()))
	in.body, sc.out = st.lines.text, st.out.buf
	return st.end(r, err)
}

// run answers lines until there are no more.
func (st *lineStream) run(ctx context.Context) error {
	for {
		if err := st.lines.fill(); err != nil {
			return err
		}
		for st.gather() {
			if err := st.settle(ctx); err != nil {
				return err
			}
		}
	}
}

// gather decodes the lines that are there, up to a batch, and answers false when
// there are none.
func (st *lineStream) gather() bool {
	clear(st.sc.events)
	st.verdicts, st.sc.events = st.verdicts[:0], st.sc.events[:0]
	for len(st.verdicts) < batchLines {
		text, err := st.lines.next()
		if errors.Is(err, errNoLine) {
			break
		}
		st.read++
		if err == nil && len(bytes.TrimSpace(text)) == 0 {
			continue
		}
		v := verdict{line: st.read}
		var event oncelog.Event
		if err == nil {
			event, err = st.decoder.Event(text)
		}
		if err != nil {
			v.faults = wire.FieldFaults(err)
		} else {
			st.sc.events = append(st.sc.events, event)
		}
		st.verdicts = append(st.verdicts, v)
	}
	return len(st.verdicts) > 0
}

// settle publishes what gather has decoded and answers its lines.
func (st *lineStream) settle(ctx context.Context) error {
	receipts, err := st.publish(ctx)
	if err != nil {
		return err
	}
	for _, v := range st.verdicts {
		if v.faults != nil {
			st.out.buf = wire.AppendInvalidLine(st.out.buf, v.line, v.faults)
		} else {
			st.out.buf = wire.AppendReceipt(st.out.buf, &receipts[0])
			receipts = receipts[1:]
		}
		st.out.buf = append(st.out.buf, '\n')
		st.answered = v.line
		if !st.out.full() {
			panic(http.ErrAbortHandler)
		}
	}
	if !st.out.flush() {
		panic(http.ErrAbortHandler)
	}
	return nil
}

// publish holds a stream up where the log has no room: its peer then meets that as
// a connection that takes no more, and not as an error, unless there is none for
// as long as a request may take.
func (st *lineStream) publish(ctx context.Context) ([]oncelog.Receipt, error) {
	if len(st.sc.events) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, st.timeout)
	defer cancel()
	for {
		receipts, err := st.server.receipts(ctx, st.sc.events)
		if !errors.Is(err, oncelog.ErrQueueFull) || !pause(ctx, roomPause) {
			return receipts, err
		}
	}
}

// roomPause is how long a stream waits before it asks for room again. It asks more
// often than a client that was refused, since it costs no request.
const roomPause = 100 * time.Millisecond

// pause waits, and answers false when ctx ends before that.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// end answers why no more lines were answered: with a problem document where
// nothing was written yet, else with a last line.
func (st *lineStream) end(r *http.Request, err error) error {
	if errors.Is(err, io.EOF) {
		if !st.out.send() {
			panic(http.ErrAbortHandler)
		}
		return nil
	}
	err = st.server.streamError(err)
	if !st.out.begun {
		// Half of the stream may still be on its way.
		st.out.w.Header()["Connection"] = []string{"close"}
		return err
	}
	p := problemOf(err)
	st.server.logInternal(r, p.Code, err)
	st.out.buf = wire.AppendErrorLine(st.out.buf, st.answered+1, &p)
	st.out.buf = append(st.out.buf, '\n')
	if !st.out.flush() {
		panic(http.ErrAbortHandler)
	}
	st.lines.feed.linger(lingerTimeout)
	return nil
}

// streamError says why a stream ended in the words of the API.
func (s *Server) streamError(err error) error {
	var read *readError
	switch {
	case !errors.As(err, &read):
		return err
	case s.stopping.Err() != nil:
		return fmt.Errorf("the node is shutting down: %w", oncelog.ErrClosed)
	}
	return bodyError(read.cause)
}
