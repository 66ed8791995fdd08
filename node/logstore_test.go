package node

import (
	"bytes"
	"encoding/hex"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/oncelog/oncelog"
)

// forLogStores runs a test with each way to keep the Raft log.
func forLogStores(t *testing.T, test func(t *testing.T, kind logKind)) {
	t.Helper()
	for _, kind := range logKinds() {
		t.Run(string(kind.name), func(t *testing.T) {
			t.Parallel()
			test(t, kind)
		})
	}
}

// openTestLog opens the log in a directory; its failures land in the returned
// variable.
func openTestLog(t *testing.T, kind logKind, dir string) (*guardedLog, *error) {
	t.Helper()
	failed := new(error)
	l, err := openLog(kind, dir, slog.New(slog.DiscardHandler), func(err error) { *failed = err }, func(uint64, int) {})
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
	forLogStores(t, func(t *testing.T, kind logKind) {
		dir := t.TempDir()
		logs := entries(1, 3)
		logs[1].AppendedAt = time.Unix(1_700_000_000, 123_456_789).UTC()
		for range 2 { // as it was written, and as it is read after a restart
			l, failed := openTestLog(t, kind, dir)
			if last, err := l.LastIndex(); last == 0 {
				require.NoError(t, err)
				require.NoError(t, l.StoreLogs(logs))
				_, err := l.GetUint64([]byte("CurrentTerm"))
				require.EqualError(t, err, "not found", "Raft compares this text")
				require.NoError(t, l.SetUint64([]byte("CurrentTerm"), 1<<40))
			}
			require.Nil(t, logs[0].Extensions, "the entry is Raft's, and stays as it is")
			var got raft.Log
			require.NoError(t, l.GetLog(2, &got))
			require.Equal(t, *logs[1], got)
			require.Equal(t, raft.ErrLogNotFound, l.GetLog(9, &got), "Raft compares this error")
			term, err := l.GetUint64([]byte("CurrentTerm"))
			require.NoError(t, err)
			require.Equal(t, uint64(1<<40), term)
			require.NoError(t, *failed)
			require.NoError(t, l.Close())
		}
	})
}

// The bytes that raft-boltdb v2.2 wrote, and that directories hold.
func TestBoltEntryGolden(t *testing.T) {
	t.Parallel()
	l, err := openBolt(filepath.Join(t.TempDir(), "raft.db"))
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	entry := raft.Log{
		Index: 5, Term: 2, Data: []byte("hello"), Extensions: []byte{1, 2, 3, 4},
		AppendedAt: time.Unix(1_700_000_000, 123_456_789).UTC(),
	}
	require.NoError(t, l.StoreLog(&entry))
	const golden = "86aa417070656e6465644174af010000000edce5e800075bcd15ffffa444617461a568656c6c6f" +
		"aa457874656e73696f6e73a401020304a5496e64657805a45465726d02a45479706500"
	require.NoError(t, l.db.View(func(tx *bbolt.Tx) error {
		require.Equal(t, golden, hex.EncodeToString(tx.Bucket([]byte("logs")).Get([]byte{0, 0, 0, 0, 0, 0, 0, 5})))
		return nil
	}))
	var got raft.Log
	require.NoError(t, l.GetLog(5, &got))
	require.Equal(t, entry, got)
}

func TestLogTruncates(t *testing.T) {
	t.Parallel()
	forLogStores(t, func(t *testing.T, kind logKind) {
		const piece = 512
		dir := t.TempDir()
		l, failed := openTestLog(t, kind, dir)
		var got raft.Log
		require.NoError(t, l.StoreLogs(entries(1, 3*piece)))
		require.NoError(t, l.DeleteRange(1, 2*piece+5))
		require.NoError(t, l.DeleteRange(3*piece-1, 3*piece))
		for range 2 { // now, and after a restart
			requireBounds(t, l, 2*piece+6, 3*piece-2)
			require.Equal(t, raft.ErrLogNotFound, l.GetLog(2*piece+5, &got))
			require.NoError(t, l.GetLog(2*piece+6, &got))
			require.NoError(t, l.GetLog(3*piece-2, &got))
			require.Equal(t, raft.ErrLogNotFound, l.GetLog(3*piece-1, &got))
			require.NoError(t, l.Close())
			l, failed = openTestLog(t, kind, dir)
		}
		require.NoError(t, l.StoreLogs(entries(3*piece-1, 3*piece+10)))
		requireBounds(t, l, 2*piece+6, 3*piece+10)
		require.NoError(t, l.DeleteRange(0, 3*piece+10))
		requireBounds(t, l, 0, 0)
		require.NoError(t, l.StoreLogs(entries(9_000, 9_001)))
		requireBounds(t, l, 9_000, 9_001)
		require.NoError(t, *failed)
		require.NoError(t, l.Close())
	})
}

func requireBounds(t *testing.T, l *guardedLog, wantFirst, wantLast uint64) {
	t.Helper()
	first, err := l.FirstIndex()
	require.NoError(t, err)
	last, err := l.LastIndex()
	require.NoError(t, err)
	require.Equal(t, [2]uint64{wantFirst, wantLast}, [2]uint64{first, last})
}

// logFile is the file of a closed log that holds its last entries.
func logFile(t *testing.T, kind logKind, dir string) string {
	t.Helper()
	if kind.name == LogStoreBolt {
		return filepath.Join(dir, kind.file)
	}
	segments, err := filepath.Glob(filepath.Join(dir, kind.file, "*.wal"))
	require.NoError(t, err)
	require.NotEmpty(t, segments)
	return slices.Max(segments)
}

// readLog opens a log and reads the entries 1 to last.
func readLog(kind logKind, dir string, last uint64) (failed, err error) {
	l, err := openLog(kind, dir, slog.New(slog.DiscardHandler), func(err error) { failed = err }, func(uint64, int) {})
	if err != nil {
		return nil, err
	}
	var got raft.Log
	for i := uint64(1); i <= last && err == nil; i++ {
		err = l.GetLog(i, &got)
	}
	_ = l.protect("close", l.Close)
	return failed, err
}

func TestLogFindsAFlippedBit(t *testing.T) {
	t.Parallel()
	forLogStores(t, func(t *testing.T, kind logKind) {
		dir := t.TempDir()
		l, _ := openTestLog(t, kind, dir)
		for i := range uint64(5) {
			require.NoError(t, l.StoreLogs(entries(i+1, i+1)))
		}
		require.NoError(t, l.Close())
		path := logFile(t, kind, dir)
		file, err := os.ReadFile(path)
		require.NoError(t, err)
		at := bytes.Index(file, bytes.Repeat([]byte{4}, 100))
		require.Positive(t, at)
		for at > 0 { // in every copy that bolt's pages hold
			file[at+50] ^= 1
			at = bytes.Index(file, bytes.Repeat([]byte{4}, 100))
		}
		require.NoError(t, os.WriteFile(path, file, 0o600))
		failed, err := readLog(kind, dir, 5)
		require.ErrorIs(t, err, oncelog.ErrCorrupt)
		require.ErrorContains(t, err, filepath.Join(dir, kind.file))
		if kind.name == LogStoreBolt {
			require.ErrorContains(t, err, "entry 4")
			require.Equal(t, err, failed, "and the node is told to stop")
		}
	})
}

func TestLogRefusesAFileThatIsNone(t *testing.T) {
	t.Parallel()
	forLogStores(t, func(t *testing.T, kind logKind) {
		dir := t.TempDir()
		l, _ := openTestLog(t, kind, dir)
		require.NoError(t, l.StoreLogs(entries(1, 2000)))
		require.NoError(t, l.Close())
		path := logFile(t, kind, dir)
		whole, err := os.ReadFile(path)
		require.NoError(t, err)
		for name, content := range map[string][]byte{
			"cut":      whole[:bytes.Index(whole, bytes.Repeat([]byte{200}, 100))],
			"cut head": whole[:5000],
			"garbage":  bytes.Repeat([]byte("garbage "), 4096),
		} {
			require.NoError(t, os.WriteFile(path, content, 0o600))
			_, err := readLog(kind, dir, 2000)
			require.ErrorContains(t, err, filepath.Join(dir, kind.file), name)
		}
	})
}

// brokenStore fails or hangs in one operation.
type brokenStore struct {
	logStore
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
		s.append(i, 256<<10)
	}
	require.Empty(t, s.due, "there is nothing yet that could go")
	s.advance(100)
	require.Len(t, s.due, 1, "a snapshot is due")
	stay := s.cut(100, 1<<16)
	require.InDelta(t, 16, stay, 2, "4 MiB of entries of 256 KiB")
	<-s.due
	s.append(101, 10)
	s.advance(101)
	require.Empty(t, s.due)
	require.Equal(t, uint64(5), s.cut(101, 5), "never more than the limit")
}

// A node that is restarted often truncates its log all the same.
func TestLogSizeKnowsTheLogAtTheStart(t *testing.T) {
	t.Parallel()
	c := testNode(t, "alone")
	c.SnapshotBytes, c.TrailingBytes = 1<<20, 32<<10
	var last uint64
	for round := range 10 { // of about 200 KiB each
		n, err := New(c)
		require.NoError(t, err)
		awaitReady(t, n)
		for i := range 40 {
			_, err := n.publish(t.Context(), bulky(1000*round+10*i, 1000*round+10*i+10))
			require.NoError(t, err)
		}
		if round == 9 {
			last, err = n.group.log.LastIndex()
			require.NoError(t, err)
			require.Eventually(t, func() bool {
				first, err := n.group.log.FirstIndex()
				return err == nil && first > last/3
			}, 20*time.Second, 10*time.Millisecond, "it truncates what earlier runs have written")
		}
		require.NoError(t, n.Close())
	}
}
