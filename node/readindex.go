package node

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/oncelog/oncelog"
)

// roundTimeout bounds one round of asking for a read index.
const roundTimeout = time.Second

// reader makes reads linearizable: it asks the leader for a read index and waits
// until this node's state machine has applied it. See Ongaro's dissertation,
// section 6.4.
type reader struct {
	leadership *leadership
	group      *group
	caller     *caller

	// asLeader and asAny share one round among all who wait: asLeader confirms
	// this node's leadership, asAny asks whoever leads.
	asLeader rounds
	asAny    rounds

	// tasks are the goroutines of rounds; each ends by its time-out.
	tasks tasks
}

func newReader(l *leadership, g *group, c *caller) *reader {
	r := &reader{leadership: l, group: g, caller: c}
	r.asLeader = rounds{ask: r.confirmedIndex, tasks: &r.tasks}
	r.asAny = rounds{ask: r.leadersIndex, tasks: &r.tasks}
	return r
}

// catchUp returns once this node has applied everything that was acknowledged,
// anywhere, before the call; or an oncelog.ErrUnavailable when ctx ends first.
func (r *reader) catchUp(ctx context.Context) error {
	for {
		_, _, moved := r.leadership.leader()
		index, err := r.asAny.get(ctx)
		if err == nil {
			err = r.group.fsm.WaitApplied(ctx, index)
		}
		if err == nil {
			return nil
		}
		wait, cancel := context.WithTimeout(ctx, retryPause)
		_ = await(wait, moved)
		cancel()
		if ctx.Err() != nil {
			return inWords(err)
		}
	}
}

// unreadable is an oncelog.ErrUnavailable in the words of its cause, and nothing else is
// found in it: a read has no outcome for a caller to ask about.
type unreadable string

func (e unreadable) Error() string      { return string(e) }
func (unreadable) Is(target error) bool { return target == oncelog.ErrUnavailable }

func inWords(cause error) error {
	if errors.Is(cause, oncelog.ErrUnavailable) {
		return unreadable(cause.Error())
	}
	return unreadable(oncelog.ErrUnavailable.Error() + ": " + cause.Error())
}

// leadersIndex asks the leader, wherever it is.
func (r *reader) leadersIndex() (uint64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), roundTimeout)
	defer cancel()
	leader, known, _ := r.leadership.leader()
	switch {
	case !known:
		return 0, fmt.Errorf("%w: no leader is known", oncelog.ErrUnavailable)
	case leader == r.leadership.self:
		return r.asLeader.get(ctx)
	}
	reply, err := r.caller.post(ctx, leader, methodIndex, indexQuestion{r.leadership.self, r.group.CurrentTerm()}.encode())
	if err != nil {
		return 0, err
	}
	return decodeWord(reply)
}

// serveIndex serves methodIndex. Where the leader and the node that asks are a quorum,
// the question is its own confirmation.
func (r *reader) serveIndex(ctx context.Context, body []byte) ([]byte, error) {
	if q, ok := decodeIndexQuestion(body); ok {
		if index, ok := r.indexFor(q); ok {
			return encodeWord(index), nil
		}
	}
	index, err := r.asLeader.get(ctx)
	return encodeWord(index), err
}

// indexFor is the leader's commit index, if no third voter has to confirm it.
func (r *reader) indexFor(q indexQuestion) (uint64, bool) {
	term, err := r.leadership.leads()
	if err != nil || !q.confirms(term, r.electorate) {
		return 0, false
	}
	return r.group.CommitIndex(), true
}

// confirmedIndex is the leader's commit index, captured before a quorum has
// confirmed that nobody leads in a later term. Everything acknowledged before
// the call is at or below it.
func (r *reader) confirmedIndex() (uint64, error) {
	term, err := r.leadership.leads()
	if err != nil {
		return 0, err
	}
	index := r.group.CommitIndex()
	if err := r.confirm(term); err != nil {
		return 0, err
	}
	return index, nil
}

// confirm asks the voters for their terms until a quorum has answered with this
// one. A later leader would need a quorum in a later term, and the two quorums
// would share a voter. Raft's VerifyLeader may be satisfied by an answer to an
// older question, so a leader that was paused could pass it.
func (r *reader) confirm(term uint64) error {
	others, needed := r.electorate()
	if needed == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), roundTimeout)
	defer cancel()
	answers := make(chan error, len(others))
	for _, id := range others {
		if !r.tasks.start(func() { answers <- r.confirmWith(ctx, id, term) }) {
			answers <- errStopping
		}
	}
	var last error
	for range others {
		if last = <-answers; last == nil {
			needed--
		}
		if needed == 0 {
			return nil
		}
	}
	return fmt.Errorf("%w: term %d is not confirmed by %d more of the %d other voters: %w", oncelog.ErrUnavailable, term, needed, len(others), last)
}

// electorate is the other voters, and how many of them make a quorum together with
// this node.
func (r *reader) electorate() (others []uuid.UUID, needed int) {
	voters := r.group.voters()
	others = slices.DeleteFunc(slices.Clone(voters), func(id uuid.UUID) bool { return id == r.leadership.self })
	own := len(voters) - len(others)
	return others, len(voters)/2 + 1 - own
}

func (r *reader) confirmWith(ctx context.Context, id uuid.UUID, term uint64) error {
	reply, err := r.caller.post(ctx, id, methodConfirm, nil)
	if err != nil {
		return err
	}
	theirs, err := decodeWord(reply)
	if err == nil && theirs != term {
		err = fmt.Errorf("%w: node %s is in term %d", errNotLeader, id, theirs)
	}
	return err
}

// serveTerm serves methodConfirm.
func (r *reader) serveTerm(context.Context, []byte) ([]byte, error) {
	return encodeWord(r.group.CurrentTerm()), nil
}

// indexQuestion is the body of a methodIndex: the node that asks, 16 bytes, and the
// term that it is in, u64 big endian.
type indexQuestion struct {
	from uuid.UUID
	term uint64
}

func (q indexQuestion) encode() []byte { return binary.BigEndian.AppendUint64(q.from[:], q.term) }

// confirms tells whether the leader of a term and the voter that asks are a quorum
// that knows of no later term. The voter was in the leader's after its read had
// begun, and had not voted in a later one by then; nor has the leader. So whatever
// had been acknowledged when the read began was so in this term or before.
func (q indexQuestion) confirms(term uint64, electorate func() (others []uuid.UUID, needed int)) bool {
	if q.term != term {
		return false
	}
	others, needed := electorate()
	return needed <= 1 && slices.Contains(others, q.from)
}

// decodeIndexQuestion reports whether the body is a question: nodes of an earlier
// version send none.
func decodeIndexQuestion(b []byte) (q indexQuestion, ok bool) {
	if len(b) != len(q.from)+8 {
		return q, false
	}
	copy(q.from[:], b)
	q.term = binary.BigEndian.Uint64(b[len(q.from):])
	return q, true
}

func encodeWord(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func decodeWord(b []byte) (uint64, error) {
	if len(b) != 8 {
		return 0, fmt.Errorf("%w: %w: %d bytes", oncelog.ErrUnavailable, errBadReply, len(b))
	}
	return binary.BigEndian.Uint64(b), nil
}
