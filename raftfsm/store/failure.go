package store

import (
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
// return, or not; Close looks at calls.
func await[T any](s *Store, call func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	s.calls.Add(1)
	go func() {
		value, err := call()
		s.calls.Add(-1)
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-s.failed:
		var none T
		return none, s.failure
	}
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
