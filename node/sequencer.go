package node

import (
	"fmt"
	"slices"
	"sync"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/raftfsm"
	"github.com/oncelog/oncelog/raftfsm/store"
)

// maxEntries is how many full entries a leader has under way at once.
const maxEntries = 4

// sequencer joins the commands that all nodes send to their leader into entries
// of the log. A commit costs each node the same few writes to disk however much
// is in it, so entries are best few and large.
type sequencer struct {
	// commit puts one entry into the log and returns the state machine's answer.
	commit func(entry []byte) (any, error)

	// mu guards what follows; changed is signalled when any of it changes.
	mu       sync.Mutex
	changed  sync.Cond
	queue    []*submission
	inFlight int
	closed   bool

	committers sync.WaitGroup
}

// submission is a command of one batch on its way into an entry.
type submission struct {
	command []byte
	result  raftfsm.BatchResult
	done    chan struct{}
}

func newSequencer(commit func([]byte) (any, error)) *sequencer {
	s := &sequencer{commit: commit}
	s.changed.L = &s.mu
	return s
}

// submit has a command of one batch applied, as leader. The command may become
// part of the log.
func (s *sequencer) submit(command []byte) ([]store.Outcome, error) {
	waiting := &submission{command: command, done: make(chan struct{})}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, fmt.Errorf("%w: the node is shutting down", oncelog.ErrNotApplied)
	}
	s.queue = append(s.queue, waiting)
	s.changed.Signal()
	s.mu.Unlock()
	<-waiting.done
	return waiting.result.Outcomes, waiting.result.Err
}

// run makes entries until close has been called and all is answered.
func (s *sequencer) run() {
	for {
		entry := s.fill()
		if entry == nil {
			break
		}
		s.committers.Go(func() { s.answer(entry) })
	}
	s.committers.Wait()
}

// close takes no more commands and makes run end.
func (s *sequencer) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.changed.Broadcast()
}

// fill waits until an entry may go and takes what goes into it. It returns nil
// after close.
func (s *sequencer) fill() []*submission {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		n, full := s.next()
		if n > 0 && s.mayGo(full) {
			entry := slices.Clone(s.queue[:n])
			s.queue = slices.Delete(s.queue, 0, n)
			s.inFlight++
			return entry
		}
		if s.closed && n == 0 {
			return nil
		}
		s.changed.Wait()
	}
}

// mayGo is Nagle's rule (RFC 896): what is full goes at once, what is not waits
// until nothing is in flight, and fills the while. There is no timer.
func (s *sequencer) mayGo(full bool) bool {
	return s.inFlight == 0 || full && s.inFlight < maxEntries
}

// next is how many commands go into the next entry, and whether more would not.
func (s *sequencer) next() (n int, full bool) {
	size := 0
	for _, w := range s.queue {
		size += len(w.command)
		if n > 0 && size > raftfsm.MaxCommandBytes {
			return n, true
		}
		n++
	}
	return n, size >= raftfsm.MaxCommandBytes
}

// answer commits an entry and tells each command how it went.
func (s *sequencer) answer(entry []*submission) {
	commands := make([][]byte, len(entry))
	for i, w := range entry {
		commands[i] = w.command
	}
	results, err := s.results(commands)
	s.mu.Lock()
	s.inFlight--
	s.changed.Signal()
	s.mu.Unlock()
	for i, w := range entry {
		if err != nil {
			w.result.Err = err
		} else {
			w.result = results[i]
		}
		close(w.done)
	}
}

func (s *sequencer) results(commands [][]byte) ([]raftfsm.BatchResult, error) {
	entry := commands[0]
	if len(commands) > 1 {
		entry = raftfsm.Join(commands...)
	}
	response, err := s.commit(entry)
	if err != nil {
		return nil, err
	}
	results, ok := response.([]raftfsm.BatchResult)
	if !ok || len(results) != len(commands) {
		return nil, fmt.Errorf("%w: the state machine answered %T to %d batches", oncelog.ErrOutcomeUnknown, response, len(commands))
	}
	return results, nil
}
