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

// Timing is a set of Raft time-outs.
type Timing struct {
	// Heartbeat is how long a follower waits for a sign of the leader, which gives
	// five or more in that time, 50 ms to 1 min. Election is how long a candidate
	// waits for votes, from Heartbeat on. Each is up to twice that by chance.
	Heartbeat, Election time.Duration
	// Lease is how long a leader leads without hearing from a quorum, from half of
	// Heartbeat to Heartbeat.
	Lease time.Duration
}

const (
	minHeartbeat = 50 * time.Millisecond
	maxElection  = time.Minute
)

// Timing returns the profile's time-outs. An error names the profiles.
func (p RaftProfile) Timing() (Timing, error) {
	switch p {
	case RaftFast:
		return Timing{Heartbeat: 200 * time.Millisecond, Election: 200 * time.Millisecond, Lease: 150 * time.Millisecond}, nil
	case RaftDefault:
		return Timing{Heartbeat: 500 * time.Millisecond, Election: 500 * time.Millisecond, Lease: 400 * time.Millisecond}, nil
	case RaftSlow:
		return Timing{Heartbeat: 2 * time.Second, Election: 2 * time.Second, Lease: 1500 * time.Millisecond}, nil
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
