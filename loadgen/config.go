package loadgen

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/oncelog/oncelog"
)

// Publisher is a client of the log, which sends a request again where that may
// help. Its methods are called by many goroutines at once.
type Publisher interface {
	Publish(ctx context.Context, e oncelog.Event) (oncelog.Receipt, error)
	PublishBatch(ctx context.Context, events []oncelog.Event) ([]oncelog.Receipt, error)
	// Resent counts the requests sent again since the client was made, and
	// ResentEvents the events in them, each time.
	Resent() int64
	ResentEvents() int64
	// Refused counts the answers that a node's queue is full.
	Refused() int64
}

// Reader reads from one node.
type Reader interface {
	Events(ctx context.Context, q oncelog.Query, c oncelog.Consistency) iter.Seq2[oncelog.Record, error]
	Stats(ctx context.Context, c oncelog.Consistency) (oncelog.Stats, error)
}

// Node is one node to read back from.
type Node struct {
	// Name is what the verdict calls it.
	Name   string
	Reader Reader
}

// Config says how a workload is published. It does not change after [New].
type Config struct {
	Workload Workload
	// Concurrency is the number of requests in flight at most, 1 to 10,000.
	Concurrency int
	// Batch is the number of events a request, 1 to oncelog.MaxBatchEvents.
	Batch int
	// Rate is the number of events per second to aim at; 0 means no limit.
	// With a rate, a request's latency counts from when it was due, so that a
	// log that stalls is charged for all who would have come meanwhile.
	Rate float64
	// Duration ends the run early; 0 means that the workload ends it.
	Duration time.Duration
	// Patience is how long a request is tried before its events are given up.
	Patience time.Duration
	// Verify keeps what Load.Verify needs: 16 bytes a unique event.
	Verify bool
	// Settle is how long Load.Verify waits for the nodes to be level.
	Settle time.Duration
	// Progress, if set, is called each ProgressInterval and at the end, never
	// twice at once.
	Progress         func(Progress)
	ProgressInterval time.Duration
	// History, if set, is told each event's operation as it ends, by many
	// goroutines at once.
	History func(Operation)
}

// DefaultConfig publishes [DefaultWorkload], 64 requests of 100 events at once.
func DefaultConfig() Config {
	return Config{
		Workload:         DefaultWorkload(),
		Concurrency:      64,
		Batch:            100,
		Patience:         time.Minute,
		Settle:           30 * time.Second,
		ProgressInterval: time.Second,
	}
}

// maxConcurrency bounds the requests in flight.
const maxConcurrency = 10_000

func (c Config) validate() error {
	// eventOverhead bounds what an event takes beside its payload, in bytes.
	const eventOverhead = 512
	switch {
	case c.Concurrency < 1 || c.Concurrency > maxConcurrency:
		return fmt.Errorf("%w: a concurrency of %d; 1 to %d are possible", errWorkload, c.Concurrency, maxConcurrency)
	case c.Batch < 1 || c.Batch > oncelog.MaxBatchEvents:
		return fmt.Errorf("%w: batches of %d; 1 to %d are possible", errWorkload, c.Batch, oncelog.MaxBatchEvents)
	case c.Batch*(c.Workload.PayloadBytes+eventOverhead) > oncelog.MaxBodyBytes:
		return fmt.Errorf("%w: batches of %d events with %d bytes each do not fit in a request of %d",
			errWorkload, c.Batch, c.Workload.PayloadBytes, oncelog.MaxBodyBytes)
	case !(c.Rate >= 0 && c.Rate <= 1e9):
		return fmt.Errorf("%w: a rate of %v events per second", errWorkload, c.Rate)
	case c.Duration < 0:
		return fmt.Errorf("%w: a duration of %v", errWorkload, c.Duration)
	case c.Duration == 0 && c.Workload.Events == 0:
		return fmt.Errorf("%w: neither a number of events nor a duration ends it", errWorkload)
	case c.Patience <= 0 || c.Settle <= 0 || c.ProgressInterval <= 0:
		return fmt.Errorf("%w: Patience, Settle and ProgressInterval must be more than 0", errWorkload)
	}
	return c.Workload.validate()
}

// Outcome is what a publisher knows of an event once it has ended its attempts.
type Outcome uint8

// What a publisher can know of an event.
const (
	// Stored and Duplicate are acknowledged.
	Stored Outcome = iota + 1
	Duplicate
	// NotApplied: certainly not stored.
	NotApplied
	// Unknown: it may be stored, now or later.
	Unknown
)

// Operation is the publishing of one event, for a checker of linearizability.
// Where a client sent the event again in between, a Duplicate may be of its own
// first attempt.
type Operation struct {
	// Worker is the publisher, 0 to Concurrency-1, which does one thing at once.
	Worker int
	Key    oncelog.Key
	// Start and End count from the begin of the run, by a monotonic clock.
	Start   time.Duration
	End     time.Duration
	Outcome Outcome
	// ID is the stored event's, where acknowledged.
	ID uint64
}
