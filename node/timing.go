package node

import (
	"fmt"
	"time"
)

// RaftProfile names how long the nodes of a cluster wait for each other. All should
// have the same.
type RaftProfile string

// The profiles. A leader whose process has ended is followed at once under each; what
// they differ in is how soon a leader is given up that is paused or can not be
// reached, and how long its processor may be busy before it is.
const (
	// RaftFast is for machines with cores to spare, in one room.
	RaftFast RaftProfile = "fast"
	// RaftDefault is for machines in one region, also with busy cores.
	RaftDefault RaftProfile = "default"
	// RaftSlow is for machines far apart, or shared with others.
	RaftSlow RaftProfile = "slow"
)

// Timing is a set of time-outs.
type Timing struct {
	// Heartbeat is how long a leader may be silent before its followers ask each other
	// whether it is lost, 50 ms or more. It gives three signs in that time at least,
	// many more if its disk is not busy. Where the followers do not agree, each waits
	// for half as long again, and up to twice that by chance.
	Heartbeat time.Duration
	// Election is how long a candidate waits for votes, up to twice that by chance: from
	// Heartbeat to 1 min. Raft waits for one and a half times Heartbeat at least.
	Election time.Duration
	// Lease is how long a leader leads without hearing from a quorum, from half of
	// Heartbeat to Heartbeat.
	Lease time.Duration
}

// raft returns Raft's own time-outs of followers and candidates.
func (t Timing) raft() (heartbeat, election time.Duration) {
	heartbeat = t.Heartbeat * 3 / 2
	return heartbeat, max(heartbeat, t.Election)
}

const (
	minHeartbeat = 50 * time.Millisecond
	maxElection  = time.Minute
)

// Timing returns the profile's time-outs. An error names the profiles.
func (p RaftProfile) Timing() (Timing, error) {
	switch p {
	case RaftFast:
		return Timing{Heartbeat: 200 * time.Millisecond, Election: 300 * time.Millisecond, Lease: 150 * time.Millisecond}, nil
	case RaftDefault:
		return Timing{Heartbeat: 500 * time.Millisecond, Election: 750 * time.Millisecond, Lease: 400 * time.Millisecond}, nil
	case RaftSlow:
		return Timing{Heartbeat: 2 * time.Second, Election: 3 * time.Second, Lease: 1500 * time.Millisecond}, nil
	default:
		return Timing{}, fmt.Errorf("raft profile %q: must be %s, %s or %s", p, RaftFast, RaftDefault, RaftSlow)
	}
}

func (t Timing) check() error {
	switch {
	case t.Heartbeat < minHeartbeat:
		return fmt.Errorf("heartbeat time-out of %s: must be at least %s", t.Heartbeat, minHeartbeat)
	case t.Election < t.Heartbeat:
		return fmt.Errorf("election time-out of %s: must be at least the heartbeat time-out, %s", t.Election, t.Heartbeat)
	case t.Election > maxElection:
		return fmt.Errorf("election time-out of %s: must be at most %s", t.Election, maxElection)
	case t.Lease < t.Heartbeat/2:
		return fmt.Errorf("leader lease of %s: must be at least half of the heartbeat time-out, %s: the leader would give up between two heartbeats", t.Lease, t.Heartbeat)
	case t.Lease > t.Heartbeat:
		return fmt.Errorf("leader lease of %s: must be at most the heartbeat time-out, %s: there would be two leaders for a while", t.Lease, t.Heartbeat)
	}
	return nil
}
