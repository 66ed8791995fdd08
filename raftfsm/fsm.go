package raftfsm

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sync"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/raftfsm/store"
)

// BatchResult is the answer to one batch of a publish command.
type BatchResult struct {
	// Outcomes has one element per event, in order.
	Outcomes []store.Outcome
	// Err is ErrSessionExpired or ErrNotMember: nothing was applied.
	Err error
}

// FSM is the state machine. Raft calls ApplyBatch, Snapshot and Restore from one
// goroutine; all other methods may be called from any.
type FSM struct {
	store *store.Store
	// fail ends the node with a reason.
	fail func(error)

	applied appliedIndex

	// mu guards what follows, so that State sees it as of one applied index.
	mu sync.RWMutex
	machine
	// err is why the state machine ended; nothing is applied after it.
	err error
}

var _ raft.BatchingFSM = (*FSM)(nil)

// New continues with what the store holds. A reason for which the node must stop
// is handed to fail, which must not block and must not call back.
func New(s *store.Store, fail func(error)) (*FSM, error) {
	m, err := loadMachine(s)
	if err != nil {
		return nil, err
	}
	f := &FSM{store: s, fail: fail, machine: *m}
	f.applied.advance(s.Applied().Index)
	return f, nil
}

// ApplyBatch applies entries in order and answers each with []BatchResult, with
// nil, or with an error if the state machine has ended.
func (f *FSM) ApplyBatch(logs []*raft.Log) []any {
	f.mu.Lock()
	defer f.mu.Unlock()
	responses := make([]any, len(logs))
	if f.err == nil {
		if err := f.apply(logs, responses); err != nil {
			f.err = err
			f.fail(err)
		}
	}
	if f.err != nil {
		for i := range responses {
			responses[i] = f.err
		}
		return responses
	}
	f.applied.advance(f.store.Applied().Index)
	return responses
}

// Apply is ApplyBatch of one entry.
func (f *FSM) Apply(log *raft.Log) any { return f.ApplyBatch([]*raft.Log{log})[0] }

// step is one batch on its way through an ApplyBatch.
type step struct {
	verdict
	staged      store.Staged
	processedAt int64
	result      *BatchResult
}

// apply takes the entries in three passes: all are decoded and their keys
// announced, all keys are looked up at once, and then each batch is decided.
func (f *FSM) apply(logs []*raft.Log, responses []any) error {
	logs, responses = f.skipApplied(logs, responses)
	if len(logs) == 0 {
		return nil
	}
	txn := f.store.Begin()
	var steps []step
	for i, log := range logs {
		var err error
		if steps, responses[i], err = f.admit(txn, steps, log); err != nil {
			return fmt.Errorf("log entry %d: %w", log.Index, err)
		}
	}
	if err := txn.Resolve(); err != nil {
		return err
	}
	for i := range steps {
		if err := steps[i].run(txn); err != nil {
			return err
		}
	}
	f.save(txn)
	last := logs[len(logs)-1]
	return txn.Commit(store.Position{Index: last.Index, Term: last.Term})
}

// skipApplied drops the entries that the store holds already: a restart replays
// the log from the last snapshot.
func (f *FSM) skipApplied(logs []*raft.Log, responses []any) ([]*raft.Log, []any) {
	applied := f.store.Applied().Index
	for len(logs) > 0 && logs[0].Index <= applied {
		logs, responses = logs[1:], responses[1:]
	}
	return logs, responses
}

// admit decodes one entry, adds a step for each batch to be looked up, and
// returns the entry's response, which the steps will fill.
func (f *FSM) admit(txn *store.Txn, steps []step, log *raft.Log) ([]step, any, error) {
	if log.Type == raft.LogConfiguration {
		f.configure(log)
		return steps, nil, nil
	}
	c, err := Decode(log.Data)
	if err != nil {
		return steps, nil, err
	}
	if c.Kind == KindOpen {
		return steps, nil, f.open(c.Cluster)
	}
	f.clock = max(f.clock, c.ProcessedAt)
	results := make([]BatchResult, len(c.Batches))
	for i := range c.Batches {
		b := &c.Batches[i]
		v := f.judge(b)
		if v.refused != nil {
			results[i].Err = v.refused
			continue
		}
		staged, err := txn.Stage(b.Records)
		if err != nil {
			return steps, nil, err
		}
		steps = append(steps, step{verdict: v, staged: staged, processedAt: f.clock, result: &results[i]})
	}
	return steps, results, nil
}

// run decides on the events of one batch.
func (s *step) run(txn *store.Txn) (err error) {
	if s.again {
		s.result.Outcomes, err = txn.Recall(s.staged, *s.ids)
		return err
	}
	*s.ids, s.result.Outcomes, err = txn.Apply(s.staged, s.processedAt)
	return err
}

// Digest is the state machine's whole state in 32 bytes: equal on all nodes at
// an equal applied index.
type Digest [sha256.Size]byte

// String returns the form that the API uses.
func (d Digest) String() string { return "sha256:" + hex.EncodeToString(d[:]) }

// State returns the store's state and the digest of the whole, as of one moment.
func (f *FSM) State() (store.State, Digest) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	s := f.store.State()
	return s, digestOf(s, f.encode())
}

// Cluster returns the id of the cluster whose log this is, or uuid.Nil before
// its first leader's first command.
func (f *FSM) Cluster() uuid.UUID {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.cluster
}

// Configuration returns the Raft configuration as of the applied index.
func (f *FSM) Configuration() raft.Configuration {
	c, _ := f.ConfigurationEntry()
	return c
}

// ConfigurationEntry is Configuration with the index of its entry, 0 before the first.
func (f *FSM) ConfigurationEntry() (c raft.Configuration, index uint64) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	e := f.configuration.decode()
	return e.Configuration, e.Index
}

// Departed finds a server that left the configuration since this node started, of
// several the last. The last 64 are remembered.
func (f *FSM) Departed(is func(raft.Server) bool) (raft.Server, bool) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.departed.last(is)
}

// corrupt names the metadata that can not be read.
func corrupt(name string, err error) error {
	return fmt.Errorf("%w: metadata %q: %w", oncelog.ErrCorrupt, name, err)
}
