package node

import (
	"context"
	"iter"
	"time"

	"github.com/oncelog/oncelog"
)

// Events streams the stored events that q selects, in bounded memory. The last
// event that can come is fixed when the stream begins. An error ends it; it is
// oncelog.ErrUnavailable when no quorum made it linearizable in time.
func (n *Node) Events(ctx context.Context, q oncelog.Query, c oncelog.Consistency) iter.Seq2[oncelog.Record, error] {
	return func(yield func(oncelog.Record, error) bool) {
		if err := n.prepare(ctx, c); err != nil {
			yield(oncelog.Record{}, err)
			return
		}
		for r, err := range n.group.store.Events(q) {
			if err == nil {
				err = context.Cause(ctx)
			}
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}

// Stats returns the state of the log in numbers.
func (n *Node) Stats(ctx context.Context, c oncelog.Consistency) (oncelog.Stats, error) {
	if err := n.prepare(ctx, c); err != nil {
		return oncelog.Stats{}, err
	}
	s, digest := n.group.fsm.State()
	stats := oncelog.Stats{
		Received:     s.Received,
		Unique:       s.Unique,
		Duplicates:   s.Duplicates,
		Conflicts:    s.Conflicts,
		Topics:       s.Topics,
		AppliedIndex: s.Applied.Index,
		Term:         n.group.CurrentTerm(),
		Digest:       digest.String(),
		Node:         n.config.Name,
		Uptime:       time.Since(n.started),
	}
	if leader, known, _ := n.leadership.leader(); known {
		stats.Leader = n.nameOf(leader)
	}
	return stats, nil
}

// prepare makes this node recent enough for a read.
func (n *Node) prepare(ctx context.Context, c oncelog.Consistency) error {
	if c == oncelog.Stale {
		return nil
	}
	ctx, cancel := n.bound(ctx)
	defer cancel()
	return n.reader.catchUp(ctx)
}

// service is the node behind its HTTP API, whose events are valid already.
type service struct{ *Node }

// Admit implements the API's log.
func (s service) Admit(size int64, timeout time.Duration) error { return s.admit(size, timeout) }

// Publish implements the API's log.
func (s service) Publish(ctx context.Context, events []oncelog.Event) ([]oncelog.Receipt, error) {
	return s.publish(ctx, events)
}

// Enqueue implements the API's log.
func (s service) Enqueue(_ context.Context, events []oncelog.Event) error {
	return s.enqueue(events)
}
