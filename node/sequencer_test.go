package node

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/raftfsm"
	"github.com/oncelog/oncelog/raftfsm/store"
)

// scriptedLog takes entries, one at a time where it is held, and answers each
// batch with an id made of its number.
type scriptedLog struct {
	held chan struct{}
	err  error

	mu      sync.Mutex
	entries []raftfsm.Command
}

func (l *scriptedLog) commit(entry []byte) (any, error) {
	raftfsm.Stamp(entry, 1)
	c, err := raftfsm.Decode(entry)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	l.entries = append(l.entries, c)
	l.mu.Unlock()
	if l.held != nil {
		<-l.held
	}
	var results []raftfsm.BatchResult
	for _, b := range c.Batches {
		results = append(results, raftfsm.BatchResult{Outcomes: []store.Outcome{{ID: b.Number}}})
	}
	return results, l.err
}

func (l *scriptedLog) sizes() (batches []int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.entries {
		batches = append(batches, len(c.Batches))
	}
	return batches
}

// sequencing runs a sequencer over a log for the length of a bubble.
func sequencing(t *testing.T, log *scriptedLog, test func(t *testing.T, s *sequencer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		if log.held != nil {
			log.held = make(chan struct{})
		}
		s := newSequencer(log.commit)
		done := make(chan struct{})
		go func() { defer close(done); s.run() }()
		test(t, s)
		s.close()
		<-done
		require.Zero(t, s.inFlight)
		_, err := s.submit(commandOf(1, events(1, "{}")))
		require.ErrorIs(t, err, oncelog.ErrNotApplied, "a closed one takes nothing")
	})
}

func commandOf(number uint64, es []oncelog.Event) []byte {
	var records []byte
	for i := range es {
		records = store.AppendRecord(records, &es[i])
	}
	return raftfsm.EncodePublish(raftfsm.Batch{
		Session: raftfsm.SessionID{Node: uuid.UUID{1}, Run: 1}, Number: number, Settled: 1, Events: len(es),
	}, records)
}

func TestSequencerJoinsWhatWaits(t *testing.T) {
	t.Parallel()
	log := &scriptedLog{held: make(chan struct{})}
	sequencing(t, log, func(t *testing.T, s *sequencer) {
		var submitting sync.WaitGroup
		for number := uint64(1); number <= 10; number++ {
			submitting.Go(func() {
				outcomes, err := s.submit(commandOf(number, events(1, "{}")))
				require.NoError(t, err)
				require.Equal(t, []store.Outcome{{ID: number}}, outcomes, "each gets its own answer")
			})
			synctest.Wait()
		}
		require.Equal(t, []int{1}, log.sizes(), "what is not full waits")
		close(log.held)
		submitting.Wait()
		require.Equal(t, []int{1, 9}, log.sizes())
	})
}

func TestSequencerSendsFullEntriesAtOnce(t *testing.T) {
	t.Parallel()
	log := &scriptedLog{held: make(chan struct{})}
	sequencing(t, log, func(t *testing.T, s *sequencer) {
		var submitting sync.WaitGroup
		for number := range uint64(maxEntries + 2) {
			submitting.Go(func() {
				_, err := s.submit(commandOf(number+1, []oncelog.Event{fullEvent()}))
				require.NoError(t, err)
			})
		}
		synctest.Wait()
		require.Len(t, log.sizes(), maxEntries)
		close(log.held)
		submitting.Wait()
		for _, batches := range log.sizes() {
			require.Equal(t, 1, batches, "an entry has its limit")
		}
	})
}

func TestSequencerTellsAllOfAnEntryItsError(t *testing.T) {
	t.Parallel()
	broken := errors.New("leadership lost")
	log := &scriptedLog{held: make(chan struct{}), err: broken}
	sequencing(t, log, func(t *testing.T, s *sequencer) {
		var submitting sync.WaitGroup
		for number := range uint64(3) {
			submitting.Go(func() {
				_, err := s.submit(commandOf(number+1, events(1, "{}")))
				require.ErrorIs(t, err, broken)
			})
			synctest.Wait()
		}
		close(log.held)
		submitting.Wait()
	})
}

func TestSequencerDoubtsAnAnswerToOtherBatches(t *testing.T) {
	t.Parallel()
	s := newSequencer(func([]byte) (any, error) { return []raftfsm.BatchResult{{}, {}}, nil })
	go s.run()
	_, err := s.submit(commandOf(1, events(1, "{}")))
	require.ErrorIs(t, err, oncelog.ErrOutcomeUnknown)
	s.close()
}
