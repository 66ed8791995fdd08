package client

import (
	"slices"
	"sync"
	"time"
)

// leftAside is how long a node that did not answer is passed over before one
// request tries it again.
const leftAside = 500 * time.Millisecond

// target is one node, as the client finds it.
type target struct {
	base      string
	transport *transport

	// What follows is guarded by rotation.mu.

	// until is when a silent node is due to be tried again; zero for one that
	// answers.
	until time.Time
	// trying says that a request is finding out whether it answers again.
	trying bool
}

// rotation hands the nodes out in turn. It leaves aside those that do not
// answer, so that a node that is down costs one request in a while an attempt,
// and not every request.
//
// Invariant: there is always a node to try. When all are left aside, they come in
// turn as if none were.
type rotation struct {
	nodes []*target

	// mu guards turn and the state of each node.
	mu   sync.Mutex
	turn int
}

// next is the node for an attempt that begins now; trial says that it did not
// answer last time. The attempt's end is to be told with answered, silent or
// unclear.
func (r *rotation) next(now time.Time) (t *target, trial bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for range r.nodes {
		t := r.step()
		switch {
		case t.until.IsZero():
			return t, false
		case !t.trying && !now.Before(t.until):
			t.trying = true
			return t, true
		}
	}
	return r.step(), true
}

// all are the nodes, beginning with the one whose turn it is.
func (r *rotation) all() []*target {
	r.mu.Lock()
	defer r.mu.Unlock()
	nodes := slices.Concat(r.nodes[r.turn:], r.nodes[:r.turn])
	r.step()
	return nodes
}

// step is the next node in turn. The caller holds mu.
func (r *rotation) step() *target {
	t := r.nodes[r.turn]
	r.turn = (r.turn + 1) % len(r.nodes)
	return t
}

// answered takes a node back into the turn, whatever its answer was.
func (r *rotation) answered(t *target) { r.end(t, time.Time{}) }

// silent leaves a node aside that refused the connection or said nothing.
func (r *rotation) silent(t *target, now time.Time) { r.end(t, now.Add(leftAside)) }

func (r *rotation) end(t *target, until time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t.until, t.trying = until, false
}

// unclear ends an attempt that says nothing about its node.
func (r *rotation) unclear(t *target) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t.trying = false
}
