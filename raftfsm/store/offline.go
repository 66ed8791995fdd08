package store

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/oncelog/oncelog"
)

// Verify proves the store in dir, which nobody has open, and changes nothing: all
// that a received snapshot is checked for, and every record against every index,
// one by one. It returns the state that the store holds. Its cost grows with the
// number of events: several look-ups each.
//
// meta is called with each of the state machine's own entries, for the caller to
// check.
func Verify(dir string, o Options, meta func(name string, value []byte) error) (State, error) {
	o, err := o.withDefaults()
	if err != nil {
		return State{}, err
	}
	s := &Store{dir: dir, fs: o.FS, opts: o, log: o.Logger, cache: newCache(o), failed: make(chan struct{})}
	state, err := s.verifyOffline(meta)
	if err = errors.Join(err, s.release()); err != nil {
		return State{}, fmt.Errorf("verify the store in %s: %w", dir, err)
	}
	return state, nil
}

func (s *Store) verifyOffline(meta func(string, []byte) error) (State, error) {
	lock, err := s.fs.Lock(s.fs.PathJoin(s.dir, lockName))
	if err != nil {
		return State{}, fmt.Errorf("lock: %w", err)
	}
	s.lock = lock
	p, found, err := readPointer(s.fs, s.dir)
	if err == nil && !found {
		err = fmt.Errorf("%w: %s is missing", oncelog.ErrCorrupt, pointerName)
	}
	if err != nil {
		return State{}, err
	}
	dir := s.generationDir(p.generation)
	db, err := s.openPebble(dir, s.readOnly())
	if err != nil {
		return State{}, err
	}
	s.contents, err = verifyExactly(db, meta)
	if err = errors.Join(err, db.Close()); err != nil {
		return State{}, fmt.Errorf("%s: %w", dir, err)
	}
	if s.ledger.applied.Index < p.durable.Index {
		return State{}, fmt.Errorf("%s: %w: holds the log up to index %d; it has held index %d",
			dir, oncelog.ErrCorrupt, s.ledger.applied.Index, p.durable.Index)
	}
	return s.State(), nil
}

func verifyExactly(db *pebble.DB, meta func(string, []byte) error) (contents, error) {
	c, err := verify(db)
	if err != nil {
		return contents{}, err
	}
	return iterate(db, &pebble.IterOptions{}, func(it *pebble.Iterator) (contents, error) {
		for ok := it.First(); ok; ok = it.Next() {
			value, err := it.ValueAndErr()
			if err != nil {
				return contents{}, err
			}
			switch key := it.Key(); {
			case key[0] == kindBlock:
				err = indexed(db, &c, key, value)
			case key[0] == kindMeta && key[1] == metaNamed:
				err = meta(string(key[2:]), value)
			}
			if err != nil {
				return contents{}, err
			}
		}
		return c, nil
	})
}

// indexed checks that each record of a block is in the dedup index under its own
// id and payload, and each of its topics in the topic index with the right count.
// verify has counted as many entries as there are events, so there are no others.
func indexed(db *pebble.DB, c *contents, key, value []byte) error {
	first, err := parseBlockKey(key)
	if err != nil {
		return err
	}
	b, err := decodeBlock(first, value)
	if err != nil {
		return err
	}
	counts := make(map[uint32]uint32)
	for i := range b.len() {
		r, id := b.record(i), b.first+uint64(i)
		payload := sha256.Sum256(r.payload())
		if binary.BigEndian.Uint64(payload[:]) != r.payloadHash() {
			return fmt.Errorf("%w: event %d: the payload is not the one that was hashed", oncelog.ErrCorrupt, id)
		}
		topic := c.topicIDs[string(r.topic())]
		counts[topic]++
		var k [dedupKeyLen]byte
		newDedupKey(topic, r.eventID()).put(k[:])
		v, err := lookUp(db, k[:], parseStored)
		if err != nil {
			return fmt.Errorf("event %d: dedup index: %w", id, err)
		}
		if v.id != id || v.payload != r.payloadHash() {
			return fmt.Errorf("%w: event %d: the dedup index says event %d", oncelog.ErrCorrupt, id, v.id)
		}
	}
	for topic, want := range counts {
		got, err := lookUp(db, topicKey(topic, first), func(value []byte) (uint32, error) {
			return binary.BigEndian.Uint32(value), nil // verify has seen its length
		})
		if err != nil {
			return fmt.Errorf("block %d: topic index: %w", first, err)
		}
		if got != want {
			return fmt.Errorf("%w: block %d has %d events of topic %q; the topic index says %d",
				oncelog.ErrCorrupt, first, want, c.topics[topic].name, got)
		}
	}
	return nil
}

// lookUp reads one key, which must be there.
func lookUp[T any](db *pebble.DB, key []byte, parse func([]byte) (T, error)) (T, error) {
	var zero T
	value, closer, err := db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return zero, fmt.Errorf("%w: it is missing", oncelog.ErrCorrupt)
	}
	if err != nil {
		return zero, err
	}
	v, err := parse(value)
	return v, errors.Join(err, closer.Close())
}
