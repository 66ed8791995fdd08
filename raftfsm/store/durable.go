package store

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// Flush writes all commits to disk and returns the position that is durable then,
// at least [Store.Applied] as of the call. The log up to it may be dropped: a
// store that holds less is refused from then on. An error means that nothing is
// known to be durable beyond what earlier calls returned.
func (s *Store) Flush() (Position, error) {
	s.admin.Lock()
	defer s.admin.Unlock()
	return s.flush()
}

// flush is Flush for the holder of admin.
func (s *Store) flush() (Position, error) {
	gen, err := s.borrow()
	if err != nil {
		return Position{}, err
	}
	defer s.life.RUnlock()
	if err := s.flushMemTables(gen); err != nil {
		return Position{}, fmt.Errorf("flush: %w", err)
	}
	p, _, err := s.durableMeta(gen, "")
	if err != nil || p == s.durable {
		return p, err
	}
	if err := writePointer(s.fs, s.dir, pointer{generation: gen.number, durable: p}); err != nil {
		return Position{}, fmt.Errorf("flush: %w", err)
	}
	s.durable = p
	return p, nil
}

// flushMemTables does nothing where the last commit is on disk already.
func (s *Store) flushMemTables(gen *generation) error {
	applied := s.Applied()
	if p, _, err := s.durableMeta(gen, ""); err != nil || p == applied {
		return err
	}
	done, err := awaitIn(s, gen, gen.db.AsyncFlush)
	if err != nil {
		return err
	}
	select {
	case <-done:
		return nil
	case <-s.failed:
		return s.failure
	}
}

// Durable returns the position that the disk holds now. To drop the log below a
// position takes [Store.Flush].
func (s *Store) Durable() (Position, error) {
	p, _, err := s.DurableMeta("")
	return p, err
}

// DurableMeta returns the position that the disk holds now and the metadata of
// that moment, nil where there is none.
func (s *Store) DurableMeta(name string) (Position, []byte, error) {
	gen, err := s.borrow()
	if err != nil {
		return Position{}, nil, err
	}
	defer s.life.RUnlock()
	return s.durableMeta(gen, name)
}

func (s *Store) durableMeta(gen *generation, name string) (Position, []byte, error) {
	if err := s.usable(); err != nil {
		return Position{}, nil, err
	}
	type positioned struct {
		Position
		value []byte
	}
	onDisk := &pebble.IterOptions{LowerBound: []byte{kindMeta}, UpperBound: after(kindMeta), OnlyReadGuaranteedDurable: true}
	p, err := iterate(gen.db, onDisk, func(it *pebble.Iterator) (positioned, error) {
		l, err := readLedger(it)
		if err != nil {
			return positioned{}, err
		}
		p := positioned{Position: l.applied}
		if it.SeekPrefixGE(namedKey(name)) {
			value, err := it.ValueAndErr()
			if err != nil {
				return p, err
			}
			p.value = append([]byte{}, value...)
		}
		return p, nil
	})
	return p.Position, p.value, err
}
