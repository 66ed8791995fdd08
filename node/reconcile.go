package node

import (
	"errors"
	"fmt"

	"github.com/hashicorp/raft"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/raftfsm/store"
)

// overtaken tells whether a Raft log is to be dropped, since the store has gone
// past it: a snapshot from the leader had just been swapped in when the node
// died, and Raft had no time to drop the log. The log has then ended before the
// store's position, or holds another term's entry there.
//
// A log that begins after the store ends is an oncelog.ErrCorrupt: something in
// between is lost.
func (l *guardedLog) overtaken(applied store.Position) (bool, error) {
	first, err := l.FirstIndex()
	if err != nil {
		return false, err
	}
	last, err := l.LastIndex()
	if err != nil || last == 0 {
		return false, err
	}
	switch {
	case first > applied.Index+1:
		return false, fmt.Errorf("%w: raft log %s begins at entry %d, and the store ends at %d", oncelog.ErrCorrupt, l.path, first, applied.Index)
	case last < applied.Index:
		return true, nil
	case first > applied.Index:
		return false, nil
	}
	term, err := l.termOf(applied.Index, first, last)
	return err == nil && term != applied.Term, err
}

// termOf returns the term of an entry between the log's first and last one, where
// it must be.
func (l *guardedLog) termOf(index, first, last uint64) (uint64, error) {
	var entry raft.Log
	err := l.GetLog(index, &entry)
	if errors.Is(err, raft.ErrLogNotFound) {
		return 0, fmt.Errorf("%w: raft log %s has lost entry %d of %d to %d", oncelog.ErrCorrupt, l.path, index, first, last)
	}
	return entry.Term, err
}

// reconcile drops a log that was overtaken. The part at and after the store's
// position goes first, so that after a crash what is left is still overtaken.
func (l *guardedLog) reconcile(applied store.Position) error {
	drop, err := l.overtaken(applied)
	if err != nil || !drop {
		return err
	}
	last, err := l.LastIndex()
	if err != nil {
		return err
	}
	if last >= applied.Index {
		if err := l.DeleteRange(applied.Index, last); err != nil {
			return err
		}
	}
	return l.DeleteRange(0, last)
}

// IsMonotonic implements raft.MonotonicLogStore. Raft asks it when it has installed
// a snapshot from the leader, and drops the whole log where it is true. So it must
// be true for a log that was overtaken: entries that were never committed could
// stay below the gap, and be sent on to a new node one day. It must be false for
// any other: what follows the snapshot was acknowledged.
//
// Raft goes on with the end of the log in its memory. Where that lay behind the
// snapshot, it would refuse its leader for ever (hashicorp/raft#697): a start anew
// is what helps.
func (l *guardedLog) IsMonotonic() bool {
	applied := l.applied()
	drop, err := l.overtaken(applied)
	if err != nil {
		l.fail(err)
		return false
	}
	last, err := l.LastIndex()
	if err == nil && drop && last >= applied.Index {
		l.fail(fmt.Errorf("raft log %s: its entries from %d to %d were never committed, and are dropped for the leader's: start the node again", l.path, applied.Index, last))
	}
	return drop
}
