package store

import (
	"fmt"
	"iter"
	"math"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/oncelog/oncelog"
)

// chunkBytes is how much is read at once, under one hold of the database: blocks
// until they reach it, so at most one block more.
const chunkBytes = 64 << 10

// Get returns the event with an id, or [oncelog.ErrNotFound].
func (s *Store) Get(id uint64) (oncelog.Record, error) {
	if id == 0 || id > s.lastID() {
		return oncelog.Record{}, fmt.Errorf("event %d: %w", id, oncelog.ErrNotFound)
	}
	blocks, err := s.read(&scan{at: id, lo: id, hi: id})
	if err != nil {
		return oncelog.Record{}, err
	}
	return blocks[0].event(int(id - blocks[0].first)), nil
}

// lastID is the id of the newest event that readers may see.
func (s *Store) lastID() uint64 {
	s.view.RLock()
	defer s.view.RUnlock()
	return s.ledger.Unique
}

// Events returns the stored events that q selects, in its order. The newest event
// is fixed when the iteration starts; memory is bounded by a few blocks however
// many events there are. The iteration ends after an error, which comes with a
// zero Record and may be [oncelog.ErrCorrupt] or [oncelog.ErrClosed]. It may go on
// across [Store.Swap]. A record's memory is its own.
func (s *Store) Events(q oncelog.Query) iter.Seq2[oncelog.Record, error] {
	return func(yield func(oncelog.Record, error) bool) {
		w, err := s.newWalk(q)
		left := q.Limit
		if q.Limit == 0 {
			left = math.MaxInt
		}
		for left > 0 && err == nil && w.source != nil {
			var blocks []block
			if blocks, err = s.read(w.source); err != nil || len(blocks) == 0 {
				break
			}
			for _, b := range blocks {
				for i := range w.matches(b) {
					if !yield(b.event(i), nil) {
						return
					}
					if left--; left == 0 {
						return
					}
				}
			}
		}
		if err != nil {
			yield(oncelog.Record{}, err)
		}
	}
}

// source finds the blocks that a query needs, in its order.
type source interface {
	// next appends blocks from db to chunk until they reach chunkBytes, and
	// remembers where to go on. No blocks are the end.
	next(db *pebble.DB, chunk []block) ([]block, error)
}

// read takes the next chunk from a source.
func (s *Store) read(from source) ([]block, error) {
	gen, err := s.borrow()
	if err != nil {
		return nil, err
	}
	defer s.life.RUnlock()
	return from.next(gen.db, nil)
}

// walk is a query on its way through the store.
type walk struct {
	oncelog.Query
	// lo and hi are the first and the last id that may match.
	lo, hi uint64
	// source is nil where nothing can match.
	source source
}

// newWalk fixes the upper bound and chooses the index that reads the least.
func (s *Store) newWalk(q oncelog.Query) (walk, error) {
	s.view.RLock()
	w := walk{Query: q, lo: 1, hi: s.ledger.Unique}
	topics := s.selectTopics(q)
	s.view.RUnlock()
	if q.Before > 0 {
		w.hi = min(w.hi, q.Before-1)
	}
	if q.After >= w.hi || len(q.Topics) > 0 && len(topics) == 0 {
		return w, nil
	}
	w.lo += q.After
	descending := q.Order == oncelog.ByIDDescending
	start := w.lo
	if descending {
		start = w.hi
	}
	switch {
	case q.EventID != "":
		ids, err := s.findIDs(topics, q.EventID)
		if err != nil {
			return w, err
		}
		w.source = newPicks(ids, w.lo, w.hi, descending)
	case len(q.Topics) > 0:
		w.source = &topicScan{topics: topics, start: start, descending: descending, lo: w.lo, hi: w.hi}
	default:
		w.source = &scan{at: start, lo: w.lo, hi: w.hi, descending: descending}
	}
	return w, nil
}

// selectTopics returns the ids of the topics that q asks for and the log knows,
// each once. An event id without a topic is looked for in all of them.
func (s *Store) selectTopics(q oncelog.Query) []uint32 {
	var ids []uint32
	switch {
	case len(q.Topics) > 0:
		for _, name := range q.Topics {
			if id, ok := s.topicIDs[name]; ok {
				ids = append(ids, id)
			}
		}
		slices.Sort(ids)
		ids = slices.Compact(ids)
	case q.EventID != "":
		for id := range s.topics {
			ids = append(ids, uint32(id))
		}
	}
	return ids
}

// matches yields the places of a block's events that the query selects, in its
// order.
func (w *walk) matches(b block) iter.Seq[int] {
	return func(yield func(int) bool) {
		from, to := 0, b.len()
		if b.first < w.lo {
			from = int(w.lo - b.first)
		}
		if b.last() > w.hi {
			to = int(w.hi - b.first + 1)
		}
		for n := range to - from {
			i := from + n
			if w.Order == oncelog.ByIDDescending {
				i = to - 1 - n
			}
			if w.match(b.record(i)) && !yield(i) {
				return
			}
		}
	}
}

func (w *walk) match(r rawRecord) bool {
	if w.EventID != "" && string(r.eventID()) != w.EventID {
		return false
	}
	if w.Source != "" && string(r.source()) != w.Source {
		return false
	}
	if len(w.Topics) > 0 && !slices.ContainsFunc(w.Topics, func(t string) bool { return string(r.topic()) == t }) {
		return false
	}
	if w.Since.IsZero() && w.Until.IsZero() {
		return true
	}
	at := time.Unix(0, r.timestamp())
	return !at.Before(w.Since) && (w.Until.IsZero() || at.Before(w.Until))
}
