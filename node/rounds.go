package node

import (
	"context"
	"fmt"
	"sync"

	"github.com/oncelog/oncelog"
)

// errStopping is the answer of a node that asks nobody any more.
var errStopping = fmt.Errorf("%w: the node is shutting down", oncelog.ErrUnavailable)

// rounds answers many who ask the same question with one asking. Whoever comes
// while a round runs waits for the next one: an answer is never older than its
// question.
type rounds struct {
	// ask is called by one goroutine at a time.
	ask func() (uint64, error)
	// tasks has the goroutine that asks.
	tasks *tasks

	// mu guards what follows.
	mu      sync.Mutex
	running bool
	next    *round
}

// round is one asking; its answer may be read once done is closed.
type round struct {
	done  chan struct{}
	index uint64
	err   error
}

// get waits for the answer of a round that began after the call. It is an
// oncelog.ErrUnavailable once tasks is closed.
func (r *rounds) get(ctx context.Context) (uint64, error) {
	mine, err := r.join()
	if err != nil {
		return 0, err
	}
	select {
	case <-mine.done:
		return mine.index, mine.err
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

// join returns the round that begins next, and sets it off if none is running.
func (r *rounds) join() (*round, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.running {
		if !r.tasks.start(r.run) {
			return nil, errStopping
		}
		r.running = true
	}
	if r.next == nil {
		r.next = &round{done: make(chan struct{})}
	}
	return r.next, nil
}

// run does round after round, until nobody waits. Each round ends by ask's own
// time-out, so run ends soon after the last get.
func (r *rounds) run() {
	for {
		r.mu.Lock()
		now := r.next
		r.next = nil
		r.running = now != nil
		r.mu.Unlock()
		if now == nil {
			return
		}
		now.index, now.err = r.ask()
		close(now.done)
	}
}
