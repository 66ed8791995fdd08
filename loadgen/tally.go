package loadgen

import (
	"sync"
	"time"

	"github.com/oncelog/oncelog"
)

// tally counts what happens in a run.
type tally struct {
	// mu guards all below. It is taken a few times a request.
	mu         sync.Mutex
	sent       int64
	unacked    int64
	stored     int64
	duplicates int64
	conflicts  int64
	requests   int64
	// resent and resentEvents are in addition to the publisher's own.
	resent       int64
	resentEvents int64
	errors       map[string]int64
	latency      latencies
}

func newTally() *tally {
	return &tally{errors: make(map[string]int64), latency: newLatencies()}
}

// begin counts a request of n events.
func (t *tally) begin(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sent += int64(n)
	t.requests++
}

// resend counts a request of n events sent again.
func (t *tally) resend(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.resent++
	t.resentEvents += int64(n)
}

// fail counts a failed attempt.
func (t *tally) fail(kind string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.errors[kind]++
}

// giveUp counts events that are not tried any more.
func (t *tally) giveUp(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.unacked += int64(n)
}

// acknowledge counts a request's receipts.
func (t *tally) acknowledge(receipts []oncelog.Receipt, took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range receipts {
		if r.Status == oncelog.Stored {
			t.stored++
			continue
		}
		t.duplicates++
		if r.Conflict {
			t.conflicts++
		}
	}
	t.latency.record(took)
}

// report returns what was counted.
func (t *tally) report(elapsed time.Duration) Report {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := Report{
		Sent: t.sent, Unacked: t.unacked,
		Stored: t.stored, Duplicates: t.duplicates, Conflicts: t.conflicts,
		Requests: t.requests, Resent: t.resent, ResentEvents: t.resentEvents,
		Errors:         make(map[string]int64, len(t.errors)),
		ElapsedSeconds: elapsed.Seconds(),
		Latency:        t.latency.summary(),
	}
	for kind, n := range t.errors {
		r.Errors[kind] = n
	}
	if elapsed > 0 {
		r.EventsPerSecond = float64(t.stored+t.duplicates) / elapsed.Seconds()
	}
	return r
}
