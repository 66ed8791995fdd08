package store

import (
	"context"
	"time"
)

// background is work on a generation beside the Txn's owner. It keeps the
// generation that it began with.
type background struct {
	stop context.CancelFunc
	done chan struct{}
}

// begin runs work on a generation until it returns or is stopped.
func (s *Store) begin(gen *generation, work func(ctx context.Context)) background {
	ctx, stop := context.WithCancel(context.Background())
	b := background{stop: stop, done: make(chan struct{})}
	gen.refs.Add(1)
	go func() {
		defer close(b.done)
		work(ctx)
		if err := s.unref(gen); err != nil {
			s.log.Warn("close after a failure", "err", err)
		}
	}()
	return b
}

// hungAfter is how long a failed store waits for its disk to answer before it is
// left behind.
const hungAfter = time.Second

// end returns when the work has ended. Once the store has failed, the disk may be
// the reason: then it does not wait for long.
func (s *Store) end(b background) {
	b.stop()
	select {
	case <-b.done:
		return
	case <-s.failed:
	}
	select {
	case <-b.done:
	case <-time.After(hungAfter):
	}
}

// startBackground begins the work on the live generation, before the first commit
// to it.
func (s *Store) startBackground() {
	f, gen := newKeyFilter(s.opts.FilterBytes), s.gen
	s.filter = f
	s.filling = s.begin(gen, func(ctx context.Context) {
		if err := f.fill(ctx, gen.db); err != nil && ctx.Err() == nil {
			s.log.Warn("the filter of keys stays incomplete", "err", err)
		}
	})
	s.sinking = s.begin(gen, func(ctx context.Context) { s.sink(ctx, gen) })
}

func (s *Store) stopBackground() {
	s.end(s.filling)
	s.end(s.sinking)
}
