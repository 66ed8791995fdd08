package node

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
)

// openTestLog opens a log file whose failures land in the returned variable.
func openTestLog(t *testing.T, path string) (*guardedLog, *error) {
	t.Helper()
	failed := new(error)
	l, err := openLog(path, func(err error) { *failed = err }, func(uint64, int) {})
	require.NoError(t, err)
	return l, failed
}

func entries(from, to uint64) (logs []*raft.Log) {
	for i := from; i <= to; i++ {
		logs = append(logs, &raft.Log{Index: i, Term: 2, Type: raft.LogCommand, Data: bytes.Repeat([]byte{byte(i)}, 100)})
	}
	return logs
}

func TestLogKeepsEntriesAsTheyWere(t *testing.T) {
	t.Parallel()
	l, failed := openTestLog(t, filepath.Join(t.TempDir(), "raft.db"))
	defer func() { require.NoError(t, l.Close()) }()
	logs := entries(1, 3)
	require.NoError(t, l.StoreLogs(logs))
	require.Nil(t, logs[0].Extensions, "the entry is Raft's, and stays as it is")
	var got raft.Log
	require.NoError(t, l.GetLog(2, &got))
	got.AppendedAt = time.Time{}
	require.Equal(t, *logs[1], got)
	require.Equal(t, raft.ErrLogNotFound, l.GetLog(9, &got), "Raft compares this error")
	_, err := l.GetUint64([]byte("CurrentTerm"))
	require.EqualError(t, err, "not found", "Raft compares this text")
	require.NoError(t, *failed)
}

func TestLogTruncatesItsHeadInPieces(t *testing.T) {
	t.Parallel()
	l, failed := openTestLog(t, filepath.Join(t.TempDir(), "raft.db"))
	defer func() { require.NoError(t, l.Close()) }()
	require.NoError(t, l.StoreLogs(entries(1, 3*deleteChunk)))
	require.NoError(t, l.DeleteRange(1, 2*deleteChunk+5))
	first, err := l.FirstIndex()
	require.NoError(t, err)
	require.Equal(t, uint64(2*deleteChunk+6), first)
	require.NoError(t, l.DeleteRange(3*deleteChunk-1, 3*deleteChunk))
	last, err := l.LastIndex()
	require.NoError(t, err)
	require.Equal(t, uint64(3*deleteChunk-2), last)
	require.NoError(t, *failed)
}

func TestLogFindsAFlippedBit(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "raft.db")
	l, _ := openTestLog(t, path)
	require.NoError(t, l.StoreLogs(entries(1, 5)))
	require.NoError(t, l.Close())
	file, err := os.ReadFile(path)
	require.NoError(t, err)
	at := bytes.Index(file, bytes.Repeat([]byte{4}, 100))
	require.Positive(t, at)
	for at > 0 { // in every copy that bolt's pages hold
		file[at+50] ^= 1
		at = bytes.Index(file, bytes.Repeat([]byte{4}, 100))
	}
	require.NoError(t, os.WriteFile(path, file, 0o600))

	l, failed := openTestLog(t, path)
	defer func() { require.NoError(t, l.Close()) }()
	var got raft.Log
	require.NoError(t, l.GetLog(3, &got))
	err = l.GetLog(4, &got)
	require.ErrorIs(t, err, oncelog.ErrCorrupt)
	require.ErrorContains(t, err, path)
	require.ErrorContains(t, err, "entry 4")
	require.Equal(t, err, *failed, "and the node is told to stop")
}

func TestLogRefusesAFileThatIsNone(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "raft.db")
	l, _ := openTestLog(t, path)
	require.NoError(t, l.StoreLogs(entries(1, 2000)))
	require.NoError(t, l.Close())
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	for name, content := range map[string][]byte{
		"cut":      whole[:bytes.Index(whole, bytes.Repeat([]byte{200}, 100))],
		"cut head": whole[:5000],
		"garbage":  bytes.Repeat([]byte("garbage "), 4096),
	} {
		broken := filepath.Join(t.TempDir(), "raft.db")
		require.NoError(t, os.WriteFile(broken, content, 0o600))
		l, err := openLog(broken, func(error) {}, func(uint64, int) {})
		if err == nil {
			var got raft.Log
			for i := uint64(1); i <= 2000 && err == nil; i++ {
				err = l.GetLog(i, &got)
			}
			_ = l.protect("close", l.Close)
		}
		require.ErrorContains(t, err, broken, name)
	}
}

// brokenStore fails or hangs in one operation.
type brokenStore struct {
	boltStore
	err  error
	hold chan struct{}
}

func (s *brokenStore) StoreLogs([]*raft.Log) error {
	if s.hold != nil {
		<-s.hold
	}
	return s.err
}

func (s *brokenStore) SetUint64([]byte, uint64) error { return s.err }

func TestLogThatFailsEndsTheNode(t *testing.T) {
	t.Parallel()
	for name, operate := range map[string]func(*guardedLog) error{
		"append": func(l *guardedLog) error { return l.StoreLogs(entries(1, 1)) },
		"vote":   func(l *guardedLog) error { return l.SetUint64([]byte("CurrentTerm"), 3) },
	} {
		var failed error
		broken := errors.New("input/output error")
		l := &guardedLog{store: &brokenStore{err: broken}, path: "raft.db", stall: time.Hour, fail: func(err error) { failed = err }}
		require.ErrorIs(t, operate(l), broken, name)
		require.ErrorIs(t, failed, broken, name)
	}
}

func TestLogThatHangsEndsTheNode(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		failed := make(chan error, 1)
		hold := make(chan struct{})
		l := &guardedLog{
			store: &brokenStore{hold: hold}, path: "raft.db", stall: stallLimit,
			fail: func(err error) { failed <- err }, written: func(uint64, int) {},
		}
		go func() { _ = l.StoreLogs(entries(1, 1)) }()
		before := time.Now()
		require.ErrorContains(t, <-failed, "the disk hangs")
		require.Equal(t, stallLimit, time.Since(before))
		close(hold)
	})
}

func TestLogSizeKeepsBytesNotEntries(t *testing.T) {
	t.Parallel()
	s := newLogSize(10<<20, 4<<20)
	require.Empty(t, s.due)
	for i := uint64(1); i <= 100; i++ {
		s.written(i, 256<<10)
	}
	require.Len(t, s.due, 1, "a snapshot is due")
	stay := s.cut(100, 1<<16)
	require.InDelta(t, 16, stay, 2, "4 MiB of entries of 256 KiB")
	<-s.due
	s.written(101, 10)
	require.Empty(t, s.due)
	require.Equal(t, uint64(5), s.cut(101, 5), "never more than the limit")
}
