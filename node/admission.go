package node

import (
	"fmt"
	"math"
	"time"

	"github.com/oncelog/oncelog"
)

const (
	// admitShare is the part of a request's time, one in so many, that it may spend
	// waiting for what came before it. The rest is for a pace that falls, and for a
	// leader that is lost.
	admitShare = 4
	// admitFloor is always taken: what may be under way, and as much again, so that the
	// way to the leader never runs dry, and small loads meet no estimate.
	admitFloor = 2 * maxBatchedBytes
	// busyBytes are enough to keep the leader busy: only while as much is left does an
	// answer tell of its pace.
	busyBytes = maxBatchedBytes
	// paceMemory is how far back the measured pace reaches.
	paceMemory = 4 * time.Second
	// longestSilence bounds what one wait for an answer says about the pace: a
	// leader that is lost is not a slow one.
	longestSilence = time.Second
	// firstPace is the pace, in bytes a second, that is taken for granted until
	// firstPaceTime of work have been seen: little enough for a first burst to be
	// answered in time by a disk of a quarter of it.
	firstPace     = 4 << 20
	firstPaceTime = 250 * time.Millisecond
	// leastRetryAfter and mostRetryAfter bound what a refused client is told.
	leastRetryAfter = time.Second
	mostRetryAfter  = 10 * time.Second
)

// admission refuses events that would wait too long behind others. Bytes alone are
// no bound: what drains in a second from one disk takes a minute on another, and
// requests that end while they wait are sent again, so that the more is held the
// less is done. By Little's law the wait is what is ahead divided by the pace at
// which it drains.
//
// The pace is measured only while there is enough to do. Otherwise it is the clients
// who set it, which says nothing about what could be done (as in BBR, Cardwell et
// al. 2016, whose samples of idle senders do not count). The proposer's mu guards it.
type admission struct {
	// bytes were settled in seconds of work, both fading with paceMemory.
	bytes, seconds float64
	// last is when a batch was settled; busy says that there was enough to do then.
	last time.Time
	busy bool
	// owed is the size of what was refused and told to come back, less what could
	// be stored since, at owedAt.
	owed   float64
	owedAt time.Time
}

func newAdmission() admission {
	return admission{bytes: firstPace * firstPaceTime.Seconds(), seconds: firstPaceTime.Seconds()}
}

// settled takes note of a batch of so many bytes that was answered, which leaves so
// many.
func (a *admission) settled(now time.Time, size, left int64) {
	if a.busy {
		took := min(now.Sub(a.last), longestSilence).Seconds()
		keep := math.Exp(-took / paceMemory.Seconds())
		a.bytes = a.bytes*keep + float64(size)
		a.seconds = a.seconds*keep + took
	}
	a.last, a.busy = now, left >= busyBytes
}

// wait is how long what is ahead will most likely take.
func (a *admission) wait(ahead int64) time.Duration {
	return time.Duration(float64(ahead) * a.seconds / a.bytes * float64(time.Second))
}

// admit refuses, with an [oncelog.QueueFullError], so many bytes that come behind
// others and have to be answered in the time left.
func (a *admission) admit(now time.Time, ahead, size int64, left time.Duration) error {
	if ahead > admitFloor && a.wait(ahead) > left/admitShare {
		return a.refuse(now, ahead, size, left)
	}
	return nil
}

// refuse tells a client when its turn would be, behind those that wait and those
// that were told so before it: told one time, they would all come at once, and most
// of them in vain. It may come while half of what may wait is there, so that the way
// does not run dry.
func (a *admission) refuse(now time.Time, ahead, size int64, left time.Duration) error {
	wait := a.wait(ahead)
	a.owed = max(a.owed-now.Sub(a.owedAt).Seconds()*a.bytes/a.seconds, 0)
	a.owedAt = now
	after := wait + a.wait(int64(a.owed)) - min(wait, max(left, 0)/admitShare)/2
	if after < mostRetryAfter {
		a.owed += float64(size)
	}
	return fmt.Errorf("%w: %d bytes wait already, about %s of work",
		&oncelog.QueueFullError{RetryAfter: min(max(after, leastRetryAfter), mostRetryAfter)}, ahead, wait.Round(time.Millisecond))
}
