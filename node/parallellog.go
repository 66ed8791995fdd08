package node

import (
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"
)

// parallelLog lets a leader write entries while they are on their way to the followers
// (Ongaro, "Consensus: Bridging Theory and Practice", section 10.2.1). StoreLogs of a
// leader returns at once, and Raft sends the entries from its cache.
//
// Raft then counts them as written, too early, but can not commit them by that alone: it
// needs the answer of another voter, which the gate holds back until they are written. So
// there is no parallel write where this node could commit alone, nor of a change of
// membership, by which that could come about. Whatever else asks for the log waits for the
// write, of which there is one at a time: nobody is told of an entry that is not on disk.
type parallelLog struct {
	raft.LogStore
	// othersCommit tells that this node leads and that nothing is committed without
	// another voter; until it is set, nothing is written in parallel.
	othersCommit atomic.Pointer[func() bool]

	// mu guards last, the newest parallel write.
	mu   sync.Mutex
	last *logWrite
}

var _ raft.MonotonicLogStore = (*parallelLog)(nil)

// logWrite is a write of the entries from first on. err may be read once done is closed.
type logWrite struct {
	first uint64
	done  chan struct{}
	err   error
}

func newParallelLog(l raft.LogStore) *parallelLog { return &parallelLog{LogStore: l} }

// await returns when all entries are on disk, or with the error of the write after which
// they are not. Nothing is stored after such an error: it would leave a gap.
func (p *parallelLog) await() error {
	p.mu.Lock()
	last := p.last
	p.mu.Unlock()
	if last == nil {
		return nil
	}
	<-last.done
	return last.err
}

// awaitEntry is await for the entries up to index.
func (p *parallelLog) awaitEntry(index uint64) error {
	p.mu.Lock()
	before := p.last == nil || index < p.last.first
	p.mu.Unlock()
	if before {
		return nil
	}
	return p.await()
}

// StoreLog implements raft.LogStore.
func (p *parallelLog) StoreLog(log *raft.Log) error { return p.StoreLogs([]*raft.Log{log}) }

// StoreLogs implements raft.LogStore.
func (p *parallelLog) StoreLogs(logs []*raft.Log) error {
	if err := p.await(); err != nil {
		return err
	}
	if !p.parallel(logs) {
		return p.LogStore.StoreLogs(logs)
	}
	w := &logWrite{first: logs[0].Index, done: make(chan struct{})}
	p.mu.Lock()
	p.last = w
	p.mu.Unlock()
	go func() {
		defer close(w.done)
		w.err = p.LogStore.StoreLogs(logs)
	}()
	return nil
}

func (p *parallelLog) parallel(logs []*raft.Log) bool {
	for _, log := range logs {
		if log.Type == raft.LogConfiguration {
			return false
		}
	}
	othersCommit := p.othersCommit.Load()
	return othersCommit != nil && len(logs) > 0 && (*othersCommit)()
}

// GetLog implements raft.LogStore.
func (p *parallelLog) GetLog(index uint64, log *raft.Log) error {
	if err := p.awaitEntry(index); err != nil {
		return err
	}
	return p.LogStore.GetLog(index, log)
}

// FirstIndex implements raft.LogStore.
func (p *parallelLog) FirstIndex() (uint64, error) {
	if err := p.await(); err != nil {
		return 0, err
	}
	return p.LogStore.FirstIndex()
}

// LastIndex implements raft.LogStore.
func (p *parallelLog) LastIndex() (uint64, error) {
	if err := p.await(); err != nil {
		return 0, err
	}
	return p.LogStore.LastIndex()
}

// DeleteRange implements raft.LogStore.
func (p *parallelLog) DeleteRange(from, to uint64) error {
	if err := p.await(); err != nil {
		return err
	}
	return p.LogStore.DeleteRange(from, to)
}

// IsMonotonic implements raft.MonotonicLogStore.
func (p *parallelLog) IsMonotonic() bool {
	monotonic, ok := p.LogStore.(raft.MonotonicLogStore)
	return ok && monotonic.IsMonotonic()
}
