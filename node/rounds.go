package node

import (
	"context"
	"sync"
)

// rounds answers many who ask the same question with one asking. Whoever comes
// while a round runs waits for the next one: an answer is never older than its
// question.
type rounds struct {
	// ask is called by one goroutine at a time.
	ask func() (uint64, error)
	// tasks has the goroutine that asks.
	tasks *sync.WaitGroup

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

// get waits for the answer of a round that began after the call.
func (r *rounds) get(ctx context.Context) (uint64, error) {
	mine := r.join()
	select {
	case <-mine.done:
		return mine.index, mine.err
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

// join returns the round that begins next, and sets it off if none is running.
func (r *rounds) join() *round {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.next == nil {
		r.next = &round{done: make(chan struct{})}
	}
	mine := r.next
	if !r.running {
		r.running = true
		r.tasks.Go(r.run)
	}
	return mine
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
