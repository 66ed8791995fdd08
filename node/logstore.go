package node

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/raftfsm/store"
)

// stallLimit is how long one operation of the Raft log may take. Raft would let a
// leader with a hung disk lead on (hashicorp/raft#503).
const stallLimit = 10 * time.Second

// guardedLog is the Raft log, with the term and the vote, as a node needs it:
//   - each entry has a checksum, which is checked whenever it is read, so before it
//     is applied or sent on,
//   - an error, damage, or an operation that hangs ends the node.
//
// Raft itself would go on after each of these.
type guardedLog struct {
	store logStore
	path  string
	chunk uint64
	fail  func(error)
	// stall is stallLimit but in tests.
	stall time.Duration
	// written is told of each entry: its index and its size in bytes.
	written func(index uint64, size int)
	// applied is how far the store is; nil where there is none beside the log.
	applied func() store.Position
	// running says that Raft is at work. It panics on the errors of some
	// operations, so after them, when the node has been told to stop, it is held.
	running atomic.Bool
}

var (
	_ raft.LogStore          = (*guardedLog)(nil)
	_ raft.MonotonicLogStore = (*guardedLog)(nil)
	_ raft.StableStore       = (*guardedLog)(nil)
)

// openLog opens or makes the log of that kind in a data directory. An error names
// it.
func openLog(kind logKind, dir string, logger *slog.Logger, fail func(error), written func(uint64, int)) (*guardedLog, error) {
	l := &guardedLog{path: filepath.Join(dir, kind.file), chunk: kind.chunk, fail: fail, stall: stallLimit, written: written}
	err := l.protect("open", func() (err error) {
		l.store, err = kind.open(l.path, logger)
		return err
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

// logOwner is the key, beside the term and the vote, of the id of the node that
// made the log.
var logOwner = []byte("oncelog-node")

// errLogOwner is a log that is not the one this node has kept.
var errLogOwner = fmt.Errorf("%w: it is not the log that this node has kept", oncelog.ErrCorrupt)

// own makes sure that the log is this node's. A log without a mark is a new one,
// which only a node may have that belongs to no cluster yet: one that does has
// promised to remember what it acknowledged, and an emptied file would let it vote
// that away.
func (l *guardedLog) own(node, cluster uuid.UUID) error {
	owner, err := l.Get(logOwner)
	switch {
	case errors.Is(err, errNoKey) && cluster == uuid.Nil:
		return l.Set(logOwner, node[:])
	case err != nil && !absent(err):
		return err
	case !bytes.Equal(owner, node[:]):
		return fmt.Errorf("raft log %s: %w", l.path, errLogOwner)
	}
	return nil
}

// Close closes the log.
func (l *guardedLog) Close() error { return l.store.Close() }

// do runs one operation and ends the node if it fails or hangs.
func (l *guardedLog) do(what string, operation func() error) error {
	watch := startStallWatch(l.stall, func() {
		l.fail(fmt.Errorf("raft log %s: to %s has taken over %s: the disk hangs", l.path, what, l.stall))
	})
	defer watch.stop()
	err := l.protect(what, operation)
	if err != nil && !absent(err) {
		l.fail(err)
	}
	return err
}

// doOrHold is do for the operations after whose errors Raft panics: it would
// take the whole program with it, and the reason. The goroutine is Raft's, and
// the node is about to end.
func (l *guardedLog) doOrHold(what string, operation func() error) error {
	err := l.do(what, operation)
	if err != nil && !absent(err) && l.running.Load() {
		select {}
	}
	return err
}

// absent are the errors that Raft expects, and compares.
func absent(err error) bool {
	return errors.Is(err, raft.ErrLogNotFound) || errors.Is(err, errNoKey)
}

// protect turns into an error what a store does on a damaged file: it panics, or,
// as bolt does, reads beyond the end of its mapping. It lets Raft's own errors through as they
// are, since Raft compares them.
func (l *guardedLog) protect(what string, operation func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: raft log %s: %s: %v", oncelog.ErrCorrupt, l.path, what, p)
		}
	}()
	err = operation()
	if err == nil || absent(err) {
		return err
	}
	return fmt.Errorf("raft log %s: %s: %w", l.path, what, err)
}

// FirstIndex implements raft.LogStore.
func (l *guardedLog) FirstIndex() (index uint64, err error) {
	err = l.do("read", func() error { index, err = l.store.FirstIndex(); return err })
	return index, err
}

// LastIndex implements raft.LogStore.
func (l *guardedLog) LastIndex() (index uint64, err error) {
	err = l.do("read", func() error { index, err = l.store.LastIndex(); return err })
	return index, err
}

// GetLog implements raft.LogStore. It checks the entry.
func (l *guardedLog) GetLog(index uint64, log *raft.Log) error {
	return l.doOrHold("read", func() error {
		if err := l.store.GetLog(index, log); err != nil {
			return err
		}
		return unseal(index, log)
	})
}

// StoreLog implements raft.LogStore.
func (l *guardedLog) StoreLog(log *raft.Log) error { return l.StoreLogs([]*raft.Log{log}) }

// StoreLogs implements raft.LogStore. The entries are on disk when it returns.
func (l *guardedLog) StoreLogs(logs []*raft.Log) error {
	sealed := make([]*raft.Log, len(logs))
	for i, log := range logs {
		sealed[i] = sealEntry(log)
	}
	if err := l.do("write", func() error { return l.store.StoreLogs(sealed) }); err != nil {
		return err
	}
	for _, log := range logs {
		l.written(log.Index, len(log.Data))
	}
	return nil
}

// DeleteRange implements raft.LogStore. The log's head may go in pieces: a crash
// between two of them leaves a shorter head. Its tail goes at once: a hole in
// the log would be worse than a long transaction.
func (l *guardedLog) DeleteRange(from, to uint64) error {
	for {
		first, err := l.FirstIndex()
		if err != nil {
			return err
		}
		from = max(from, first)
		if from > to || first == 0 {
			return nil
		}
		upTo := to
		if from == first && l.chunk > 0 {
			upTo = min(to, from+l.chunk-1)
		}
		if err := l.do("truncate", func() error { return l.store.DeleteRange(from, upTo) }); err != nil || upTo == to {
			return err
		}
	}
}

// Set implements raft.StableStore.
func (l *guardedLog) Set(key, value []byte) error {
	return l.doOrHold("write the vote", func() error { return l.store.Set(key, value) })
}

// Get implements raft.StableStore.
func (l *guardedLog) Get(key []byte) (value []byte, err error) {
	err = l.doOrHold("read the vote", func() error { value, err = l.store.Get(key); return err })
	return value, err
}

// SetUint64 implements raft.StableStore.
func (l *guardedLog) SetUint64(key []byte, value uint64) error {
	return l.doOrHold("write the term", func() error { return l.store.SetUint64(key, value) })
}

// GetUint64 implements raft.StableStore.
func (l *guardedLog) GetUint64(key []byte) (value uint64, err error) {
	err = l.doOrHold("read the term", func() error { value, err = l.store.GetUint64(key); return err })
	return value, err
}
