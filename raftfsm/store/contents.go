package store

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/oncelog/oncelog"
)

// contents is what a replica keeps in memory of its database.
type contents struct {
	ledger ledger
	// topics has each topic at the place that is its id, topicIDs the way back.
	// Invariant: the counts add up to ledger.Unique.
	topics   []topic
	topicIDs map[string]uint32
}

// loadContents reads the contents of a database and checks that they belong
// together.
func loadContents(db pebble.Reader) (contents, error) {
	return iterate(db, &pebble.IterOptions{}, readContents)
}

func readContents(it *pebble.Iterator) (contents, error) {
	l, err := readLedger(it)
	if err != nil {
		return contents{}, err
	}
	c := contents{ledger: l, topicIDs: make(map[string]uint32)}
	var events uint64
	for valid := it.SeekGE(topicMetaKey(0)); valid; valid = it.Next() {
		id, ok := parseTopicMetaKey(it.Key())
		if !ok {
			break
		}
		value, err := it.ValueAndErr()
		if err != nil {
			return contents{}, err
		}
		t, err := decodeTopic(value)
		if err != nil {
			return contents{}, err
		}
		if next := uint32(len(c.topics)); id != next {
			return contents{}, fmt.Errorf("%w: topic %d is missing", oncelog.ErrCorrupt, next)
		}
		c.topics, c.topicIDs[t.name] = append(c.topics, t), id
		events += t.count
	}
	if err := it.Error(); err != nil {
		return contents{}, err
	}
	if events != l.Unique || len(c.topicIDs) != len(c.topics) {
		return contents{}, fmt.Errorf("%w: %d events in %d topics, but %d in the ledger", oncelog.ErrCorrupt, events, len(c.topicIDs), l.Unique)
	}
	last, err := lastID(it)
	if err == nil && last != l.Unique {
		err = fmt.Errorf("%w: the last block ends at event %d, the ledger at %d", oncelog.ErrCorrupt, last, l.Unique)
	}
	return c, err
}

// readLedger returns the zero ledger where the database is empty.
func readLedger(it *pebble.Iterator) (ledger, error) {
	if it.SeekPrefixGE(ledgerKey()) {
		value, err := it.ValueAndErr()
		if err != nil {
			return ledger{}, err
		}
		return decodeLedger(value)
	}
	if err := it.Error(); err != nil {
		return ledger{}, err
	}
	if it.First() {
		return ledger{}, fmt.Errorf("%w: the ledger is missing", oncelog.ErrCorrupt)
	}
	return ledger{}, nil
}

// lastID returns the id of the newest event in a block, 0 where there is none.
func lastID(it *pebble.Iterator) (uint64, error) {
	if !it.SeekLT(after(kindBlock)) || it.Key()[0] != kindBlock {
		return 0, nil
	}
	b, err := currentBlock(it)
	if err != nil {
		return 0, err
	}
	return b.last(), nil
}

// currentBlock decodes the block that it stands on; it is valid until it moves.
func currentBlock(it *pebble.Iterator) (block, error) {
	first, err := parseBlockKey(it.Key())
	if err != nil {
		return block{}, err
	}
	value, err := it.ValueAndErr()
	if err != nil {
		return block{}, err
	}
	return decodeBlock(first, value)
}

// iterate makes an iterator, calls read with it and closes it. An error of the
// iterator's own comes first: what was read before it may be cut short.
func iterate[T any](db pebble.Reader, o *pebble.IterOptions, read func(*pebble.Iterator) (T, error)) (T, error) {
	var none T
	it, err := db.NewIter(o)
	if err != nil {
		return none, readError(err)
	}
	value, err := read(it)
	if err := errors.Join(it.Error(), it.Close()); err != nil {
		return none, readError(err)
	}
	if err != nil {
		return none, readError(err)
	}
	return value, nil
}

// State is the state of the log after one position.
type State struct {
	Applied Position
	Counters
	// Topics is sorted by name.
	Topics []oncelog.TopicStats
	// Digest covers every stored block, the counters and the topics: equal at
	// equal positions on all replicas. The state machine's own metadata is not in
	// it.
	Digest [sha256.Size]byte
}

// State returns the state after the last commit, all of it of one moment. It
// takes time in proportion to the number of topics.
func (s *Store) State() State {
	s.view.RLock()
	l, topics := s.ledger, slices.Clone(s.topics)
	s.view.RUnlock()
	state := State{Applied: l.applied, Counters: l.Counters, Digest: digest(&l, topics)}
	state.Topics = make([]oncelog.TopicStats, len(topics))
	for i, t := range topics {
		state.Topics[i] = oncelog.TopicStats{Topic: t.name, Count: t.count, LastID: t.last}
	}
	slices.SortFunc(state.Topics, func(a, b oncelog.TopicStats) int { return cmp.Compare(a.Topic, b.Topic) })
	return state
}

// Applied returns the position of the last commit.
func (s *Store) Applied() Position {
	s.view.RLock()
	defer s.view.RUnlock()
	return s.ledger.applied
}

// Meta returns the state machine's metadata as of the last commit, nil where
// there is none. An error may be [oncelog.ErrCorrupt] or [oncelog.ErrClosed].
func (s *Store) Meta(name string) ([]byte, error) {
	gen, err := s.borrow()
	if err != nil {
		return nil, err
	}
	defer s.life.RUnlock()
	return readMeta(gen.db, name)
}

func readMeta(db *pebble.DB, name string) ([]byte, error) {
	value, closer, err := db.Get(namedKey(name))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("metadata %q: %w", name, readError(err))
	}
	return append([]byte{}, value...), closer.Close()
}
