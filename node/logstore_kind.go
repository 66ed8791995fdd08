package node

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"

	"github.com/oncelog/oncelog"
)

// LogStore names a way to keep the Raft log. A data directory keeps the one that
// it was made with.
type LogStore string

// The ways to keep the Raft log.
const (
	// LogStoreBolt is one bbolt file. It is the default.
	LogStoreBolt LogStore = "bolt"
	// LogStoreWAL is a directory of segments, by hashicorp/raft-wal: quicker with
	// large entries, and less proven.
	LogStoreWAL LogStore = "wal"
)

// logStore is a Raft log with a place for the term and the vote. What it has taken
// is on the disk when a call returns.
type logStore interface {
	raft.LogStore
	raft.StableStore
	Close() error
}

// errNoKey is a key that was never set. Raft compares its text.
var errNoKey = errors.New("not found")

// logKind is what there is to know of a LogStore.
type logKind struct {
	name LogStore
	// file is its place in the data directory.
	file string
	// chunk bounds the entries that are dropped from the log's head at once; 0 is
	// all of them.
	chunk uint64
	open  func(path string, logger *slog.Logger) (logStore, error)
}

// logKinds lists the ways to keep the Raft log, the default first.
func logKinds() []logKind {
	return []logKind{
		// A large transaction would hold up the writers.
		{LogStoreBolt, "raft.db", 512, func(path string, _ *slog.Logger) (logStore, error) { return openBolt(path) }},
		{LogStoreWAL, "raft-wal", 0, func(path string, logger *slog.Logger) (logStore, error) { return openWAL(path, logger) }},
	}
}

func kindOf(name LogStore) (logKind, error) {
	for _, k := range logKinds() {
		if k.name == name {
			return k, nil
		}
	}
	return logKind{}, fmt.Errorf("log store %q: must be %s or %s", name, LogStoreBolt, LogStoreWAL)
}

// logKindIn returns the kind of the log that a data directory has, or fallback
// where it has none.
func logKindIn(dir string, fallback logKind) (logKind, error) {
	for _, k := range logKinds() {
		switch _, err := os.Stat(filepath.Join(dir, k.file)); {
		case err == nil:
			return k, nil
		case !errors.Is(err, os.ErrNotExist):
			return logKind{}, fmt.Errorf("raft log: %w", err)
		}
	}
	return fallback, nil
}

// check refuses a data directory whose log is of another kind: beside it, an empty
// one would be begun. It also refuses one that has lost its log.
func (k logKind) check(dir string, own identityState) error {
	held, err := logKindIn(dir, k)
	switch {
	case err != nil:
		return err
	case held.name != k.name:
		return fmt.Errorf("%w: %s is the log of log store %q, not %q; start with --log-store %s, or in an empty directory",
			ErrForeignDirectory, filepath.Join(dir, held.file), held.name, k.name, held.name)
	case !own.belongs():
		return nil
	}
	if _, err := os.Stat(filepath.Join(dir, k.file)); err != nil {
		return lostPart(own, err)
	}
	return nil
}

// lostPart is a member's directory without something that it has had.
func lostPart(own identityState, err error) error {
	return fmt.Errorf("%w: the node belongs to cluster %s and has lost a part of its data; start it anew in an empty directory: %w",
		oncelog.ErrCorrupt, own.ClusterID, err)
}

func decodeUint64(value []byte) (uint64, error) {
	if len(value) != 8 {
		return 0, fmt.Errorf("%w: a number of %d bytes", oncelog.ErrCorrupt, len(value))
	}
	return binary.BigEndian.Uint64(value), nil
}
