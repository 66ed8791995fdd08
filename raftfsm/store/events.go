package store

import (
	"fmt"
	"iter"
	"math"
	"slices"
	"time"

	"github.com/oncelog/oncelog"
)

// Get returns the event with an id, or [oncelog.ErrNotFound].
func (s *Store) Get(id uint64) (oncelog.Record, error) {
	if id == 0 || id > s.lastID() {
		return oncelog.Record{}, fmt.Errorf("event %d: %w", id, oncelog.ErrNotFound)
	}
	chunk, err := s.read(&walk{Query: oncelog.Query{Limit: 1}, lo: id, hi: id, source: &scan{at: id, lo: id, hi: id}}, 1)
	if err != nil {
		return oncelog.Record{}, err
	}
	return chunk.found[0].event(), nil
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
			var c *chunk
			if c, err = s.read(&w, left); err != nil || c.seen == 0 {
				break
			}
			for i := range c.found {
				if !yield(c.found[i].event(), nil) {
					return
				}
			}
			left -= len(c.found)
		}
		if err != nil {
			yield(oncelog.Record{}, err)
		}
	}
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
	if len(q.Topics) > 0 {
		w.hi = s.lastOf(topics)
	}
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
		w.source = &topicScan{topics: topics, start: start, aligned: start == 1, descending: descending, lo: w.lo, hi: w.hi}
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

// lastOf returns the id of the newest event of topics, 0 where there is none.
func (s *Store) lastOf(topics []uint32) (last uint64) {
	for _, id := range topics {
		last = max(last, s.topics[id].last)
	}
	return last
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
