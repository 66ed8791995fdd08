package httpapi

import (
	"context"
	"iter"
	"time"

	"github.com/oncelog/oncelog"
)

// Log is the node behind the API. All methods may be called concurrently, and
// return soon after their context ends. Errors are those of package oncelog, or
// wrap them; any other is answered as an internal failure with its outcome
// unknown.
type Log interface {
	Publisher
	Reader
	Operator
}

// Publisher takes valid events.
//
// The slice of events is the caller's again once a call has returned, whatever it
// returned, but a call may have cleared it: it may hold the events in another form.
// The strings and payloads in it never change and may be kept, but share memory with
// their neighbours, see [wire.Decoder].
type Publisher interface {
	// Admit tells early whether a publication of about so many bytes, 0 where that is
	// not known, that has so much time would be taken now, so that nobody reads and
	// decodes a large one for nothing: nil, an [oncelog.ErrQueueFull] or another of
	// Publish's errors. It never waits.
	Admit(size int64, timeout time.Duration) error
	// Publish answers once a quorum has all events on disk: one receipt per event,
	// in order. An error says that nothing was stored, or, as
	// [oncelog.ErrOutcomeUnknown], that nobody knows.
	Publish(ctx context.Context, events []oncelog.Event) ([]oncelog.Receipt, error)
	// Enqueue answers once the events wait in memory: they may still be lost.
	Enqueue(ctx context.Context, events []oncelog.Event) error
}

// Reader answers questions about what is stored.
type Reader interface {
	// Events yields the records that match, in the order asked for. An error ends
	// the sequence. The record is the consumer's until the next one is yielded.
	Events(ctx context.Context, q oncelog.Query, c oncelog.Consistency) iter.Seq2[oncelog.Record, error]
	// Stats is the state of the log in numbers.
	Stats(ctx context.Context, c oncelog.Consistency) (oncelog.Stats, error)
}

// Operator is for those who run the cluster.
type Operator interface {
	// Cluster is the group as this node sees it.
	Cluster(ctx context.Context) (oncelog.Cluster, error)
	// Ready is nil when the node knows a leader and is level with it, else the
	// reason, in words for people.
	Ready(ctx context.Context) error
	// TransferLeadership hands the leader's part to the node of that name, or to
	// any where it is "", and answers the new leader's name once that is done.
	TransferLeadership(ctx context.Context, to string) (leader string, err error)
	// Leave removes a node, by its name or id, from the cluster for good; with
	// force, also one that does not answer. It is an [oncelog.ErrRefused] where
	// that would cost the cluster its majority.
	Leave(ctx context.Context, node string, force bool) (oncelog.Departure, error)
}
