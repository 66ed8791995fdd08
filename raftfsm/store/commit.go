package store

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// Commit makes the transaction the state after pos, which is above
// [Store.Applied]. When it returns, readers see it; the disk has it after the
// next flush. After an error the store's state in memory is the old one, and the
// node must stop.
func (t *Txn) Commit(pos Position) error {
	if err := t.committable(pos); err != nil {
		return t.fail(err)
	}
	s := t.store
	if _, err := s.borrow(); err != nil {
		return t.fail(err)
	}
	defer s.life.RUnlock()
	if t.gen != s.gen {
		return t.fail(fmt.Errorf("%w: the state was replaced", errTxn))
	}
	t.ledger.applied = pos
	if err := t.write(); err != nil {
		return t.fail(err)
	}
	_, err := awaitIn(s, t.gen, func() (struct{}, error) { return struct{}{}, t.gen.db.Apply(t.batch, pebble.NoSync) })
	if err != nil {
		return t.fail(fmt.Errorf("commit at log index %d: %w", pos.Index, err))
	}
	t.publish()
	t.err = fmt.Errorf("%w: committed already", errTxn)
	return nil
}

// committable says why the transaction cannot be committed, or nil. Positions
// must rise: the unflushed keys leave by them.
func (t *Txn) committable(pos Position) error {
	switch {
	case t.err != nil:
		return t.err
	case len(t.events) > 0 && !t.resolved:
		return fmt.Errorf("%w: not resolved", errTxn)
	case pos.Index <= t.ledger.applied.Index:
		return fmt.Errorf("%w: commit at log index %d after %d", errTxn, pos.Index, t.ledger.applied.Index)
	}
	return t.store.usable()
}

// write adds to the batch what is written once a transaction. The dedup keys are
// sorted, so that the memtable takes each next to the one before.
func (t *Txn) write() error {
	for i := range t.slots {
		if v := &t.slots[i]; v.fresh {
			op := t.batch.SetDeferred(dedupKeyLen, dedupValueLen)
			v.key.put(op.Key)
			v.put(op.Value)
			t.finish(op)
		}
	}
	for _, id := range t.topics.touched {
		topic := t.topics.result(id)
		if err := t.batch.Set(topicMetaKey(id), topic.encode(), nil); err != nil {
			return err
		}
	}
	if err := t.batch.Set(ledgerKey(), t.ledger.encode(), nil); err != nil {
		return err
	}
	return t.err
}

// publish shows the committed state to look-ups and readers.
func (t *Txn) publish() {
	s := t.store
	keys := s.recent.generation(t.ledger.applied.Index, s.opts.RecentKeys/keptGenerations)
	for i := range t.slots {
		if v := &t.slots[i]; v.fresh {
			keys[v.key] = v.stored
			s.filter.add(v.key)
		}
	}
	s.view.Lock()
	defer s.view.Unlock()
	s.ledger = t.ledger
	for _, name := range t.topics.fresh {
		s.topicIDs[name] = uint32(len(s.topics))
		s.topics = append(s.topics, topic{name: name})
	}
	for _, id := range t.topics.touched {
		s.topics[id] = t.topics.result(id)
	}
}
