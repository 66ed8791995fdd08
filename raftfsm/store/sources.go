package store

import (
	"encoding/binary"
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

func (c *scan) next(db *pebble.DB, chunk []block) ([]block, error) {
	return iterate(db, &pebble.IterOptions{LowerBound: []byte{kindBlock}, UpperBound: after(kindBlock)},
		func(it *pebble.Iterator) ([]block, error) {
			ok := it.SeekLT(blockKey(c.at + 1))
			for size := 0; size < chunkBytes && c.lo <= c.at && c.at <= c.hi; ok = c.step(it) {
				b, err := copyBlock(it, ok, c.at)
				if err != nil {
					return nil, err
				}
				chunk = append(chunk, b)
				size += len(b.records)
				c.at = b.last() + 1
				if c.descending {
					c.at = b.first - 1
				}
			}
			return chunk, nil
		})
}

func (c *scan) step(it *pebble.Iterator) bool {
	if c.descending {
		return it.Prev()
	}
	return it.Next()
}

// copyBlock copies the block that an iterator stands on, which must hold id.
func copyBlock(it *pebble.Iterator, ok bool, id uint64) (block, error) {
	if err := it.Error(); err != nil {
		return block{}, err
	}
	if !ok {
		return block{}, missing(id)
	}
	first, err := parseBlockKey(it.Key())
	if err != nil {
		return block{}, err
	}
	value, err := it.ValueAndErr()
	if err != nil {
		return block{}, err
	}
	b, err := decodeBlock(first, slices.Clone(value))
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
	// heads has the next block of each topic, 0 where there is none; nil before
	// the first chunk.
	heads []uint64
}

func (c *topicScan) next(db *pebble.DB, chunk []block) ([]block, error) {
	return iterate(db, &pebble.IterOptions{LowerBound: []byte{kindTopic}, UpperBound: after(kindTopic)},
		func(it *pebble.Iterator) ([]block, error) {
			if err := c.open(it); err != nil {
				return nil, err
			}
			for size := 0; size < chunkBytes; {
				first := c.nearest()
				if first == 0 {
					break
				}
				b, err := readBlock(db, first)
				if err != nil {
					return nil, err
				}
				chunk = append(chunk, b)
				size += len(b.records)
				if err := c.pass(it, first); err != nil {
					return nil, err
				}
			}
			return chunk, nil
		})
}

// open finds each topic's first block. Ascending, that may be one which begins
// below the first id wanted.
func (c *topicScan) open(it *pebble.Iterator) error {
	if c.heads != nil {
		return nil
	}
	heads := make([]uint64, len(c.topics))
	for i, topic := range c.topics {
		first, err := c.seek(it, topic, c.start+1, true)
		if err == nil && first == 0 && !c.descending {
			first, err = c.seek(it, topic, c.start, false)
		}
		if err != nil {
			return err
		}
		heads[i] = first
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

// pass moves the topics that the block holds on to their next one. Descending,
// the block that begins at lo or below is the last.
func (c *topicScan) pass(it *pebble.Iterator, first uint64) (err error) {
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
	if !ok || len(it.Key()) != topicKeyLen || binary.BigEndian.Uint32(it.Key()[1:]) != topic {
		return 0, it.Error()
	}
	first := binary.BigEndian.Uint64(it.Key()[5:])
	if first > c.hi {
		return 0, nil
	}
	return first, nil
}

// readBlock reads one block by its key.
func readBlock(db *pebble.DB, first uint64) (block, error) {
	value, closer, err := db.Get(blockKey(first))
	if errors.Is(err, pebble.ErrNotFound) {
		return block{}, missing(first)
	}
	if err != nil {
		return block{}, readError(err)
	}
	value = slices.Clone(value)
	if err := closer.Close(); err != nil {
		return block{}, err
	}
	return decodeBlock(first, value)
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

func (c *picks) next(db *pebble.DB, chunk []block) ([]block, error) {
	if len(c.ids) == 0 {
		return chunk, nil
	}
	id := c.ids[0]
	chunk, err := (&scan{at: id, lo: id, hi: id}).next(db, chunk)
	if err != nil {
		return nil, err
	}
	b := chunk[len(chunk)-1]
	c.ids = slices.DeleteFunc(c.ids, func(id uint64) bool { return b.first <= id && id <= b.last() })
	return chunk, nil
}
