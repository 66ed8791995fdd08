package store

import (
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
	for i := range t.slots {
		k := t.slots[i].key
		if s.filter.excludes(k) {
			continue
		}
		v, ok := s.recent.find(k)
		if !ok {
			t.unknown = append(t.unknown, uint32(i))
		}
		t.slots[i].stored = v
	}
	if len(t.unknown) == 0 {
		return nil
	}
	_, err = iterate(gen.db, &pebble.IterOptions{
		LowerBound:                []byte{kindDedup},
		UpperBound:                after(kindDedup),
		OnlyReadGuaranteedDurable: true,
		UseL6Filters:              true,
	}, t.lookUpTables)
	return err
}

// lookUpTables asks the tables for the unknown keys, in key order.
func (t *Txn) lookUpTables(it *pebble.Iterator) (struct{}, error) {
	var key [dedupKeyLen]byte
	for _, i := range t.unknown {
		v := &t.slots[i]
		v.key.put(key[:])
		if !it.SeekPrefixGE(key[:]) {
			if err := it.Error(); err != nil {
				return struct{}{}, err
			}
			continue
		}
		value, err := it.ValueAndErr()
		if err != nil {
			return struct{}{}, err
		}
		if v.stored, err = parseStored(value); err != nil {
			return struct{}{}, err
		}
	}
	return struct{}{}, nil
}
