package store

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"

	"github.com/cockroachdb/pebble/v2"

	"github.com/oncelog/oncelog"
)

// errTxn: the transaction is used in a way that its contract forbids.
var errTxn = errors.New("misused transaction")

// Outcome is what became of one event of a batch.
type Outcome struct {
	// ID is the id of the stored event.
	ID uint64
	// Duplicate: the event was stored before, as ID.
	Duplicate bool
	// Conflict: it was stored with another payload. Only a duplicate has it.
	Conflict bool
}

// Staged names a batch of records between Stage and Apply or Recall.
type Staged struct{ first, end int }

// Txn applies batches to the store. Its life is
//
//	Begin, Stage…, Resolve, Apply or Recall for each batch in log order, Commit
//
// with SetMeta anywhere before Commit. A Txn that is not committed leaves no
// trace. It is valid until the next Begin, belongs to one goroutine, and answers
// every call after a first error with that error.
type Txn struct {
	store *Store
	gen   *generation
	batch *pebble.Batch
	err   error
	// ledger is the state that this transaction leads to.
	ledger ledger
	hash   hash.Hash

	// events has a place for every staged event, keys its dedup key, and slots one
	// place for every distinct key, sorted. Duplicates meet in their slot, so
	// those of one batch and of one transaction see each other.
	events   []stagedEvent
	keys     []stagedKey
	slots    []slot
	resolved bool
	recalls  uint32

	topics topicTally
	block  blockBuilder
}

type stagedEvent struct {
	record rawRecord
	topic  uint32
	// slot is the place in slots once resolved.
	slot uint32
}

type stagedKey struct {
	dedupKey
	event uint32
}

type slot struct {
	key dedupKey
	stored
	// fresh: this transaction stores the event.
	fresh bool
	// recall is the last Recall that came across the key.
	recall uint32
}

// keptEvents bounds the buffers that a Txn leaves to the next: 6 MiB or so.
const keptEvents = 1 << 16

// Begin starts a transaction and ends the one before.
func (s *Store) Begin() *Txn {
	t := &s.txn
	t.reset()
	t.store = s
	t.ledger = s.ledger
	t.err = s.usable()
	gen, err := s.borrow()
	if err != nil {
		t.err = err
		return t
	}
	defer s.life.RUnlock()
	t.gen = gen
	t.batch = gen.db.NewBatch(pebble.WithMaxRetainedSizeBytes(4 << 20))
	t.topics.known, t.topics.ids = s.topics, s.topicIDs
	return t
}

// reset empties the transaction but keeps its buffers.
func (t *Txn) reset() {
	if t.batch != nil {
		// Closing only gives the memory back.
		_ = t.batch.Close()
	}
	if t.hash == nil {
		t.hash = sha256.New()
	}
	old := *t
	old.topics.reset()
	*t = Txn{hash: old.hash, topics: old.topics, block: blockBuilder{records: old.block.records[:0]}}
	if cap(old.events) <= keptEvents {
		clear(old.events)
		t.events, t.keys, t.slots = old.events[:0], old.keys[:0], old.slots[:0]
	}
}

// fail makes err the answer to all further calls.
func (t *Txn) fail(err error) error {
	t.err = err
	return err
}

// Stage announces a batch that will be applied or recalled. The records are not
// copied and must not change until Commit. A topic not seen before gets the next
// topic id. Malformed records are an [oncelog.ErrCorrupt].
func (t *Txn) Stage(records []byte) (Staged, error) {
	if t.err != nil {
		return Staged{}, t.err
	}
	if t.resolved {
		return Staged{}, t.fail(fmt.Errorf("%w: Stage after Resolve", errTxn))
	}
	b := Staged{first: len(t.events)}
	for at := 0; at < len(records); {
		r, err := firstRecord(records[at:])
		if err != nil {
			return Staged{}, t.fail(fmt.Errorf("record at byte %d: %w", at, err))
		}
		at += len(r)
		topic := t.topics.id(r.topic())
		t.keys = append(t.keys, stagedKey{newDedupKey(topic, r.eventID()), uint32(len(t.events))})
		t.events = append(t.events, stagedEvent{record: r, topic: topic})
	}
	b.end = len(t.events)
	return b, nil
}

// Apply decides on each event of a batch: the first with its key is stored under
// the next id, any other is a duplicate. It returns the ids given and an outcome
// for every event, in order.
func (t *Txn) Apply(b Staged, processedAt int64) (Range, []Outcome, error) {
	if err := t.ready(); err != nil {
		return Range{}, nil, err
	}
	given := Range{First: t.ledger.Unique + 1}
	outcomes := make([]Outcome, b.end-b.first)
	var seen Counters
	for i, e := range t.events[b.first:b.end] {
		seen.Received++
		v := &t.slots[e.slot]
		if v.id != 0 {
			seen.Duplicates++
			outcomes[i] = duplicate(v.stored, e.record)
			if outcomes[i].Conflict {
				seen.Conflicts++
			}
			continue
		}
		v.stored = stored{id: given.First + seen.Unique, payload: e.record.payloadHash()}
		v.fresh = true
		seen.Unique++
		outcomes[i] = Outcome{ID: v.id}
		t.addToBlock(v.id, e, processedAt)
	}
	t.closeBlock(processedAt)
	t.ledger.add(seen)
	given.Count = seen.Unique
	return given, outcomes, nil
}

// Recall answers a batch that was applied before, and then stored the ids in
// first, as Apply did. It changes and counts nothing.
func (t *Txn) Recall(b Staged, first Range) ([]Outcome, error) {
	if err := t.ready(); err != nil {
		return nil, err
	}
	t.recalls++
	outcomes := make([]Outcome, b.end-b.first)
	for i, e := range t.events[b.first:b.end] {
		v := &t.slots[e.slot]
		if v.id == 0 {
			return nil, t.fail(fmt.Errorf("%w: event %d of a batch applied before is not stored", oncelog.ErrCorrupt, i))
		}
		outcomes[i] = duplicate(v.stored, e.record)
		if first.contains(v.id) && v.recall != t.recalls {
			outcomes[i] = Outcome{ID: v.id}
		}
		v.recall = t.recalls
	}
	return outcomes, nil
}

func duplicate(v stored, r rawRecord) Outcome {
	return Outcome{ID: v.id, Duplicate: true, Conflict: v.payload != r.payloadHash()}
}

// ready says why batches cannot be decided on, or nil.
func (t *Txn) ready() error {
	if t.err == nil && !t.resolved {
		t.err = fmt.Errorf("%w: not resolved", errTxn)
	}
	return t.err
}

// SetMeta sets metadata of the state machine's own; a nil value deletes it.
func (t *Txn) SetMeta(name string, value []byte) {
	if t.err != nil {
		return
	}
	key := namedKey(name)
	if value == nil {
		t.err = t.batch.Delete(key, nil)
		return
	}
	t.err = t.batch.Set(key, value, nil)
}
