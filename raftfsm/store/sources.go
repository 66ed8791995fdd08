package store

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/oncelog/oncelog"
)

// scan reads the blocks from at to hi, or down to lo. Blocks follow one another
// without a gap, and a gap is damage.
type scan struct {
	at, lo, hi uint64
	descending bool
}

func (c *scan) wants(*hotBlocks) uint64 {
	if c.at < c.lo || c.at > c.hi {
		return 0
	}
	return c.at
}

func (c *scan) pass(b block) {
	c.at = b.last() + 1
	if c.descending {
		c.at = b.first - 1
	}
}

func (c *scan) next(gen *generation, visit func(block) bool) error {
	if c.wants(nil) == 0 {
		return nil
	}
	_, err := iterate(gen.db, &pebble.IterOptions{LowerBound: []byte{kindBlock}, UpperBound: after(kindBlock)},
		func(it *pebble.Iterator) (none struct{}, err error) {
			for ok := it.SeekLT(blockKey(c.at + 1)); c.wants(nil) != 0; ok = c.step(it) {
				b, err := blockWith(it, ok, c.at)
				if err != nil {
					return none, err
				}
				c.pass(b)
				if visit(b) {
					break
				}
			}
			return none, nil
		})
	return err
}

func (c *scan) step(it *pebble.Iterator) bool {
	if c.descending {
		return it.Prev()
	}
	return it.Next()
}

// blockWith decodes the block that an iterator stands on, which must hold id. It
// is valid until the iterator moves.
func blockWith(it *pebble.Iterator, ok bool, id uint64) (block, error) {
	if err := it.Error(); err != nil {
		return block{}, err
	}
	if !ok {
		return block{}, missing(id)
	}
	b, err := currentBlock(it)
	if err == nil && (id < b.first || id > b.last()) {
		err = missing(id)
	}
	return b, err
}

func missing(id uint64) error {
	return fmt.Errorf("%w: event %d is in no block", oncelog.ErrCorrupt, id)
}

// topicScan reads the blocks that hold events of some topics, by merging the
// topics' indexes.
type topicScan struct {
	topics     []uint32
	start      uint64
	descending bool
	lo, hi     uint64
	// aligned says that start is where a block begins; it counts ascending.
	aligned bool
	// heads has the next block of each topic, 0 where there is none; nil before
	// the first chunk.
	heads []uint64
	// shown is the block that was visited last, which heads still has: most readers
	// want no more than it holds, and need not know what comes after.
	shown uint64
}

// wants returns where the topics begin, or the first event that may match: its
// block mostly has events of them, and the index is asked for what is behind it.
func (c *topicScan) wants(h *hotBlocks) uint64 {
	if c.heads != nil {
		return 0
	}
	start := c.start
	if c.fromBeginning() {
		start = h.begin(c.topics)
	}
	if start < c.lo || start > c.hi {
		return 0
	}
	c.start = start
	return start
}

func (c *topicScan) fromBeginning() bool { return c.start == 1 && !c.descending }

func (c *topicScan) pass(b block) {
	c.start, c.aligned = b.last()+1, true
	if c.descending {
		c.start = b.first - 1
	}
}

func (c *topicScan) next(gen *generation, visit func(block) bool) error {
	if c.start < c.lo || c.start > c.hi {
		return nil
	}
	_, err := iterate(gen.db, &pebble.IterOptions{LowerBound: []byte{kindTopic}, UpperBound: after(kindTopic)},
		func(it *pebble.Iterator) (none struct{}, err error) {
			if err = c.open(it, &gen.hot); err != nil {
				return none, err
			}
			for enough := false; !enough; {
				if err = c.advance(it, c.shown); err != nil {
					return none, err
				}
				c.shown = c.nearest()
				if c.shown == 0 {
					break
				}
				if enough, err = visitBlock(gen.db, c.shown, visit); err != nil {
					return none, err
				}
			}
			return none, nil
		})
	return err
}

// open finds each topic's first block. Ascending, that may be one which begins
// below the first id wanted.
func (c *topicScan) open(it *pebble.Iterator, h *hotBlocks) error {
	if c.heads != nil {
		return nil
	}
	heads := make([]uint64, len(c.topics))
	for i, topic := range c.topics {
		var first uint64
		var err error
		if c.descending || !c.aligned {
			first, err = c.seek(it, topic, c.start+1, true)
		}
		if err == nil && first == 0 && !c.descending {
			first, err = c.seek(it, topic, c.start, false)
		}
		if err != nil {
			return err
		}
		if heads[i] = first; first != 0 && c.fromBeginning() {
			h.begun(topic, first)
		}
	}
	c.heads = heads
	return nil
}

// nearest returns the block that comes next, 0 where none does.
func (c *topicScan) nearest() uint64 {
	var best uint64
	for _, first := range c.heads {
		if first != 0 && (best == 0 || (first < best) != c.descending) {
			best = first
		}
	}
	return best
}

// advance moves the topics that the block holds on to their next one. Descending,
// the block that begins at lo or below is the last. Before the first block, there
// is nothing to pass.
func (c *topicScan) advance(it *pebble.Iterator, first uint64) (err error) {
	if first == 0 {
		return nil
	}
	for i, head := range c.heads {
		switch {
		case head != first:
		case !c.descending:
			c.heads[i], err = c.seek(it, c.topics[i], first+1, false)
		case first <= c.lo:
			c.heads[i] = 0
		default:
			c.heads[i], err = c.seek(it, c.topics[i], first, true)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// seek returns a topic's last block below an id, or its first one from it up, or
// 0 where that one is beyond hi or there is none.
func (c *topicScan) seek(it *pebble.Iterator, topic uint32, id uint64, below bool) (uint64, error) {
	key := topicKey(topic, id)
	ok := false
	if below {
		ok = it.SeekLT(key)
	} else {
		ok = it.SeekGE(key)
	}
	if !ok {
		return 0, it.Error()
	}
	found, first, err := parseTopicKey(it.Key())
	if err != nil || found != topic || first > c.hi {
		return 0, err
	}
	return first, nil
}

// visitBlock shows one block by its key.
func visitBlock(db *pebble.DB, first uint64, visit func(block) bool) (enough bool, err error) {
	value, closer, err := db.Get(blockKey(first))
	if errors.Is(err, pebble.ErrNotFound) {
		return false, missing(first)
	}
	if err != nil {
		return false, readError(err)
	}
	b, err := decodeBlock(first, value)
	if err == nil {
		enough = visit(b)
	}
	return enough, errors.Join(err, closer.Close())
}

// findIDs asks the dedup index for an event id in each of some topics. Another
// event id with the same hash may be among what it finds.
func (s *Store) findIDs(topics []uint32, eventID string) ([]uint64, error) {
	gen, err := s.borrow()
	if err != nil {
		return nil, err
	}
	defer s.life.RUnlock()
	var ids []uint64
	key := make([]byte, dedupKeyLen)
	for _, topic := range topics {
		newDedupKey(topic, []byte(eventID)).put(key)
		value, closer, err := gen.db.Get(key)
		if errors.Is(err, pebble.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, readError(err)
		}
		v, err := parseStored(value)
		if err = errors.Join(err, closer.Close()); err != nil {
			return nil, err
		}
		ids = append(ids, v.id)
	}
	return ids, nil
}

// picks reads the blocks of given ids.
type picks struct {
	ids        []uint64
	descending bool
}

func newPicks(ids []uint64, lo, hi uint64, descending bool) *picks {
	ids = slices.DeleteFunc(ids, func(id uint64) bool { return id < lo || id > hi })
	slices.Sort(ids)
	if descending {
		slices.Reverse(ids)
	}
	return &picks{ids: ids, descending: descending}
}

func (c *picks) wants(*hotBlocks) uint64 {
	if len(c.ids) == 0 {
		return 0
	}
	return c.ids[0]
}

func (c *picks) pass(b block) {
	c.ids = slices.DeleteFunc(c.ids, func(id uint64) bool { return b.first <= id && id <= b.last() })
}

func (c *picks) next(gen *generation, visit func(block) bool) error {
	for enough := false; !enough && len(c.ids) > 0; {
		id := c.ids[0]
		one := scan{at: id, lo: id, hi: id}
		err := one.next(gen, func(b block) bool {
			c.pass(b)
			enough = visit(b)
			return enough
		})
		if err != nil {
			return err
		}
	}
	return nil
}
