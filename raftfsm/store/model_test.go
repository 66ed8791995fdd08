package store

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/oncelog/oncelog"
)

// model is what the store promises, as a plain map. It keeps the whole log, so
// that a crashed store can be brought back by replay.
type model struct {
	log     []entry
	results []applied
	ids     map[oncelog.Key]uint64
	events  []oncelog.Record
	Counters
}

func newModel() *model {
	return &model{ids: make(map[oncelog.Key]uint64), events: []oncelog.Record{}}
}

// append adds a batch to the log and says what must come of it.
func (m *model) append(events []*oncelog.Event) {
	e := entry{records(events...), int64(len(m.log) + 1)}
	result := applied{Range: Range{First: m.Unique + 1}, Outcomes: []Outcome{}}
	for _, event := range events {
		m.Received++
		if id, ok := m.ids[event.Key()]; ok {
			o := Outcome{ID: id, Duplicate: true, Conflict: string(m.events[id-1].Payload) != string(event.Payload)}
			m.Duplicates++
			if o.Conflict {
				m.Conflicts++
			}
			result.Outcomes = append(result.Outcomes, o)
			continue
		}
		m.Unique++
		result.Count++
		m.ids[event.Key()] = m.Unique
		m.events = append(m.events, oncelog.Record{ID: m.Unique, Event: *event, ProcessedAt: time.Unix(0, e.processedAt).UTC()})
		result.Outcomes = append(result.Outcomes, Outcome{ID: m.Unique})
	}
	m.log, m.results = append(m.log, e), append(m.results, result)
}

// replay brings a store level with the log, in transactions of random sizes, and
// checks every answer.
func (m *model) replay(t *rapid.T, s *Store) {
	for at := int(s.Applied().Index); at < len(m.log); {
		n := rapid.IntRange(1, len(m.log)-at).Draw(t, "entries of a transaction")
		require.Equal(t, m.results[at:at+n], apply(t, s, uint64(at+1), m.log[at:at+n]...))
		at += n
	}
}

// check compares all that can be read.
func (m *model) check(t *rapid.T, s *Store) {
	state := s.State()
	require.Equal(t, Position{Index: uint64(len(m.log)), Term: min(1, uint64(len(m.log)))}, state.Applied)
	require.Equal(t, m.Counters, state.Counters)
	require.Equal(t, m.events, collect(t, s, oncelog.Query{}))
	var counted uint64
	for _, topic := range state.Topics {
		of := slices.DeleteFunc(slices.Clone(m.events), func(r oncelog.Record) bool { return r.Topic != topic.Topic })
		require.Equal(t, oncelog.TopicStats{Topic: topic.Topic, Count: uint64(len(of)), LastID: of[len(of)-1].ID}, topic)
		counted += topic.Count
	}
	require.Equal(t, m.Unique, counted)
	_, err := verify(s.gen.db)
	require.NoError(t, err)
}

// drawEvents draws a batch out of few keys, so that duplicates and conflicts are
// common.
func drawEvents(t *rapid.T) []*oncelog.Event {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) *oncelog.Event {
		return event(
			rapid.SampledFrom([]string{"a", "b", "c", "topic"}).Draw(t, "topic"),
			fmt.Sprint(rapid.IntRange(0, 60).Draw(t, "id")),
			rapid.SampledFrom([]string{`{}`, `{"n":1}`, `{"n":2}`}).Draw(t, "payload"))
	}), 0, 12).Draw(t, "batch")
}

func openModelStore(t *rapid.T, fs vfs.FS) *Store {
	s, err := Open(testDir, Options{FS: fs, CacheBytes: 1 << 20, MemTableBytes: 1 << 20, FilterBytes: 64 << 10})
	require.NoError(t, err)
	return s
}

// TestModel drives a store through batches, flushes, restarts and power losses
// beside a map. A second store that takes every entry in a transaction of its own
// must have the same digest.
func TestModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := newModel()
		fs := vfs.NewCrashableMem()
		s := openModelStore(t, fs)
		defer func() { require.NoError(t, s.Close()) }()
		var durable Position
		t.Repeat(map[string]func(*rapid.T){
			"apply": func(t *rapid.T) {
				for range rapid.IntRange(1, 4).Draw(t, "batches") {
					m.append(drawEvents(t))
				}
				m.replay(t, s)
			},
			"flush": func(t *rapid.T) {
				var err error
				durable, err = s.Flush()
				require.NoError(t, err)
				require.Equal(t, s.Applied(), durable)
			},
			"restart": func(t *rapid.T) {
				require.NoError(t, s.Close())
				s = openModelStore(t, fs)
				require.Equal(t, uint64(len(m.log)), s.Applied().Index)
				durable = s.Applied()
			},
			"lose power": func(t *rapid.T) {
				after := fs.CrashClone(vfs.CrashCloneCfg{
					UnsyncedDataPercent: rapid.SampledFrom([]int{0, 50, 100}).Draw(t, "unsynced"),
					RNG:                 rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0)),
				})
				require.NoError(t, s.Close())
				fs, s = after, openModelStore(t, after)
				require.GreaterOrEqual(t, s.Applied().Index, durable.Index, "what was durable is there")
				m.replay(t, s)
			},
			"": func(t *rapid.T) { m.check(t, s) },
		})

		alone := openModelStore(t, vfs.NewMem())
		defer func() { require.NoError(t, alone.Close()) }()
		for i, e := range m.log {
			require.Equal(t, []applied{m.results[i]}, apply(t, alone, uint64(i+1), e))
		}
		require.Equal(t, s.State(), alone.State(), "the digest does not depend on how entries are grouped")
	})
}

// TestUnflushedKeysAreFoundThroughFlushes sends each event again at once, while
// memtables fill, flush and compact, and all of them in the end.
func TestUnflushedKeysAreFoundThroughFlushes(t *testing.T) {
	t.Parallel()
	s, err := Open(testDir, Options{FS: vfs.NewMem(), CacheBytes: 1 << 20, MemTableBytes: 1 << 20, FilterBytes: 64 << 10, RecentKeys: 1 << 10})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	const batches, size = 400, 100
	batch := func(b int) []*oncelog.Event {
		events := make([]*oncelog.Event, size)
		for i := range events {
			events[i] = event("a", fmt.Sprintf("%d-%d", b, i), fmt.Sprintf(`{"n":"%0200d"}`, b))
		}
		return events
	}
	again := func(b int) {
		for i, o := range publish(t, s, batch(b)...).Outcomes {
			require.Equal(t, Outcome{ID: uint64(b*size + i + 1), Duplicate: true}, o)
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for b := range batches {
		require.Equal(t, uint64(size), publish(t, s, batch(b)...).Count)
		again(b)
		again(random.IntN(b + 1))
	}
	require.Positive(t, s.gen.db.Metrics().Flush.Count, "the memtables were flushed meanwhile")
	// At most 1 MiB a memtable, at least 300 bytes an event, and 256 keys a generation.
	require.LessOrEqual(t, len(s.recent.generations), keptGenerations+1+memTables<<20/300/256+1)
	for b := range batches {
		again(b)
	}
	p, err := s.Flush()
	require.NoError(t, err)
	require.Equal(t, s.Applied(), p)
	again(0)
	require.Len(t, s.recent.generations, keptGenerations+1, "the other keys that are on disk were dropped")
}

func TestReadsAgainstTheModel(t *testing.T) {
	t.Parallel()
	m := newModel()
	s := openStore(t, vfs.NewMem())
	random := rand.New(rand.NewPCG(3, 4))
	for b := range 60 {
		var events []*oncelog.Event
		for range random.IntN(30) {
			e := event([]string{"a", "b", "rare"}[min(random.IntN(40)/19, 2)], fmt.Sprint(random.IntN(2000)), fmt.Sprintf(`{"n":"%0*d"}`, random.IntN(9000), b))
			if b >= 20 && random.IntN(10) == 0 {
				e.Topic = "late"
			}
			e.Timestamp = time.Unix(int64(random.IntN(100)), 0).UTC()
			e.Source = []string{"x", "y"}[random.IntN(2)]
			events = append(events, e)
		}
		m.append(events)
		require.Equal(t, m.results[b], publish(t, s, events...))
		if b == 30 {
			_, err := s.Flush()
			require.NoError(t, err)
		}
	}
	last := len(m.events)
	asked, answered := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		for range 20 {
			q := drawQuery(t, m.events)
			want := naive(m.events, q)
			require.Equal(t, want, collect(t, s, q), "%+v", q)
			if q.Limit > 0 {
				require.Equal(t, want, collect(t, s, q), "again: %+v", q)
			}
			if asked++; len(want) > 0 {
				answered++
			}
		}
	})
	require.Greater(t, answered, asked/3, "the queries select something")
	require.NotEmpty(t, s.gen.hot.blocks, "some were answered from memory")
	require.NotEmpty(t, s.gen.hot.begins)
	for _, q := range []oncelog.Query{{After: 1<<64 - 1}, {Before: 1}, {After: uint64(last)}, {Before: 1<<64 - 1, After: 1<<64 - 2}} {
		require.Empty(t, collect(t, s, q))
	}
}

// drawQuery draws a query with each of its filters in one case of five, so that
// most queries select something.
func drawQuery(t *rapid.T, events []oncelog.Record) oncelog.Query {
	filter := func(name string) bool { return rapid.IntRange(0, 4).Draw(t, "filter by "+name) == 4 }
	pick := func(name string) oncelog.Record { return rapid.SampledFrom(events).Draw(t, name) }
	q := oncelog.Query{Order: rapid.SampledFrom([]oncelog.Order{oncelog.ByID, oncelog.ByIDDescending}).Draw(t, "order")}
	if rapid.Bool().Draw(t, "filter by topics") {
		q.Topics = rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "rare", "late", "none"}), 1, 3).Draw(t, "topics")
	}
	if filter("event id") {
		q.EventID = rapid.SampledFrom([]string{pick("event").EventID, "none"}).Draw(t, "event id")
	}
	if filter("source") {
		q.Source = rapid.SampledFrom([]string{"x", "none"}).Draw(t, "source")
	}
	if filter("after") {
		q.After = pick("after").ID
	}
	if filter("before") {
		q.Before = pick("before").ID + uint64(rapid.IntRange(0, 2).Draw(t, "beyond"))
	}
	if filter("since") {
		q.Since = pick("since").Timestamp
	}
	if filter("until") {
		q.Until = pick("until").Timestamp
	}
	if rapid.Bool().Draw(t, "limited") {
		q.Limit = rapid.IntRange(1, 50).Draw(t, "limit")
	}
	return q
}

// TestTopicScanStopsAtItsBounds: a page of a topic does not cost the topic.
func TestTopicScanStopsAtItsBounds(t *testing.T) {
	t.Parallel()
	s := openStore(t, vfs.NewMem())
	for i := range 50 {
		publish(t, s, event("a", fmt.Sprint(i), `{}`))
	}
	for name, scan := range map[string]*topicScan{
		"ascending":  {topics: []uint32{0}, start: 20, lo: 20, hi: 24},
		"descending": {topics: []uint32{0}, start: 24, lo: 20, hi: 24, descending: true},
	} {
		blocks := 0
		require.NoError(t, scan.next(s.gen, func(block) bool { blocks++; return false }), name)
		require.Equal(t, 5, blocks, name)
	}
}

// naive answers a query by looking at every event.
func naive(events []oncelog.Record, q oncelog.Query) []oncelog.Record {
	selected := []oncelog.Record{}
	for _, r := range events {
		if (len(q.Topics) == 0 || slices.Contains(q.Topics, r.Topic)) &&
			(q.EventID == "" || r.EventID == q.EventID) &&
			(q.Source == "" || r.Source == q.Source) &&
			r.ID > q.After && (q.Before == 0 || r.ID < q.Before) &&
			(q.Since.IsZero() || !r.Timestamp.Before(q.Since)) &&
			(q.Until.IsZero() || r.Timestamp.Before(q.Until)) {
			selected = append(selected, r)
		}
	}
	if q.Order == oncelog.ByIDDescending {
		slices.Reverse(selected)
	}
	if q.Limit > 0 && len(selected) > q.Limit {
		selected = selected[:q.Limit]
	}
	return selected
}
