package node

import (
	"path/filepath"
	"testing"

	"github.com/hashicorp/go-msgpack/v2/codec"
	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
	"pgregory.net/rapid"
)

// Entries of all sizes around those of bolt's pieces, and what is left when the
// middle of them is deleted.
func TestLogKeepsLargeEntries(t *testing.T) {
	t.Parallel()
	forLogStores(t, func(t *testing.T, kind logKind) {
		dir := t.TempDir()
		l, _ := openTestLog(t, kind, dir)
		var logs []*raft.Log
		for pieces := range 4 {
			for around := -150; around <= 10; around += 4 {
				size := max(1, pieces*boltPiece+around)
				logs = append(logs, &raft.Log{Index: uint64(len(logs) + 1), Term: 2, Type: raft.LogCommand, Data: bytesOf(byte(size), size)})
			}
		}
		last := uint64(len(logs))
		require.NoError(t, l.StoreLogs(logs))
		for range 2 { // now, and after a restart
			requireBounds(t, l, 1, last)
			for _, want := range logs {
				var got raft.Log
				require.NoError(t, l.GetLog(want.Index, &got))
				require.Equal(t, want.Data, got.Data)
			}
			require.NoError(t, l.Close())
			l, _ = openTestLog(t, kind, dir)
		}
		require.NoError(t, l.DeleteRange(last-50, last))
		requireBounds(t, l, 1, last-51)
		small := &raft.Log{Index: last - 50, Term: 3, Type: raft.LogCommand, Data: []byte("small")}
		require.NoError(t, l.StoreLog(small))
		var got raft.Log
		require.NoError(t, l.GetLog(small.Index, &got))
		require.Equal(t, small.Data, got.Data, "no piece of the old entry is left")
		require.Equal(t, raft.ErrLogNotFound, l.GetLog(last-49, &got))
		require.NoError(t, l.Close())
	})
}

// Whole entries, as raft-boltdb wrote them, are read too.
func TestBoltReadsEntriesThatWereNotCut(t *testing.T) {
	t.Parallel()
	l, err := openBolt(filepath.Join(t.TempDir(), "raft.db"))
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	want := raft.Log{Index: 7, Term: 1, Type: raft.LogCommand, Data: bytesOf('x', 5*boltPiece)}
	var whole []byte
	require.NoError(t, codec.NewEncoderBytes(&whole, l.handle).Encode(&want))
	require.NoError(t, l.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(boltLogs).Put(boltKey(7), whole) }))
	var got raft.Log
	require.NoError(t, l.GetLog(7, &got))
	require.Equal(t, want.Data, got.Data)
}

// TestBoltModel: whatever is appended and truncated at either end, entries of one
// piece and of many, what should be left is left, to the byte.
func TestBoltModel(t *testing.T) {
	t.Parallel()
	dir := t.TempDir
	rapid.Check(t, func(t *rapid.T) {
		l, err := openBolt(filepath.Join(dir(), "raft.db"))
		require.NoError(t, err)
		defer func() { require.NoError(t, l.Close()) }()
		l.db.NoSync = true // no crash is simulated
		var model []*raft.Log
		for range rapid.IntRange(1, 8).Draw(t, "steps") {
			n := rapid.IntRange(0, 20).Draw(t, "n")
			if kept := len(model) - n; kept > 0 && rapid.Bool().Draw(t, "truncate") {
				if rapid.Bool().Draw(t, "front") {
					require.NoError(t, l.DeleteRange(0, model[n].Index-1))
					model = model[n:]
				} else {
					require.NoError(t, l.DeleteRange(model[kept-1].Index+1, model[len(model)-1].Index))
					model = model[:kept]
				}
				continue
			}
			next := uint64(1)
			if len(model) > 0 {
				next = model[len(model)-1].Index + 1
			}
			var logs []*raft.Log
			for i := range n {
				size := rapid.SampledFrom([]int{1, 100, boltPiece, 3 * boltPiece, 20 * boltPiece}).Draw(t, "size")
				logs = append(logs, &raft.Log{Index: next + uint64(i), Term: uint64(len(model) + 1), Data: bytesOf(byte(i), size)})
			}
			require.NoError(t, l.StoreLogs(logs))
			model = append(model, logs...)
		}
		requireKeeps(t, l, model)
	})
}

// requireKeeps checks that a log has some entries and nothing else.
func requireKeeps(t require.TestingT, l *boltLog, want []*raft.Log) {
	keys := 0
	require.NoError(t, l.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(boltLogs).ForEach(func(key, _ []byte) error {
			if len(key) == len(boltKey(0)) {
				keys++
			}
			return nil
		})
	}))
	require.Equal(t, len(want), keys)
	for _, w := range want {
		var got raft.Log
		require.NoError(t, l.GetLog(w.Index, &got))
		require.Equal(t, w.Term, got.Term)
		require.Equal(t, w.Data, got.Data)
	}
}
