package node

import (
	"errors"
	"fmt"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
)

// failStopLog ends the node when its Raft log can not be read or written. Raft
// itself would go on: a leader whose disk has failed would keep leading.
type failStopLog struct {
	raft.LogStore
	fail func(error)
}

func (l *failStopLog) check(doing string, err error) error {
	if err != nil && !errors.Is(err, raft.ErrLogNotFound) {
		l.fail(fmt.Errorf("raft log: %s: %w", doing, err))
	}
	return err
}

// StoreLog implements raft.LogStore.
func (l *failStopLog) StoreLog(log *raft.Log) error {
	return l.check("write", l.LogStore.StoreLog(log))
}

// StoreLogs implements raft.LogStore.
func (l *failStopLog) StoreLogs(logs []*raft.Log) error {
	return l.check("write", l.LogStore.StoreLogs(logs))
}

// GetLog implements raft.LogStore.
func (l *failStopLog) GetLog(index uint64, log *raft.Log) error {
	return l.check("read", l.LogStore.GetLog(index, log))
}

// DeleteRange implements raft.LogStore.
func (l *failStopLog) DeleteRange(from, to uint64) error {
	return l.check("truncate", l.LogStore.DeleteRange(from, to))
}

// failStopStable does the same for the term and the vote.
type failStopStable struct {
	raft.StableStore
	fail func(error)
}

func (s *failStopStable) check(doing string, err error) error {
	if err != nil && !errors.Is(err, raftboltdb.ErrKeyNotFound) {
		s.fail(fmt.Errorf("raft term and vote: %s: %w", doing, err))
	}
	return err
}

// Set implements raft.StableStore.
func (s *failStopStable) Set(key, value []byte) error {
	return s.check("write", s.StableStore.Set(key, value))
}

// SetUint64 implements raft.StableStore.
func (s *failStopStable) SetUint64(key []byte, value uint64) error {
	return s.check("write", s.StableStore.SetUint64(key, value))
}

// Get implements raft.StableStore.
func (s *failStopStable) Get(key []byte) ([]byte, error) {
	value, err := s.StableStore.Get(key)
	return value, s.check("read", err)
}

// GetUint64 implements raft.StableStore.
func (s *failStopStable) GetUint64(key []byte) (uint64, error) {
	value, err := s.StableStore.GetUint64(key)
	return value, s.check("read", err)
}
