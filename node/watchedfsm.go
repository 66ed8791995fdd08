package node

import (
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/raft"

	"github.com/oncelog/oncelog/raftfsm"
)

// watchedFSM is the state machine as Raft has it: one that hangs, since the store's
// disk does, ends the node. Raft would let such a leader lead on, and nothing would
// be acknowledged any more.
type watchedFSM struct {
	*raftfsm.FSM
	path string
	fail func(error)
	// stall is stallLimit but in tests.
	stall time.Duration
	// advance is called when the store may have got further.
	advance func()
}

// ApplyBatch implements raft.BatchingFSM. It takes milliseconds, and a second where
// the store has to wait for its disk.
func (f watchedFSM) ApplyBatch(logs []*raft.Log) []any {
	watch := startStallWatch(f.stall, func() {
		f.fail(fmt.Errorf("store %s: to apply %d entries has taken over %s: the disk hangs", f.path, len(logs), f.stall))
	})
	defer watch.stop()
	defer f.advance()
	return f.FSM.ApplyBatch(logs)
}

// Restore implements raft.FSM.
func (f watchedFSM) Restore(source io.ReadCloser) error {
	defer f.advance()
	return f.FSM.Restore(source)
}
