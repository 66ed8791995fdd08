package node

import "sync"

// tasks is work that others set off, such as requests, and that a stop has to wait
// for. The zero tasks takes work in.
type tasks struct {
	// mu guards closed: no work begins while close begins to wait.
	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup
}

// begin tells whether work may begin, which it does not once close was called. Who
// may has to call done.
func (t *tasks) begin() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed {
		t.running.Add(1)
	}
	return !t.closed
}

func (t *tasks) done() { t.running.Done() }

// start has work done by a goroutine of its own, and tells whether it may begin.
func (t *tasks) start(work func()) bool {
	if !t.begin() {
		return false
	}
	go func() {
		defer t.done()
		work()
	}()
	return true
}

// close lets no more work begin and waits for what has begun.
func (t *tasks) close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.running.Wait()
}
