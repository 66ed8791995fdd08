package store

import (
	"errors"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// Resolve looks all staged keys up. No batch can be staged after it.
func (t *Txn) Resolve() error {
	if t.err != nil {
		return t.err
	}
	t.share()
	if err := t.lookUp(); err != nil {
		return t.fail(err)
	}
	t.resolved = true
	return nil
}

// share sorts the keys and gives equal ones one slot.
func (t *Txn) share() {
	slices.SortFunc(t.keys, func(a, b stagedKey) int { return a.compare(b.dedupKey) })
	for _, k := range t.keys {
		n := len(t.slots)
		if n == 0 || t.slots[n-1].key != k.dedupKey {
			t.slots = append(t.slots, slot{key: k.dedupKey})
			n++
		}
		t.events[k.event].slot = uint32(n - 1)
	}
}

// lookUp fills the slots of the keys that are stored. The order matters: keys
// leave the unflushed set by a durable position read before the tables are.
func (t *Txn) lookUp() error {
	s := t.store
	gen, err := s.borrow()
	if err != nil {
		return err
	}
	defer s.life.RUnlock()
	if s.flushed.Swap(false) {
		p, _, err := s.durableMeta(gen, "")
		if err != nil {
			return err
		}
		s.recent.drop(p.Index)
	}
	tables := dedupTables{gen: gen}
	for i := range t.slots {
		v := &t.slots[i]
		if s.filter.excludes(v.key) {
			continue
		}
		if v.stored, err = s.find(v.key, &tables); err != nil {
			break
		}
	}
	return tables.close(err)
}

// find returns what is stored under a key that the filter did not exclude.
func (s *Store) find(k dedupKey, tables *dedupTables) (stored, error) {
	if v, ok := s.replay.find(k); ok {
		return v, nil
	}
	if v, ok := s.recent.find(k); ok {
		return v, nil
	}
	v, err := tables.find(k)
	if err == nil && v.id != 0 && s.replay.worth(v.id) {
		there := scan{at: v.id, lo: v.id, hi: v.id}
		err = there.next(tables.gen, func(b block) bool {
			s.replay.learn(b, s.topicIDs)
			return true
		})
	}
	return v, err
}

// dedupTables is the dedup index in the tables, as of its first look-up. It skips
// the memtables.
type dedupTables struct {
	gen *generation
	it  *pebble.Iterator
}

// find is quickest if keys come in order.
func (d *dedupTables) find(k dedupKey) (stored, error) {
	if d.it == nil {
		var err error
		d.it, err = d.gen.db.NewIter(&pebble.IterOptions{
			LowerBound:                []byte{kindDedup},
			UpperBound:                after(kindDedup),
			OnlyReadGuaranteedDurable: true,
			UseL6Filters:              true,
		})
		if err != nil {
			return stored{}, err
		}
	}
	var key [dedupKeyLen]byte
	k.put(key[:])
	if !d.it.SeekPrefixGE(key[:]) {
		return stored{}, d.it.Error()
	}
	value, err := d.it.ValueAndErr()
	if err != nil {
		return stored{}, err
	}
	return parseStored(value)
}

// close ends the look-ups, the last of which ended with err.
func (d *dedupTables) close(err error) error {
	if d.it != nil {
		err = errors.Join(err, d.it.Close())
	}
	return readError(err)
}
