package cluster

import (
	"context"
	"sync"
	"time"

	"github.com/oncelog/oncelog/loadgen"
)

// meter watches the acknowledgements of a load: how many there are, and the
// longest time without one.
type meter struct {
	// mu guards what follows.
	mu    sync.Mutex
	acked int64
	// last is when the last one came, gap the longest wait since armed.
	last time.Time
	gap  time.Duration
	// waiting are those who wait for a number of acknowledgements.
	waiting []milestone
}

// milestone is reached, and closed, with a number of acknowledgements.
type milestone struct {
	acked   int64
	reached chan struct{}
}

// record is a load's History.
func (m *meter) record(op loadgen.Operation) {
	if op.Outcome != loadgen.Stored && op.Outcome != loadgen.Duplicate {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if !m.last.IsZero() {
		m.gap = max(m.gap, now.Sub(m.last))
	}
	m.last = now
	m.acked++
	left := m.waiting[:0]
	for _, w := range m.waiting {
		if m.acked >= w.acked {
			close(w.reached)
		} else {
			left = append(left, w)
		}
	}
	m.waiting = left
}

// arm forgets the gaps there were, and returns the acknowledgements so far.
func (m *meter) arm() (acked int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gap = 0
	return m.acked
}

// longestGap is the longest time without an acknowledgement that one ended since
// the meter was armed.
func (m *meter) longestGap() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.gap
}

// count returns the acknowledgements so far.
func (m *meter) count() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.acked
}

// reach waits until so many events are acknowledged, or ctx ends.
func (m *meter) reach(ctx context.Context, acked int64) error {
	m.mu.Lock()
	w := milestone{acked: acked, reached: make(chan struct{})}
	if m.acked >= acked {
		close(w.reached)
	} else {
		m.waiting = append(m.waiting, w)
	}
	m.mu.Unlock()
	select {
	case <-w.reached:
		return nil
	case <-ctx.Done():
		if m.count() >= acked {
			return nil
		}
		return context.Cause(ctx)
	}
}

// pace is how many events a second are acknowledged, from one number of them to
// another.
func (m *meter) pace(ctx context.Context, from, to int64) (float64, error) {
	if err := m.reach(ctx, from); err != nil {
		return 0, err
	}
	begin := time.Now()
	if err := m.reach(ctx, to); err != nil {
		return 0, err
	}
	return float64(to-from) / time.Since(begin).Seconds(), nil
}
