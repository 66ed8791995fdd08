package store

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"

	"github.com/cockroachdb/pebble/v2"

	"github.com/oncelog/oncelog"
)

// verify reads a whole database and proves it: the blocks make the digest chain
// that the ledger names, without a gap, and the indexes have as many entries as
// there are events. What Pebble reads it checks against its own checksums, so a
// table that has gone bad on the sender's disk goes no further.
func verify(db pebble.Reader) (contents, error) {
	c, err := loadContents(db)
	if err != nil {
		return contents{}, err
	}
	return iterate(db, &pebble.IterOptions{}, func(it *pebble.Iterator) (contents, error) {
		a := audit{hash: sha256.New(), counts: make([]uint64, len(c.topics)), topicIDs: c.topicIDs}
		for ok := it.First(); ok; ok = it.Next() {
			value, err := it.ValueAndErr()
			if err != nil {
				return contents{}, err
			}
			if err := a.see(it.Key(), value); err != nil {
				return contents{}, err
			}
		}
		return c, a.judge(&c)
	})
}

// audit is what a walk over all keys adds up.
type audit struct {
	hash     hash.Hash
	chain    chain
	topicIDs map[string]uint32

	last    uint64
	counts  []uint64
	keys    uint64
	indexed uint64
}

// see takes the next key and its value.
func (a *audit) see(key, value []byte) error {
	switch key[0] {
	case kindBlock:
		return a.seeBlock(key, value)
	case kindDedup:
		v, err := parseStored(value)
		if _, keyErr := parseDedupKey(key); err == nil && (keyErr != nil || v.id > a.last) {
			err = fmt.Errorf("%w: dedup entry %x of event %d", oncelog.ErrCorrupt, key, v.id)
		}
		a.keys++
		return err
	case kindTopic:
		if _, _, err := parseTopicKey(key); err != nil || len(value) != topicValueLen {
			return fmt.Errorf("%w: topic index entry %x", oncelog.ErrCorrupt, key)
		}
		a.indexed += uint64(binary.BigEndian.Uint32(value))
		return nil
	case kindMeta:
		return nil
	default:
		return fmt.Errorf("%w: key %x of no kind", oncelog.ErrCorrupt, key)
	}
}

func (a *audit) seeBlock(key, value []byte) error {
	first, err := parseBlockKey(key)
	if err != nil {
		return err
	}
	if first != a.last+1 {
		return missing(a.last + 1)
	}
	b, err := decodeBlock(first, value)
	if err != nil {
		return err
	}
	for i := range b.len() {
		id, ok := a.topicIDs[string(b.record(i).topic())]
		if !ok {
			return fmt.Errorf("%w: event %d is of no known topic", oncelog.ErrCorrupt, b.first+uint64(i))
		}
		a.counts[id]++
	}
	a.chain.extend(a.hash, key, value)
	a.last = b.last()
	return nil
}

// judge compares what was seen with what the ledger says.
func (a *audit) judge(c *contents) error {
	l := &c.ledger
	if a.last != l.Unique || a.keys != l.Unique || a.indexed != l.Unique {
		return fmt.Errorf("%w: %d events, %d dedup entries, %d in the topic index; the ledger has %d",
			oncelog.ErrCorrupt, a.last, a.keys, a.indexed, l.Unique)
	}
	for id, t := range c.topics {
		if a.counts[id] != t.count {
			return fmt.Errorf("%w: %d events of topic %q, not %d", oncelog.ErrCorrupt, a.counts[id], t.name, t.count)
		}
	}
	if a.chain != l.chain {
		return fmt.Errorf("%w: the blocks do not make the ledger's digest", oncelog.ErrCorrupt)
	}
	return nil
}
