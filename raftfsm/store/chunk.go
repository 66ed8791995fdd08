package store

import (
	"iter"
	"slices"
	"time"

	"github.com/oncelog/oncelog"
)

// chunkBytes is how much is looked at under one hold of the database: blocks
// until they reach it, so at most one block more.
const chunkBytes = 64 << 10

// source finds the blocks that a query needs, in its order.
type source interface {
	// wants returns the event whose block comes next, 0 where an index has to be asked
	// or there is none.
	wants(h *hotBlocks) uint64
	// pass goes on behind the block that holds what is wanted.
	pass(b block)
	// next shows blocks to visit until that has enough, and remembers where to go on.
	// A block is valid while it is being visited.
	next(gen *generation, visit func(block) (enough bool)) error
}

// chunk is what one hold of the database has found of a query.
type chunk struct {
	walk *walk
	// limit is how many events are wanted.
	limit int
	found []foundRecord
	// seen is the size of the records that were looked at; 0 is the end.
	seen int
}

// read takes the next chunk of a query, at most limit events. Queries with a limit
// of their own are mostly small, and are many: they look at what is kept first.
func (s *Store) read(w *walk, limit int) (*chunk, error) {
	gen, err := s.borrow()
	if err != nil {
		return nil, err
	}
	defer s.life.RUnlock()
	c := &chunk{walk: w, limit: limit}
	if w.Limit == 0 {
		return c, w.source.next(gen, c.visit)
	}
	if c.visitHot(&gen.hot) {
		return c, nil
	}
	return c, w.source.next(gen, func(b block) bool {
		gen.hot.offer(b)
		return c.visit(b)
	})
}

// visitHot visits the blocks that are kept, up to the first that is not.
func (c *chunk) visitHot(h *hotBlocks) (enough bool) {
	for !enough {
		b, kept := h.holding(c.walk.source.wants(h))
		if !kept {
			return false
		}
		c.walk.source.pass(b)
		enough = c.visit(b)
	}
	return true
}

// visit copies what the query selects of a block.
func (c *chunk) visit(b block) (enough bool) {
	c.seen += len(b.records)
	var places []int
	for i := range c.walk.matches(b) {
		if places = append(places, i); len(c.found)+len(places) == c.limit {
			break
		}
	}
	most := 2*len(places) > b.len()
	if most {
		b.records = slices.Clone(b.records)
	}
	c.found = slices.Grow(c.found, len(places))
	for _, i := range places {
		f := b.at(i)
		if !most {
			f.raw = slices.Clone(f.raw)
		}
		c.found = append(c.found, f)
	}
	return len(c.found) == c.limit || c.seen >= chunkBytes
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

// foundRecord is a record with what its block knows of it.
type foundRecord struct {
	raw         rawRecord
	id          uint64
	processedAt int64
}

// at returns the i-th record. It aliases the block.
func (b block) at(i int) foundRecord {
	return foundRecord{raw: b.record(i), id: b.first + uint64(i), processedAt: b.processedAt}
}

// event decodes the record. Its names are one string of their own; its payload
// aliases the record.
func (f *foundRecord) event() oncelog.Record {
	topic, eventID, source := f.raw.ends()
	names := string(f.raw[:source])
	return oncelog.Record{
		ID: f.id,
		Event: oncelog.Event{
			Topic:     names[recordHeader:topic],
			EventID:   names[topic:eventID],
			Source:    names[eventID:source],
			Timestamp: time.Unix(0, f.raw.timestamp()).UTC(),
			Payload:   f.raw[source:],
		},
		ProcessedAt: time.Unix(0, f.processedAt).UTC(),
	}
}
