package node

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/raftfsm"
	"github.com/oncelog/oncelog/raftfsm/store"
)

// Verified is what Verify found in a data directory that is sound.
type Verified struct {
	NodeID  uuid.UUID
	Name    string
	Cluster uuid.UUID
	// Store is the state that is on disk; the log's tail may hold more.
	Store raftfsm.Verified
	// FirstIndex and LastIndex bound the Raft log; both 0 where it is empty.
	FirstIndex, LastIndex uint64
}

// Verify proves a stopped node's data directory: every event against every index,
// the counters, gapless ids, the digest, every entry of the Raft log, and that the
// parts belong together. It changes nothing. The error names the part at fault;
// it is ErrDirectoryInUse while the node runs.
func Verify(dir string) (v Verified, err error) {
	path := filepath.Join(dir, identityFile)
	own, err := readIdentity(path)
	if err != nil {
		return v, err
	}
	lock, err := lockDirectory(filepath.Join(dir, lockFile))
	if err != nil {
		return v, err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	v.NodeID, v.Name, v.Cluster = own.NodeID, own.Name, own.ClusterID
	if v.Store, err = raftfsm.Verify(filepath.Join(dir, "store"), store.Options{}); err != nil {
		return v, err
	}
	if c := v.Store.Cluster; c != uuid.Nil && c != own.ClusterID {
		return v, fmt.Errorf("%w: the store is of cluster %s, and %s says %s", oncelog.ErrCorrupt, c, path, own.ClusterID)
	}
	v.FirstIndex, v.LastIndex, err = verifyLog(dir, own, v.Store.Applied)
	return v, err
}

// verifyLog reads every entry, and checks that the log goes on where the store
// ends.
func verifyLog(dir string, own identityState, applied store.Position) (first, last uint64, err error) {
	kind, err := logKindIn(dir, logKinds()[0])
	if err != nil {
		return 0, 0, err
	}
	path := filepath.Join(dir, kind.file)
	if _, err := os.Stat(path); err != nil {
		return 0, 0, fmt.Errorf("raft log: %w", err)
	}
	l, err := openLog(kind, dir, slog.New(slog.DiscardHandler), func(error) {}, func(uint64, int) {})
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, l.protect("close", l.Close)) }()
	if own.ClusterID != uuid.Nil {
		if err := l.own(own.NodeID, own.ClusterID); err != nil {
			return 0, 0, err
		}
	}
	if first, err = l.FirstIndex(); err != nil {
		return 0, 0, err
	}
	if last, err = l.LastIndex(); err != nil {
		return 0, 0, err
	}
	if overtaken, err := l.overtaken(applied); err != nil || overtaken {
		return first, last, err // the next start drops it
	}
	for index := max(first, 1); index <= last; index++ {
		var entry raft.Log
		err := l.GetLog(index, &entry)
		if err == nil {
			err = raftfsm.VerifyEntry(&entry)
		}
		if err != nil {
			return first, last, fmt.Errorf("raft log %s: entry %d: %w", path, index, err)
		}
	}
	return first, last, nil
}
