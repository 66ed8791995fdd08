package loadgen

import (
	"context"
	"sync"
	"time"
)

// pacer spreads events evenly in time. Its schedule does not wait for those who
// are late: a stall is followed by a rush until the schedule is met again.
type pacer struct {
	// interval is the time of one event; 0 means no limit.
	interval float64

	mu sync.Mutex // guards handed
	// handed counts the events handed out since start.
	handed int64
	start  time.Time
}

func newPacer(rate float64, start time.Time) *pacer {
	p := &pacer{start: start}
	if rate > 0 {
		p.interval = float64(time.Second) / rate
	}
	return p
}

// wait blocks until the next n events are due, and returns when they were. It
// fails when ctx ends first.
func (p *pacer) wait(ctx context.Context, n int) (due time.Time, err error) {
	if p.interval == 0 {
		return time.Now(), ctx.Err()
	}
	p.mu.Lock()
	due = p.start.Add(time.Duration(float64(p.handed) * p.interval))
	p.handed += int64(n)
	p.mu.Unlock()
	return due, pause(ctx, time.Until(due))
}

// pause sleeps for d, or fails when ctx ends first.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
