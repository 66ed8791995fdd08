package node

import (
	"sync"
	"time"
)

// stallTicks is how many pieces the time is cut into that an operation may take.
const stallTicks = 10

// stallWatch tells of an operation that hangs. It counts time in which the process
// ran: one that was stopped, as a paused virtual machine is, finds all its time-outs
// over when it goes on, and the disk is none the worse.
type stallWatch struct {
	interval time.Duration
	hangs    func()

	// mu guards what follows.
	mu    sync.Mutex
	timer *time.Timer
	ticks int
	over  bool
}

// startStallWatch calls hangs once, limit from now, unless it is stopped before.
func startStallWatch(limit time.Duration, hangs func()) *stallWatch {
	w := &stallWatch{interval: limit / stallTicks, hangs: hangs}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer = time.AfterFunc(w.interval, w.tick)
	return w
}

// tick counts an interval, however late it comes.
func (w *stallWatch) tick() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return
	}
	if w.ticks++; w.ticks < stallTicks {
		w.timer.Reset(w.interval)
		return
	}
	w.over = true
	w.hangs()
}

func (w *stallWatch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	w.timer.Stop()
}
