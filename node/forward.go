package node

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/raftfsm"
	"github.com/oncelog/oncelog/raftfsm/store"
)

// forwarder takes a command to the leader: itself, or one hop over the node port.
type forwarder struct {
	leadership *leadership
	sequencer  *sequencer
	space      *space
	caller     *caller
}

// submit makes one attempt to have a command of one batch applied. The error is
// an oncelog.ErrNotApplied, an oncelog.ErrDiskFull, an oncelog.ErrOutcomeUnknown,
// or what the state machine answered.
func (f *forwarder) submit(ctx context.Context, command []byte) ([]store.Outcome, error) {
	leader, known, _ := f.leadership.leader()
	switch {
	case !known:
		return nil, fmt.Errorf("%w: no leader is known", oncelog.ErrNotApplied)
	case leader == f.leadership.self:
		// A copy: Raft keeps what it is given, and the batch may be sent again.
		return f.propose(slices.Clone(command))
	default:
		reply, err := f.caller.post(ctx, leader, methodForward, command)
		if err != nil {
			return nil, err
		}
		return decodeReply(reply)
	}
}

// propose puts a command into the log, as leader, if there is room for it.
func (f *forwarder) propose(command []byte) ([]store.Outcome, error) {
	if err := f.space.err(); err != nil {
		return nil, err
	}
	return f.sequencer.submit(command)
}

// accept serves methodForward. A forwarded command is never forwarded again.
func (f *forwarder) accept(_ context.Context, command []byte) ([]byte, error) {
	c, err := raftfsm.Decode(command)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", oncelog.ErrNotApplied, err)
	}
	if c.Kind != raftfsm.KindPublish || len(c.Batches) != 1 {
		return nil, fmt.Errorf("%w: a forwarded command has one batch of events", oncelog.ErrNotApplied)
	}
	outcomes, err := f.propose(command)
	return encodeReply(outcomes, err)
}

// The reply to a forwarded batch: a code, then per event a u64, big endian: the
// id shifted by two, bit 1 set for a duplicate, bit 0 for a conflict.
const (
	replyApplied   = 0
	replyExpired   = 1
	replyNotMember = 2
)

var errBadReply = errors.New("the leader's reply can not be read")

func encodeReply(outcomes []store.Outcome, err error) ([]byte, error) {
	switch {
	case errors.Is(err, raftfsm.ErrSessionExpired):
		return []byte{replyExpired}, nil
	case errors.Is(err, raftfsm.ErrNotMember):
		return []byte{replyNotMember}, nil
	case err != nil:
		return nil, err
	}
	reply := make([]byte, 1, 1+8*len(outcomes))
	for _, o := range outcomes {
		word := o.ID << 2
		if o.Duplicate {
			word |= 2
		}
		if o.Conflict {
			word |= 1
		}
		reply = binary.BigEndian.AppendUint64(reply, word)
	}
	return reply, nil
}

func decodeReply(reply []byte) ([]store.Outcome, error) {
	if len(reply) == 0 || len(reply)%8 != 1 {
		return nil, fmt.Errorf("%w: %w: %d bytes", oncelog.ErrOutcomeUnknown, errBadReply, len(reply))
	}
	switch reply[0] {
	case replyApplied:
	case replyExpired:
		return nil, raftfsm.ErrSessionExpired
	case replyNotMember:
		return nil, raftfsm.ErrNotMember
	default:
		return nil, fmt.Errorf("%w: %w: code %d", oncelog.ErrOutcomeUnknown, errBadReply, reply[0])
	}
	outcomes := make([]store.Outcome, 0, len(reply)/8)
	for words := reply[1:]; len(words) > 0; words = words[8:] {
		word := binary.BigEndian.Uint64(words)
		outcomes = append(outcomes, store.Outcome{ID: word >> 2, Duplicate: word&2 != 0, Conflict: word&1 != 0})
	}
	return outcomes, nil
}
