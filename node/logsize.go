package node

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// logSize keeps the Raft log's size on disk within bounds, in bytes. Raft counts
// entries only, and one may be 100 bytes or a megabyte.
type logSize struct {
	// snapshotBytes is how much may be applied before the store is flushed and
	// the log truncated; trailingBytes is about how much stays for followers that
	// are a little behind.
	snapshotBytes, trailingBytes int64
	due                          chan struct{}

	// mu guards what follows.
	mu sync.Mutex
	// total counts the bytes in the log at the start and those appended since,
	// applied those of them that the store has, snapshot what that was when the
	// last snapshot began, and covered when the last began that was finished.
	// Invariant: covered <= snapshot <= applied <= total, but for covered at the start.
	total, applied, snapshot, covered int64
	// marks tell, in steps and in order, which index was last at which total.
	marks []logMark
	// moved is closed when covered grows, and then replaced.
	moved chan struct{}
}

type logMark struct {
	index uint64
	total int64
}

// snapshotRetry is the wait after a snapshot that failed.
const snapshotRetry = time.Second

// marksPerSnapshot says how fine the marks are.
const marksPerSnapshot = 32

// backlogSnapshots is how much a follower may have in its log that is committed and
// not yet in its store for good, in snapshotBytes. Two are usual: one that is being
// flushed, and one to be flushed next.
const backlogSnapshots = 4

func newLogSize(snapshotBytes, trailingBytes int64) *logSize {
	return &logSize{
		snapshotBytes: snapshotBytes, trailingBytes: trailingBytes,
		due: make(chan struct{}, 1), moved: make(chan struct{}),
	}
}

// append notes an entry. Those whose place it takes still count. One without data,
// which is Raft's own and never reaches the store, has no mark.
func (s *logSize) append(index uint64, size int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total += int64(size)
	for n := len(s.marks); n > 0 && s.marks[n-1].index >= index; n-- {
		s.marks = s.marks[:n-1]
	}
	if n := len(s.marks); size > 0 && (n == 0 || s.total-s.marks[n-1].total >= s.snapshotBytes/marksPerSnapshot) {
		s.marks = append(s.marks, logMark{index, s.total})
	}
}

// advance notes how far the store is. A snapshot is due by what it would let go of,
// which is not what was appended where the store is behind the log.
func (s *logSize) advance(applied uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.applied = max(s.applied, s.upTo(applied))
	if s.applied-s.snapshot >= s.snapshotBytes {
		s.ask()
	}
}

// upTo is the total of the last mark up to an index.
func (s *logSize) upTo(index uint64) int64 {
	for _, m := range slices.Backward(s.marks) {
		if m.index <= index {
			return m.total
		}
	}
	return 0
}

// full tells whether a follower that knows so much to be committed has a backlog that
// is too long. It ends by itself, since all that is committed is being applied, and
// what is applied makes a snapshot due: the channel is closed when one is finished.
func (s *logSize) full(committed uint64) (bool, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.upTo(committed)-s.covered > backlogSnapshots*s.snapshotBytes, s.moved
}

// logSamples bounds the entries that are read to tell the size of a log.
const logSamples = 64

// seed notes the entries that a log holds at the start, about: it reads some. The store
// has them on disk up to applied.
func (s *logSize) seed(log raft.LogStore, applied uint64) error {
	first, err := log.FirstIndex()
	if err != nil {
		return err
	}
	last, err := log.LastIndex()
	if err != nil || last == 0 {
		return err
	}
	step := (last-first)/logSamples + 1
	for at := first; at <= last; at += step {
		var entry raft.Log
		if err := log.GetLog(at, &entry); err != nil && !errors.Is(err, raft.ErrLogNotFound) {
			return err
		}
		to := min(at+step-1, last)
		s.append(to, len(entry.Data)*int(to-at+1))
	}
	s.advance(applied)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.covered = s.applied
	return nil
}

// ask has a snapshot taken soon.
func (s *logSize) ask() {
	select {
	case s.due <- struct{}{}:
	default:
	}
}

// cut is called when a snapshot begins. It returns how many entries are to stay
// behind the last one, and at most limit.
func (s *logSize) cut(last, limit uint64) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.snapshot = s.applied
	stay, needless := limit, 0
	for i, m := range s.marks {
		if s.total-m.total < s.trailingBytes {
			break
		}
		stay = last - min(last, m.index)
		if m.total <= s.applied {
			needless = i
		}
	}
	s.marks = s.marks[needless:]
	return min(limit, stay)
}

// finished is called when the snapshot has come to its end, and the log was truncated.
func (s *logSize) finished() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.covered = s.snapshot
	close(s.moved)
	s.moved = make(chan struct{})
}

// run has a snapshot taken whenever enough was applied, until ctx ends.
func (s *logSize) run(ctx context.Context, r *raft.Raft, trailing uint64, logger *slog.Logger) {
	for {
		select {
		case <-s.due:
		case <-ctx.Done():
			return
		}
		c := r.ReloadableConfig()
		c.TrailingLogs = s.cut(r.LastIndex(), trailing)
		err := r.ReloadConfig(c)
		if err == nil {
			err = r.Snapshot().Error()
		}
		if err == nil {
			s.finished()
		}
		if err == nil || errors.Is(err, raft.ErrNothingNewToSnapshot) || errors.Is(err, raft.ErrRaftShutdown) {
			continue
		}
		logger.Warn("the log could not be truncated; it will be tried again", "error", err)
		select {
		case <-time.After(snapshotRetry):
			s.ask()
		case <-ctx.Done():
			return
		}
	}
}
