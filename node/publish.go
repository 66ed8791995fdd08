package node

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/httpapi/wire"
	"github.com/oncelog/oncelog/raftfsm"
	"github.com/oncelog/oncelog/raftfsm/store"
)

// Publish stores events and returns a receipt for each, in order, once a quorum
// has them on disk. Payloads may have white space between their tokens; it is
// not kept. At most oncelog.MaxBatchEvents and oncelog.MaxBodyBytes at once.
//
// The errors are those of package oncelog: ErrInvalid and ErrTooLarge before
// anything was done, ErrQueueFull, ErrDiskFull, ErrNotApplied, and ErrOutcomeUnknown, after
// which sending the same events again is safe. Publish waits at most until ctx
// ends or the configured RequestTimeout has passed.
func (n *Node) Publish(ctx context.Context, events ...oncelog.Event) ([]oncelog.Receipt, error) {
	if err := checkBatch(events); err != nil {
		return nil, err
	}
	checked := make([]oncelog.Event, len(events))
	for i, e := range events {
		compact, err := wire.CompactPayload(e.Payload)
		if err != nil {
			return nil, fmt.Errorf("event %d: %w", i, err)
		}
		e.Payload = compact
		if err := e.Validate(); err != nil {
			return nil, fmt.Errorf("event %d: %w", i, err)
		}
		checked[i] = e
	}
	return n.publish(ctx, checked)
}

func checkBatch(events []oncelog.Event) error {
	size := 0
	for i := range events {
		size += len(events[i].Payload)
	}
	switch {
	case len(events) == 0:
		return fmt.Errorf("%w: no events", oncelog.ErrInvalid)
	case len(events) > oncelog.MaxBatchEvents:
		return fmt.Errorf("%d events: %w (at most %d)", len(events), oncelog.ErrTooLarge, oncelog.MaxBatchEvents)
	case size > oncelog.MaxBodyBytes:
		return fmt.Errorf("%d bytes of payload: %w (at most %d)", size, oncelog.ErrTooLarge, oncelog.MaxBodyBytes)
	}
	return nil
}

// publish is Publish of valid events. It lets go of them: they are held once while
// they wait, in the form that is stored.
func (n *Node) publish(ctx context.Context, events []oncelog.Event) ([]oncelog.Receipt, error) {
	ctx, cancel := n.bound(ctx)
	defer cancel()
	deadline, _ := ctx.Deadline()
	pieces, receipts := cut(events, deadline), unanswered(events)
	clear(events)
	if err := n.take(pieces); err != nil {
		return nil, err
	}
	outcomes := make([]store.Outcome, 0, len(receipts))
	var failed []error
	for _, a := range n.proposer.wait(ctx, pieces) {
		if a.err != nil {
			failed = append(failed, a.err)
		}
		outcomes = append(outcomes, a.outcomes...)
	}
	if len(failed) > 0 {
		return nil, outcomeOfAll(failed, len(pieces))
	}
	for i, o := range outcomes {
		settle(&receipts[i], o)
	}
	return receipts, nil
}

// outcomeOfAll is the outcome of a request of which some pieces failed.
func outcomeOfAll(failed []error, pieces int) error {
	for _, err := range failed {
		if errors.Is(err, oncelog.ErrOutcomeUnknown) {
			return err
		}
	}
	if len(failed) < pieces {
		return fmt.Errorf("%w: a part of the events is stored", oncelog.ErrOutcomeUnknown)
	}
	return failed[0]
}

// because is an error of a kind with its cause, which may be of that kind already.
func because(kind, cause error) error {
	if errors.Is(cause, kind) {
		return cause
	}
	return fmt.Errorf("%w: %w", kind, cause)
}

// enqueue takes valid events and does not wait for them.
func (n *Node) enqueue(events []oncelog.Event) error {
	return n.take(cut(events, time.Now().Add(n.config.RequestTimeout)))
}

// take is the door: beyond it, events wait in memory.
func (n *Node) take(pieces []*piece) error {
	if err := n.space.err(); err != nil {
		return err
	}
	return n.proposer.enqueue(pieces)
}

// admit is the door seen from further away.
func (n *Node) admit(size int64, timeout time.Duration) error {
	if err := n.space.err(); err != nil {
		return err
	}
	return n.proposer.admits(size, time.Now().Add(timeout))
}

// bound gives a context without a nearer deadline the configured one.
func (n *Node) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= n.config.RequestTimeout {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, n.config.RequestTimeout)
}

// cut encodes events, once and for all nodes, into pieces that fit a command.
func cut(events []oncelog.Event, deadline time.Time) []*piece {
	var pieces []*piece
	current := &piece{}
	for i := range events {
		if len(current.records) > 0 && len(current.records)+recordSize(&events[i]) > raftfsm.MaxCommandBytes {
			pieces = append(pieces, current)
			current = &piece{}
		}
		if current.records == nil {
			current.records = make([]byte, 0, capacity(events[i:]))
		}
		current.records = store.AppendRecord(current.records, &events[i])
		current.events++
	}
	pieces = append(pieces, current)
	for _, c := range pieces {
		c.deadline = deadline
		c.answer = make(chan pieceAnswer, 1)
	}
	return pieces
}

// capacity is at least the size of the first piece of events.
func capacity(events []oncelog.Event) (size int) {
	for i := range events {
		next := recordSize(&events[i])
		if i > 0 && size+next > raftfsm.MaxCommandBytes {
			break
		}
		size += next
	}
	return size
}

// recordOverhead is at least what the stored form adds to an event's fields.
const recordOverhead = 32

func recordSize(e *oncelog.Event) int {
	return recordOverhead + len(e.Topic) + len(e.EventID) + len(e.Source) + len(e.Payload)
}

// unanswered returns a receipt for each event, with a copy of its key, which would
// otherwise hold the memory of the whole request.
func unanswered(events []oncelog.Event) []oncelog.Receipt {
	size := 0
	for i := range events {
		size += len(events[i].Topic) + len(events[i].EventID)
	}
	var keys strings.Builder
	keys.Grow(size)
	keep := func(s string) string {
		start := keys.Len()
		keys.WriteString(s)
		return keys.String()[start:]
	}
	receipts := make([]oncelog.Receipt, len(events))
	for i := range events {
		receipts[i].Key = oncelog.Key{Topic: keep(events[i].Topic), EventID: keep(events[i].EventID)}
	}
	return receipts
}

func settle(r *oncelog.Receipt, o store.Outcome) {
	r.Status, r.ID = oncelog.Stored, o.ID
	if o.Duplicate {
		r.Status, r.Conflict = oncelog.Duplicate, o.Conflict
	}
}
