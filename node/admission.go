package node

import (
	"fmt"
	"math"
	"time"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/raftfsm"
)

const (
	// admitShare is the part of a request's time, one in so many, that it may spend
	// waiting for what came before it. The rest is for a pace that falls, and for a
	// leader that is lost.
	admitShare = 4
	// admitFloor is always taken: what is under way and as much again, so that the
	// way to the leader never runs dry, and small loads meet no estimate.
	admitFloor = 2 * maxInFlight * raftfsm.MaxCommandBytes
	// paceMemory is how far back the measured pace reaches.
	paceMemory = 4 * time.Second
	// longestSilence bounds what one wait for an answer says about the pace: a
	// leader that is lost is not a slow one.
	longestSilence = time.Second
	// firstPace is the pace, in bytes a second, that is taken for granted until
	// firstPaceTime of work have been seen.
	firstPace     = 8 << 20
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
// The pace is measured only while a full batch waits. Otherwise it is the clients
// who set it, which says nothing about what could be done (as in BBR, Cardwell et
// al. 2016, whose samples of idle senders do not count). The proposer's mu guards it.
type admission struct {
	// bytes were settled in seconds of work, both fading with paceMemory.
	bytes, seconds float64
	// last is when a batch was settled; full says that another waited then.
	last time.Time
	full bool
}

func newAdmission() admission {
	return admission{bytes: firstPace * firstPaceTime.Seconds(), seconds: firstPaceTime.Seconds()}
}

// settled takes note of a batch of so many bytes that was answered; full says that
// another waits.
func (a *admission) settled(now time.Time, size int64, full bool) {
	if a.full {
		took := min(now.Sub(a.last), longestSilence).Seconds()
		keep := math.Exp(-took / paceMemory.Seconds())
		a.bytes = a.bytes*keep + float64(size)
		a.seconds = a.seconds*keep + took
	}
	a.last, a.full = now, full
}

// wait is how long what is ahead will most likely take.
func (a *admission) wait(ahead int64) time.Duration {
	return time.Duration(float64(ahead) * a.seconds / a.bytes * float64(time.Second))
}

// admit refuses, with an [oncelog.QueueFullError], what comes behind so many bytes
// and has to be answered in the time left.
func (a *admission) admit(ahead int64, left time.Duration) error {
	if wait, most := a.wait(ahead), left/admitShare; ahead > admitFloor && wait > most {
		return a.refuse(ahead, most)
	}
	return nil
}

// refuse tells a client to come back when what is ahead will have come down to half
// of what may wait, or to half of itself if that is less: later would leave the
// way dry, sooner would find no room.
func (a *admission) refuse(ahead int64, most time.Duration) error {
	wait := a.wait(ahead)
	after := wait - max(min(wait, most), 0)/2
	return fmt.Errorf("%w: %d bytes wait already, about %s of work",
		&oncelog.QueueFullError{RetryAfter: min(max(after, leastRetryAfter), mostRetryAfter)}, ahead, wait.Round(time.Millisecond))
}
