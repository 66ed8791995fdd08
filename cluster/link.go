package cluster

import (
	"sync"
	"time"
)

// Way is a direction on a link.
type Way int

// The ways of a link.
const (
	// There is from the node that dialled to the one that was dialled.
	There Way = iota
	// Back is the other way.
	Back
)

// Link carries the connections that one node dials to the node port of another,
// and fails them as it is told to. Without a fault it passes everything on. Its
// methods may be called from any goroutine.
type Link struct {
	// mu guards what follows.
	mu      sync.Mutex
	faults  linkFaults
	traffic Traffic
	streams map[*stream]bool
}

// linkFaults are what a link does to what it carries.
type linkFaults struct {
	cut    bool
	silent [2]bool
	delay  time.Duration
	// rate is how many bytes pass in a second, each way of each connection; 0
	// means any.
	rate int
	// everyReply is which reply is lost, 0 where none is; replies counts them.
	everyReply, replies int
}

// Traffic counts what a link has done since it was made.
type Traffic struct {
	// Streams is the number of connections carried, Refused of those that a cut
	// link did not take.
	Streams, Refused int
	// Passed and Vanished are bytes, for each [Way].
	Passed, Vanished [2]int64
	// LostReplies is how many replies were reset on their way back.
	LostReplies int
}

func newLink() *Link { return &Link{streams: make(map[*stream]bool)} }

// Cut resets the connections there are and refuses new ones.
func (l *Link) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults.cut = true
	for s := range l.streams {
		s.reset()
	}
}

// Silence makes all bytes of one way vanish. Both nodes still see a connection.
func (l *Link) Silence(w Way) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults.silent[w] = true
}

// Delay lets bytes arrive so much later, each way.
func (l *Link) Delay(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults.delay = d
}

// Throttle lets so many bytes pass in a second, each way of each connection.
func (l *Link) Throttle(bytesPerSecond int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults.rate = bytesPerSecond
}

// LoseReplies lets requests through and loses every nth reply: in its place the
// connection is reset, with all that is under way on it. n is 1 or more.
//
// A reply is the beginning of an answer to a call, and on Raft's streams
// whatever comes back in one piece.
func (l *Link) LoseReplies(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults.everyReply, l.faults.replies = n, 0
}

// Heal ends all faults. Connections that have lost bytes are reset, as time-outs
// of TCP do in the end.
func (l *Link) Heal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults = linkFaults{}
	for s := range l.streams {
		if s.torn {
			s.reset()
		}
	}
}

// Traffic returns the counts so far.
func (l *Link) Traffic() Traffic {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.traffic
}

// refuses tells whether the link is cut, which refuses a connection.
func (l *Link) refuses() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.faults.cut {
		l.traffic.Refused++
	}
	return l.faults.cut
}

// admit takes a connection in, unless the link was cut meanwhile.
func (l *Link) admit(s *stream) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.faults.cut {
		l.traffic.Refused++
		return false
	}
	l.traffic.Streams++
	l.streams[s] = true
	return true
}

func (l *Link) dismiss(s *stream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.streams, s)
}

func (l *Link) delay() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.faults.delay
}

// passage is how long some bytes are on their way because the link is narrow.
func (l *Link) passage(size int) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.faults.rate == 0 {
		return 0
	}
	return time.Duration(size) * time.Second / time.Duration(l.faults.rate)
}

// verdict is what becomes of some bytes.
type verdict int

const (
	pass verdict = iota
	vanish
	reset
)

// judge decides on bytes that are about to arrive.
func (l *Link) judge(s *stream, w Way, data []byte) verdict {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w == Back && l.loses(s.replies.begin(data)) {
		return reset
	}
	if l.faults.silent[w] {
		s.torn = true
		l.traffic.Vanished[w] += int64(len(data))
		return vanish
	}
	l.traffic.Passed[w] += int64(len(data))
	return pass
}

// loses counts replies and tells whether one of them is to be lost. The caller
// holds mu.
func (l *Link) loses(replies int) bool {
	if replies == 0 || l.faults.everyReply == 0 {
		return false
	}
	l.faults.replies += replies
	if l.faults.replies < l.faults.everyReply {
		return false
	}
	l.faults.replies = 0
	l.traffic.LostReplies += replies
	return true
}
