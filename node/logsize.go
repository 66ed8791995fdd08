package node

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// logSize keeps the Raft log's size on disk within bounds, in bytes. Raft counts
// entries only, and one may be 100 bytes or a megabyte.
type logSize struct {
	// snapshotBytes is how much may be appended before the store is flushed and
	// the log truncated; trailingBytes is about how much stays for followers that
	// are a little behind.
	snapshotBytes, trailingBytes int64
	due                          chan struct{}

	// mu guards what follows.
	mu sync.Mutex
	// total counts the bytes in the log at the start and those appended since,
	// snapshot those at the last snapshot.
	total, snapshot int64
	// marks tell, in steps, which index was last at which total.
	marks []logMark
}

type logMark struct {
	index uint64
	total int64
}

// snapshotRetry is the wait after a snapshot that failed.
const snapshotRetry = time.Second

// marksPerSnapshot says how fine the marks are.
const marksPerSnapshot = 32

func newLogSize(snapshotBytes, trailingBytes int64) *logSize {
	return &logSize{snapshotBytes: snapshotBytes, trailingBytes: trailingBytes, due: make(chan struct{}, 1)}
}

// written notes an append.
func (s *logSize) written(last uint64, size int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total += int64(size)
	if n := len(s.marks); n == 0 || s.total-s.marks[n-1].total >= s.snapshotBytes/marksPerSnapshot || last <= s.marks[n-1].index {
		s.marks = append(s.marks, logMark{last, s.total})
	}
	if s.total-s.snapshot >= s.snapshotBytes {
		s.ask()
	}
}

// logSamples bounds the entries that are read to tell the size of a log.
const logSamples = 64

// seed notes the entries that a log holds at the start, about: it reads some.
func (s *logSize) seed(log raft.LogStore) error {
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
		s.written(to, len(entry.Data)*int(to-at+1))
	}
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
	s.snapshot = s.total
	stay := limit
	for len(s.marks) > 0 && s.total-s.marks[0].total >= s.trailingBytes {
		stay = last - min(last, s.marks[0].index)
		s.marks = s.marks[1:]
	}
	return min(limit, stay)
}

// run has a snapshot taken whenever enough was appended, until ctx ends.
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
