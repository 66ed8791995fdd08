package cluster

import (
	"fmt"
	"sync"
	"time"

	"github.com/oncelog/oncelog"
)

// history is what all clients of a cluster asked and were told, in the order in
// which the answers came.
type history struct {
	begin time.Time

	// mu guards ops.
	mu  sync.Mutex
	ops []operation
}

func newHistory() *history { return &history{begin: time.Now()} }

// operation is one question and its answer. A batch is one operation for each of
// its events, all of one time.
type operation struct {
	client int
	node   string
	// run is the number of the node's run that was asked; consistency is what the
	// client took the answer for.
	run         int
	consistency oncelog.Consistency
	// call and back are when it was asked and answered, since the history began.
	call, back time.Duration
	asked      asked
	key        oncelog.Key
	// payload tells the payloads of one key apart: the one sent, or the one read.
	payload  byte
	told     told
	id       uint64
	conflict bool
	// stats is the answer to askStats.
	stats *oncelog.Stats
}

// asked is what a client can ask.
type asked string

const (
	askPublish asked = "publish"
	askRead    asked = "read"
	askStats   asked = "stats"
)

// told is what a client can be told.
type told string

const (
	toldStored    told = "stored"
	toldDuplicate told = "duplicate"
	// toldUnknown is no answer, or one that says so: the event may be stored at any
	// later time, or never.
	toldUnknown told = "unknown"
	// toldNotApplied is an event that is certainly not stored and never will be.
	toldNotApplied told = "not applied"
	toldFound      told = "found"
	toldAbsent     told = "absent"
	toldCounted    told = "counted"
	// toldNoAnswer is a read that failed.
	toldNoAnswer told = "no answer"
)

// String says it in a line.
func (o operation) String() string {
	what := fmt.Sprintf("%s %s/%s payload %d", o.asked, o.key.Topic, o.key.EventID, o.payload)
	if o.stats != nil {
		what = fmt.Sprintf("%s stats: index %d, received %d, unique %d", o.consistency, o.stats.AppliedIndex, o.stats.Received, o.stats.Unique)
	}
	answer := string(o.told)
	if o.id != 0 {
		answer = fmt.Sprintf("%s %d", o.told, o.id)
	}
	if o.conflict {
		answer += ", conflict"
	}
	return fmt.Sprintf("%10.6f-%10.6f client %d at %s, run %d: %s: %s", o.call.Seconds(), o.back.Seconds(), o.client, o.node, o.run, what, answer)
}

// now is the time for call and back.
func (h *history) now() time.Duration { return time.Since(h.begin) }

func (h *history) add(ops ...operation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, ops...)
}

// all are the operations so far, which do not change any more.
func (h *history) all() []operation {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ops[:len(h.ops):len(h.ops)]
}

// count tells how many operations were told something.
func (h *history) count(what ...told) (count int) {
	for _, o := range h.all() {
		for _, w := range what {
			if o.told == w {
				count++
			}
		}
	}
	return count
}
