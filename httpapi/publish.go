package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/httpapi/wire"
)

// publish takes one event.
func (s *Server) publish(w http.ResponseWriter, r *http.Request) error {
	if err := wantsJSON(r.Header); err != nil {
		return err
	}
	sc, c := s.getScratch(), claim{budget: s.memory}
	defer s.putScratch(sc)
	defer c.release()
	timeout, err := s.receive(w, r, &c, func(in *intake) error {
		event, err := in.decoder.Event(in.body)
		sc.events = append(sc.events[:0], event)
		return err
	})
	if err != nil {
		return err
	}
	if prefer(r.Header).async {
		return s.enqueue(w, r, timeout, sc.events, wire.AppendQueued(sc.out[:0], sc.events[0].EventID))
	}
	receipts, err := s.store(r, timeout, sc.events)
	if err != nil {
		return err
	}
	sc.out = wire.AppendReceipt(sc.out[:0], &receipts[0])
	s.write(w, http.StatusOK, jsonType, sc.out)
	return nil
}

// publishBatch takes an array of events, or a stream of lines.
func (s *Server) publishBatch(w http.ResponseWriter, r *http.Request) error {
	media, err := contentType(r.Header, mediaJSON, mediaLines)
	if err != nil {
		return err
	}
	if media == mediaLines {
		return s.publishLines(w, r)
	}
	if _, err := accept(r.Header, mediaJSON); err != nil {
		return err
	}
	sc, c := s.getScratch(), claim{budget: s.memory}
	defer s.putScratch(sc)
	defer c.release()
	timeout, err := s.receive(w, r, &c, func(in *intake) (err error) {
		sc.events, err = in.decoder.Batch(sc.events[:0], in.body)
		return err
	})
	if err != nil {
		return err
	}
	preferred := prefer(r.Header)
	if preferred.async {
		return s.enqueue(w, r, timeout, sc.events, wire.AppendQueuedBatch(sc.out[:0], len(sc.events)))
	}
	receipts, err := s.store(r, timeout, sc.events)
	if err != nil {
		return err
	}
	if preferred.minimal {
		w.Header()["Preference-Applied"] = []string{"return=minimal"}
		sc.out = wire.AppendBatchHead(sc.out[:0], receipts, false)
		s.write(w, http.StatusOK, jsonType, sc.out)
		return nil
	}
	s.writeReceipts(w, sc, receipts)
	return nil
}

// receive reads a publication, has it decoded, and returns the time that it has. The
// text is let go before the wait for the log, which may be long.
func (s *Server) receive(w http.ResponseWriter, r *http.Request, c *claim, decode func(*intake) error) (time.Duration, error) {
	timeout, err := s.timeout(r.Header)
	if err != nil {
		return 0, err
	}
	if n := r.ContentLength; n < 0 || n > freeBytes && n <= oncelog.MaxBodyBytes {
		if err := s.cfg.Log.Admit(max(n, 0), timeout); err != nil {
			return 0, err
		}
	}
	in := s.getIntake()
	defer s.putIntake(in)
	if err := s.readBody(w, r, in, c); err != nil {
		return 0, err
	}
	if err := decode(in); err != nil {
		return 0, err
	}
	c.lower(len(in.body))
	return timeout, nil
}

// wantsJSON checks that both the body and the answer are to be JSON.
func wantsJSON(h http.Header) error {
	if _, err := contentType(h, mediaJSON); err != nil {
		return err
	}
	_, err := accept(h, mediaJSON)
	return err
}

// store publishes and waits for the receipts, within the time-out.
func (s *Server) store(r *http.Request, timeout time.Duration, events []oncelog.Event) ([]oncelog.Receipt, error) {
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	return s.receipts(ctx, events)
}

// receipts publishes, and holds the Log to its contract: a receipt must not be
// taken for that of another event.
func (s *Server) receipts(ctx context.Context, events []oncelog.Event) ([]oncelog.Receipt, error) {
	receipts, err := s.cfg.Log.Publish(ctx, events)
	if err != nil {
		return nil, asUnknown(err)
	}
	if len(receipts) != len(events) {
		return nil, fmt.Errorf("%d receipts for %d events", len(receipts), len(events))
	}
	return receipts, nil
}

// enqueue answers as soon as the events are in memory.
func (s *Server) enqueue(w http.ResponseWriter, r *http.Request, timeout time.Duration, events []oncelog.Event, answer []byte) error {
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	if err := s.cfg.Log.Enqueue(ctx, events); err != nil {
		return asUnknown(err)
	}
	w.Header()["Preference-Applied"] = []string{"respond-async"}
	s.write(w, http.StatusAccepted, jsonType, answer)
	return nil
}

// writeReceipts answers a batch in full.
func (s *Server) writeReceipts(w http.ResponseWriter, sc *scratch, receipts []oncelog.Receipt) {
	out := s.newOutflow(w, jsonType, sc.out)
	out.buf = wire.AppendBatchHead(out.buf, receipts, true)
	for i := range receipts {
		if i > 0 {
			out.buf = append(out.buf, ',')
		}
		out.buf = wire.AppendReceipt(out.buf, &receipts[i])
		if !out.full() {
			panic(http.ErrAbortHandler)
		}
	}
	out.buf = wire.AppendBatchTail(out.buf)
	if !out.send() {
		panic(http.ErrAbortHandler)
	}
	sc.out = out.buf
}
