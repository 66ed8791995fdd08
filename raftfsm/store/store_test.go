package store

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/oncelog/oncelog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testDir = "data"

// openStore opens the store on fs and closes it when the test ends.
func openStore(t testing.TB, fs vfs.FS) *Store {
	t.Helper()
	s, err := Open(testDir, Options{FS: fs, CacheBytes: 1 << 20, MemTableBytes: 1 << 20, FilterBytes: 64 << 10})
	require.NoError(t, err)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			require.ErrorIs(t, err, oncelog.ErrClosed)
		}
	})
	return s
}

// event makes an event whose timestamp, source and payload follow from the rest.
func event(topic, id, payload string) *oncelog.Event {
	return &oncelog.Event{
		Topic: topic, EventID: id, Source: "test-" + topic,
		Timestamp: time.Unix(1_700_000_000, int64(len(id)+len(payload))).UTC(),
		Payload:   []byte(payload),
	}
}

func records(events ...*oncelog.Event) []byte {
	var b []byte
	for _, e := range events {
		b = AppendRecord(b, e)
	}
	return b
}

// entry is one batch of the log.
type entry struct {
	records     []byte
	processedAt int64
}

// applied is what a batch came to.
type applied struct {
	Range
	Outcomes []Outcome
}

// apply applies entries in one transaction, as log entries first and up.
func apply(t require.TestingT, s *Store, first uint64, entries ...entry) []applied {
	txn := s.Begin()
	staged := make([]Staged, len(entries))
	for i, e := range entries {
		var err error
		staged[i], err = txn.Stage(e.records)
		require.NoError(t, err)
	}
	require.NoError(t, txn.Resolve())
	results := make([]applied, len(entries))
	for i, e := range entries {
		var err error
		results[i].Range, results[i].Outcomes, err = txn.Apply(staged[i], e.processedAt)
		require.NoError(t, err)
	}
	require.NoError(t, txn.Commit(Position{Index: first + uint64(len(entries)) - 1, Term: 1}))
	return results
}

// publish applies one batch as the next log entry.
func publish(t require.TestingT, s *Store, events ...*oncelog.Event) applied {
	next := s.Applied().Index + 1
	return apply(t, s, next, entry{records(events...), int64(next)})[0]
}

// collect reads everything a query selects.
func collect(t require.TestingT, s *Store, q oncelog.Query) []oncelog.Record {
	all := []oncelog.Record{}
	for r, err := range s.Events(q) {
		require.NoError(t, err)
		all = append(all, r)
	}
	return all
}

func ids(records []oncelog.Record) []uint64 {
	ids := make([]uint64, len(records))
	for i, r := range records {
		ids[i] = r.ID
	}
	return ids
}

func TestFirstComesFirst(t *testing.T) {
	t.Parallel()
	s := openStore(t, vfs.NewMem())

	got := publish(t, s, event("a", "1", `{"n":1}`), event("b", "1", `{}`), event("a", "1", `{"n":1}`), event("a", "1", `{"n":2}`))
	require.Equal(t, Range{First: 1, Count: 2}, got.Range)
	require.Equal(t, []Outcome{{ID: 1}, {ID: 2}, {ID: 1, Duplicate: true}, {ID: 1, Duplicate: true, Conflict: true}}, got.Outcomes)

	got = publish(t, s, event("b", "1", `{}`), event("b", "2", `{}`))
	require.Equal(t, Range{First: 3, Count: 1}, got.Range)
	require.Equal(t, []Outcome{{ID: 2, Duplicate: true}, {ID: 3}}, got.Outcomes)

	state := s.State()
	require.Equal(t, Position{Index: 2, Term: 1}, state.Applied)
	require.Equal(t, Counters{Received: 6, Unique: 3, Duplicates: 3, Conflicts: 1}, state.Counters)
	require.Equal(t, []oncelog.TopicStats{{Topic: "a", Count: 1, LastID: 1}, {Topic: "b", Count: 2, LastID: 3}}, state.Topics)

	r, err := s.Get(3)
	require.NoError(t, err)
	require.Equal(t, oncelog.Record{ID: 3, Event: *event("b", "2", `{}`), ProcessedAt: time.Unix(0, 2).UTC()}, r)
	for _, id := range []uint64{0, 4} {
		_, err = s.Get(id)
		require.ErrorIs(t, err, oncelog.ErrNotFound)
	}
}

func TestBatchesOfOneTxnSeeEachOther(t *testing.T) {
	t.Parallel()
	s := openStore(t, vfs.NewMem())
	one := records(event("a", "1", `{}`), event("a", "2", `{}`))
	two := records(event("a", "2", `{"x":1}`), event("a", "3", `{}`))
	got := apply(t, s, 1, entry{one, 1}, entry{two, 2}, entry{one, 3})
	require.Equal(t, []applied{
		{Range{1, 2}, []Outcome{{ID: 1}, {ID: 2}}},
		{Range{3, 1}, []Outcome{{ID: 2, Duplicate: true, Conflict: true}, {ID: 3}}},
		{Range{4, 0}, []Outcome{{ID: 1, Duplicate: true}, {ID: 2, Duplicate: true}}},
	}, got)
}

func TestRecallAnswersAsTheFirstTime(t *testing.T) {
	t.Parallel()
	s := openStore(t, vfs.NewMem())
	publish(t, s, event("a", "old", `{}`))
	batch := records(event("a", "new", `{}`), event("a", "old", `{"x":1}`), event("a", "new", `{"x":2}`), event("a", "newer", `{}`))
	first := apply(t, s, 2, entry{batch, 2})[0]
	before := s.State()

	txn := s.Begin()
	staged, err := txn.Stage(batch)
	require.NoError(t, err)
	again, err := txn.Stage(batch)
	require.NoError(t, err)
	require.NoError(t, txn.Resolve())
	for _, b := range []Staged{staged, again} {
		got, err := txn.Recall(b, first.Range)
		require.NoError(t, err)
		require.Equal(t, first.Outcomes, got)
	}
	require.NoError(t, txn.Commit(Position{Index: 3, Term: 2}))

	after := s.State()
	require.Equal(t, Position{Index: 3, Term: 2}, after.Applied)
	after.Applied = before.Applied
	require.Equal(t, before, after)
}

func TestRecallOfTheSameTxn(t *testing.T) {
	t.Parallel()
	s := openStore(t, vfs.NewMem())
	batch := records(event("a", "1", `{}`), event("a", "1", `{}`))
	txn := s.Begin()
	one, err := txn.Stage(batch)
	require.NoError(t, err)
	two, err := txn.Stage(batch)
	require.NoError(t, err)
	require.NoError(t, txn.Resolve())
	r, first, err := txn.Apply(one, 1)
	require.NoError(t, err)
	second, err := txn.Recall(two, r)
	require.NoError(t, err)
	require.Equal(t, first, second)
}

func TestRecallOfWhatWasNeverStored(t *testing.T) {
	t.Parallel()
	s := openStore(t, vfs.NewMem())
	txn := s.Begin()
	b, err := txn.Stage(records(event("a", "1", `{}`)))
	require.NoError(t, err)
	require.NoError(t, txn.Resolve())
	_, err = txn.Recall(b, Range{First: 1, Count: 1})
	require.ErrorIs(t, err, oncelog.ErrCorrupt)
	require.ErrorIs(t, txn.Commit(Position{Index: 1}), oncelog.ErrCorrupt, "a transaction does not survive an error")
}

func TestTxnIsHeldToItsContract(t *testing.T) {
	t.Parallel()
	s := openStore(t, vfs.NewMem())
	publish(t, s, event("a", "1", `{}`))
	one := records(event("a", "2", `{}`))
	for name, misuse := range map[string]func(*Txn) error{
		"apply before resolve": func(txn *Txn) error {
			b, _ := txn.Stage(one)
			_, _, err := txn.Apply(b, 1)
			return err
		},
		"recall before resolve": func(txn *Txn) error {
			b, _ := txn.Stage(one)
			_, err := txn.Recall(b, Range{})
			return err
		},
		"stage after resolve": func(txn *Txn) error {
			_ = txn.Resolve()
			_, err := txn.Stage(one)
			return err
		},
		"commit before resolve": func(txn *Txn) error {
			_, _ = txn.Stage(one)
			return txn.Commit(Position{Index: 2})
		},
		"commit at the same position": func(txn *Txn) error { return txn.Commit(Position{Index: 1}) },
		"commit twice": func(txn *Txn) error {
			require.NoError(t, txn.Commit(Position{Index: 2}))
			return txn.Commit(Position{Index: 3})
		},
		"malformed records": func(txn *Txn) error {
			if _, err := txn.Stage(one[:len(one)-1]); err == nil {
				return nil
			}
			return fmt.Errorf("%w: %w", errTxn, txn.Resolve())
		},
	} {
		require.ErrorIs(t, misuse(s.Begin()), errTxn, name)
	}
	require.Equal(t, uint64(1), s.State().Unique)
}

func TestAbandonedTxnLeavesNoTrace(t *testing.T) {
	t.Parallel()
	s := openStore(t, vfs.NewMem())
	publish(t, s, event("a", "1", `{}`))
	before := s.State()

	txn := s.Begin()
	b, err := txn.Stage(records(event("b", "1", `{}`), event("a", "2", `{}`)))
	require.NoError(t, err)
	require.NoError(t, txn.Resolve())
	_, _, err = txn.Apply(b, 1)
	require.NoError(t, err)
	txn.SetMeta("x", []byte("y"))
	require.Equal(t, before, s.State())

	got := publish(t, s, event("c", "1", `{}`), event("a", "2", `{}`))
	require.Equal(t, []Outcome{{ID: 2}, {ID: 3}}, got.Outcomes)
	value, err := s.Meta("x")
	require.NoError(t, err)
	require.Nil(t, value)
	require.Equal(t, []uint64{1, 3}, ids(collect(t, s, oncelog.Query{Topics: []string{"a"}})))
}

func TestMeta(t *testing.T) {
	t.Parallel()
	s := openStore(t, vfs.NewMem())
	set := func(index uint64, name string, value []byte) {
		txn := s.Begin()
		txn.SetMeta(name, value)
		require.NoError(t, txn.Commit(Position{Index: index, Term: 9}))
	}
	get := func(name string) []byte {
		value, err := s.Meta(name)
		require.NoError(t, err)
		return value
	}
	require.Nil(t, get("a"))
	set(1, "a", []byte("1"))
	set(2, "b", []byte{})
	require.Equal(t, []byte("1"), get("a"))
	require.Equal(t, []byte{}, get("b"))

	p, value, err := s.DurableMeta("a")
	require.NoError(t, err)
	require.Equal(t, Position{}, p, "nothing was flushed")
	require.Nil(t, value)

	p, err = s.Flush()
	require.NoError(t, err)
	require.Equal(t, Position{Index: 2, Term: 9}, p)
	set(3, "a", nil)
	require.Nil(t, get("a"))
	p, value, err = s.DurableMeta("a")
	require.NoError(t, err)
	require.Equal(t, Position{Index: 2, Term: 9}, p)
	require.Equal(t, []byte("1"), value, "the value of the position that is on disk")
	p, err = s.Durable()
	require.NoError(t, err)
	require.Equal(t, Position{Index: 2, Term: 9}, p)
}

func TestReopenGoesOnWhereItEnded(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	s := openStore(t, fs)
	publish(t, s, event("a", "1", `{}`), event("b", "1", `{}`))
	publish(t, s, event("a", "1", `{}`))
	before := s.State()
	require.NoError(t, s.Close())

	s = openStore(t, fs)
	require.Equal(t, before, s.State(), "an orderly shutdown leaves nothing to replay")
	require.Equal(t, []Outcome{{ID: 1, Duplicate: true}, {ID: 3}}, publish(t, s, event("a", "1", `{}`), event("c", "1", `{}`)).Outcomes)
}

func TestClosedStore(t *testing.T) {
	t.Parallel()
	s := openStore(t, vfs.NewMem())
	publish(t, s, event("a", "1", `{}`))
	require.NoError(t, s.Close())

	require.ErrorIs(t, s.Close(), oncelog.ErrClosed)
	_, err := s.Get(1)
	require.ErrorIs(t, err, oncelog.ErrClosed)
	_, err = s.Meta("x")
	require.ErrorIs(t, err, oncelog.ErrClosed)
	_, err = s.Flush()
	require.ErrorIs(t, err, oncelog.ErrClosed)
	_, err = s.Checkpoint()
	require.ErrorIs(t, err, oncelog.ErrClosed)
	for _, err := range s.Events(oncelog.Query{}) {
		require.ErrorIs(t, err, oncelog.ErrClosed)
	}
	require.ErrorIs(t, s.Begin().Commit(Position{Index: 2}), oncelog.ErrClosed)
}

func TestOneStorePerDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := Open(dir, Options{})
	require.NoError(t, err)
	_, err = Open(dir, Options{})
	require.ErrorContains(t, err, dir)
	require.NoError(t, s.Close())
	s, err = Open(dir, Options{})
	require.NoError(t, err)
	require.NoError(t, s.Close())
}

func TestOptionsOutOfRange(t *testing.T) {
	t.Parallel()
	for _, o := range []Options{{CacheBytes: -1}, {MemTableBytes: 1 << 10}, {MemTableBytes: 2 << 30}} {
		_, err := Open(testDir, o)
		require.ErrorIs(t, err, errOption)
	}
}

func TestLargeTxnsAndRecords(t *testing.T) {
	t.Parallel()
	s := openStore(t, vfs.NewMem())
	// The records of the second batch are larger than a block, the batch larger
	// than a memtable.
	big := `{"x":"` + strings.Repeat("x", 200<<10) + `"}`
	var events []*oncelog.Event
	for i := range 20 {
		events = append(events, event("a", fmt.Sprint(i), big))
	}
	publish(t, s, event("a", "small", `{}`))
	publish(t, s, events...)
	require.Len(t, collect(t, s, oncelog.Query{}), 21)
	require.Len(t, collect(t, s, oncelog.Query{Order: oncelog.ByIDDescending, Topics: []string{"a"}}), 21)
	for _, o := range publish(t, s, events...).Outcomes {
		require.True(t, o.Duplicate)
	}
}
