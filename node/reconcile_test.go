package node

import (
	"testing"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/raftfsm/store"
)

// Raft asks, when it has installed a snapshot, whether to drop the whole log. It
// has entries 1 to 20 (or as said), all of term 2.
func TestRaftDropsTheLogUnderASnapshot(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		from, to uint64
		applied  store.Position
		drops    bool
		want     string
	}{
		"beyond the log":              {1, 20, store.Position{Index: 300, Term: 3}, true, ""},
		"within the log":              {1, 20, store.Position{Index: 10, Term: 2}, false, ""},
		"at its end":                  {1, 20, store.Position{Index: 20, Term: 2}, false, ""},
		"before it":                   {11, 20, store.Position{Index: 10, Term: 2}, false, ""},
		"of another term, within it":  {1, 20, store.Position{Index: 10, Term: 3}, true, "from 10 to 20 were never committed"},
		"of another term, at its end": {1, 20, store.Position{Index: 20, Term: 3}, true, "start the node again"},
		"with a gap behind it":        {12, 20, store.Position{Index: 10, Term: 2}, false, "begins at entry 12"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			forLogStores(t, func(t *testing.T, kind logKind) {
				l, failed := openTestLog(t, kind, t.TempDir())
				defer func() { require.NoError(t, l.Close()) }()
				require.NoError(t, l.StoreLogs(entries(test.from, test.to)))
				l.applied = func() store.Position { return test.applied }
				cache, err := raft.NewLogCache(logCacheEntries, l)
				require.NoError(t, err)
				require.Equal(t, test.drops, cache.IsMonotonic())
				if test.want == "" {
					require.NoError(t, *failed)
				} else {
					require.ErrorContains(t, *failed, test.want)
				}
			})
		})
	}
}

// The log of entries 1 to 20 (or as said), all of term 2, against what the store
// holds after a crash.
func TestALogThatTheStoreHasOvertakenIsDropped(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		from, to uint64
		applied  store.Position
		kept     bool
		want     string
	}{
		"the store is behind":           {1, 20, store.Position{Index: 5, Term: 2}, true, ""},
		"the store is empty":            {1, 20, store.Position{}, true, ""},
		"both end alike":                {1, 20, store.Position{Index: 20, Term: 2}, true, ""},
		"truncated up to the store":     {11, 20, store.Position{Index: 10, Term: 2}, true, ""},
		"a snapshot beyond the log":     {1, 20, store.Position{Index: 300, Term: 3}, false, ""},
		"a snapshot over another term":  {1, 20, store.Position{Index: 10, Term: 3}, false, ""},
		"at the last entry, other term": {1, 20, store.Position{Index: 20, Term: 1}, false, ""},
		"something in between is lost":  {12, 20, store.Position{Index: 10, Term: 2}, true, "begins at entry 12, and the store ends at 10"},
		"the store is lost":             {12, 20, store.Position{}, true, "begins at entry 12, and the store ends at 0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			forLogStores(t, func(t *testing.T, kind logKind) {
				l, _ := openTestLog(t, kind, t.TempDir())
				defer func() { require.NoError(t, l.Close()) }()
				require.NoError(t, l.StoreLogs(entries(test.from, test.to)))
				err := l.reconcile(test.applied)
				if test.want != "" {
					require.ErrorIs(t, err, oncelog.ErrCorrupt)
					require.ErrorContains(t, err, test.want)
					require.ErrorContains(t, err, l.path)
				} else {
					require.NoError(t, err)
				}
				last, err := l.LastIndex()
				require.NoError(t, err)
				if test.kept {
					require.Equal(t, test.to, last)
					return
				}
				require.Zero(t, last)
				next := test.applied.Index + 1
				require.NoError(t, l.StoreLogs(entries(next, next+3)), "the log goes on behind the snapshot")
			})
		})
	}
}

// A log with a wide gap is truncated in as many steps as it has entries to lose.
func TestTruncatingOverAGapIsQuick(t *testing.T) {
	t.Parallel()
	l, failed := openTestLog(t, logKinds()[0], t.TempDir())
	defer func() { require.NoError(t, l.Close()) }()
	require.NoError(t, l.StoreLogs(entries(1, 100)))
	require.NoError(t, l.StoreLogs(entries(2_000_001, 2_000_100)))
	counted := &countingStore{logStore: l.store}
	l.store = counted
	require.NoError(t, l.DeleteRange(1, 2_000_050))
	require.LessOrEqual(t, counted.deletes, 4)
	first, err := l.FirstIndex()
	require.NoError(t, err)
	require.Equal(t, uint64(2_000_051), first)
	require.NoError(t, *failed)
}

type countingStore struct {
	logStore
	deletes int
}

func (s *countingStore) DeleteRange(from, to uint64) error {
	s.deletes++
	return s.logStore.DeleteRange(from, to)
}

func TestADamagedEntryIsAnErrorOfTheStart(t *testing.T) {
	t.Parallel()
	c := testNode(t, "format-1")
	c.DataDir = firstFormat(t)
	l, _ := openTestLog(t, logKinds()[0], c.DataDir)
	spoilt := &raft.Log{Index: 48, Term: 3, Type: raft.LogCommand, Data: []byte("x")}
	require.NoError(t, l.store.StoreLogs([]*raft.Log{spoilt})) // without a checksum
	require.NoError(t, l.Close())
	_, err := New(c)
	require.ErrorIs(t, err, oncelog.ErrCorrupt)
	require.ErrorContains(t, err, "entry 48")
	require.ErrorContains(t, err, "raft.db")
}
