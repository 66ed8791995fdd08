package store

import (
	"errors"
	"fmt"

	"github.com/oncelog/oncelog"
)

// fail records the first failure in the background and tells the node. From then
// on nothing is written and nothing is called durable.
func (s *Store) fail(err error) {
	s.failOnce.Do(func() {
		s.failure = fmt.Errorf("store %s: %w", s.dir, err)
		s.log.Error("the store has failed", "err", s.failure)
		close(s.failed)
		s.opts.OnError(s.failure)
	})
}

func (s *Store) failedAlready() bool {
	select {
	case <-s.failed:
		return true
	default:
		return false
	}
}

// usable says why nothing may be written any more, or nil.
func (s *Store) usable() error {
	if s.failedAlready() {
		return s.failure
	}
	return nil
}

// await runs a call into Pebble that may wait for the disk, and gives up on it
// when the store fails: Pebble tries a failed flush again for ever, and whoever
// waits for it would never hear of the failure. A call given up on may still
// return, or not; what it returns then goes to late.
func await[T any](s *Store, call func() (T, error), late func(T)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done, gone := make(chan result), make(chan struct{})
	go func() {
		value, err := call()
		select {
		case done <- result{value, err}:
		case <-gone:
			if err == nil && late != nil {
				late(value)
			}
		}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-s.failed:
		close(gone)
		var none T
		return none, s.failure
	}
}

// awaitIn is await for a call into the live generation, which stays open for it.
func awaitIn[T any](s *Store, gen *generation, call func() (T, error)) (T, error) {
	gen.refs.Add(1)
	return await(s, func() (T, error) {
		value, err := call()
		if err := s.unref(gen); err != nil {
			s.log.Warn("close after a failure", "err", err)
		}
		return value, err
	}, nil)
}

// unref gives up a reference to a generation. The last one closes it and all that
// the store holds, unless Pebble was halted and would never return.
func (s *Store) unref(gen *generation) error {
	if gen.refs.Add(-1) > 0 || s.halted.Load() {
		return nil
	}
	return errors.Join(readError(gen.db.Close()), s.release())
}

// borrow returns the live generation and keeps it alive until the caller
// releases life.
func (s *Store) borrow() (*generation, error) {
	s.life.RLock()
	if s.gen == nil {
		s.life.RUnlock()
		return nil, fmt.Errorf("store %s: %w", s.dir, oncelog.ErrClosed)
	}
	return s.gen, nil
}
