package loadgen

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/oncelog/oncelog"
)

// Load is one workload on its way to one log.
type Load struct {
	cfg       Config
	publisher Publisher
	catalogue *catalogue
	sequence  *sequence
	tally     *tally
	// ledger is nil unless Config.Verify.
	ledger *ledger
	// enough ends by Finish.
	enough context.Context
	finish context.CancelFunc
	// start and pacer are set by Run before its workers begin.
	start time.Time
	pacer *pacer
}

// New returns a load that is ready to run, once.
func New(cfg Config, publisher Publisher) (*Load, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	l := &Load{
		cfg:       cfg,
		publisher: publisher,
		catalogue: newCatalogue(cfg.Workload),
		sequence:  newSequence(cfg.Workload),
		tally:     newTally(),
	}
	l.enough, l.finish = context.WithCancel(context.Background())
	if cfg.Verify {
		l.ledger = newLedger()
	}
	return l, nil
}

// Finish makes Run send nothing new and return once all in flight is answered. It
// may be called at any time, from any goroutine, and again.
func (l *Load) Finish() { l.finish() }

// Run publishes the workload and reports how that went. It returns early when
// ctx ends, with the requests in flight cut off, or when the duration is over or
// Finish is called, with them answered; the report says which. It is called once.
func (l *Load) Run(ctx context.Context) Report {
	l.start = time.Now()
	l.pacer = newPacer(l.cfg.Rate, l.start)
	resentBefore, resentEventsBefore := l.publisher.Resent(), l.publisher.ResentEvents()
	refusedBefore := l.publisher.Refused()
	more, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(l.enough, cancel)()
	if l.cfg.Duration > 0 {
		more, cancel = context.WithTimeout(more, l.cfg.Duration)
		defer cancel()
	}

	stopProgress := l.reportProgress()
	var workers sync.WaitGroup
	for i := range l.cfg.Concurrency {
		workers.Go(func() { l.work(ctx, more, i) })
	}
	workers.Wait()
	stopProgress()

	r := l.tally.report(time.Since(l.start))
	r.Planned = l.cfg.Workload.Events
	r.Seed = l.cfg.Workload.Seed
	r.Resent += l.publisher.Resent() - resentBefore
	r.ResentEvents += l.publisher.ResentEvents() - resentEventsBefore
	r.Refused = l.publisher.Refused() - refusedBefore
	switch {
	case ctx.Err() != nil:
		r.Ended = Canceled
	case more.Err() != nil:
		r.Ended = TimeOver
	default:
		r.Ended = Complete
	}
	return r
}

// work sends batches until the sequence is at its end or more ends. Requests
// live as long as ctx.
func (l *Load) work(ctx, more context.Context, worker int) {
	indexes := make([]int64, 0, l.cfg.Batch)
	for {
		indexes = l.sequence.next(indexes[:0], l.cfg.Batch)
		if len(indexes) == 0 {
			return
		}
		events := l.catalogue.events(indexes)
		due, err := l.pacer.wait(more, len(events))
		if err != nil {
			return
		}
		l.deliver(ctx, worker, indexes, events, due)
	}
}

// deliver sends the events of some indexes until they are acknowledged, cannot
// be, or the patience is at its end.
func (l *Load) deliver(ctx context.Context, worker int, indexes []int64, events []oncelog.Event, due time.Time) {
	l.tally.begin(len(events))
	begin := time.Now()
	receipts, err := l.insist(ctx, events)
	end := time.Now()
	if err != nil {
		l.tally.giveUp(len(events))
	} else {
		l.tally.acknowledge(receipts, end.Sub(due))
	}
	if l.ledger != nil {
		l.ledger.record(indexes, receipts)
	}
	l.tellHistory(worker, begin, end, events, receipts, err)
}

// insist sends a request again and again, since sending again is always safe.
func (l *Load) insist(ctx context.Context, events []oncelog.Event) ([]oncelog.Receipt, error) {
	const firstWait, longestWait = 50 * time.Millisecond, 2 * time.Second
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Patience)
	defer cancel()
	unknown := false
	for wait := firstWait; ; wait = min(2*wait, longestWait) {
		receipts, err := l.send(ctx, events)
		if err == nil {
			return receipts, nil
		}
		kind := kindOf(err)
		l.tally.fail(kind.name)
		unknown = unknown || !kind.notApplied
		if kind.final || pause(ctx, wait) != nil {
			return nil, givenUp{error: err, unknown: unknown}
		}
		l.tally.resend(len(events))
	}
}

// send makes one request and checks that its answer is one to these events.
func (l *Load) send(ctx context.Context, events []oncelog.Event) ([]oncelog.Receipt, error) {
	receipts, err := l.publish(ctx, events)
	if err != nil {
		return nil, err
	}
	if len(receipts) != len(events) {
		return nil, fmt.Errorf("%w: %d receipts for %d events", errAnswer, len(receipts), len(events))
	}
	for i, r := range receipts {
		if r.Key != events[i].Key() || r.ID == 0 || (r.Status != oncelog.Stored && r.Status != oncelog.Duplicate) {
			return nil, fmt.Errorf("%w: receipt %+v for event %s/%s", errAnswer, r, events[i].Topic, events[i].EventID)
		}
	}
	return receipts, nil
}

func (l *Load) publish(ctx context.Context, events []oncelog.Event) ([]oncelog.Receipt, error) {
	if l.cfg.Batch > 1 {
		return l.publisher.PublishBatch(ctx, events)
	}
	receipt, err := l.publisher.Publish(ctx, events[0])
	return []oncelog.Receipt{receipt}, err
}

func (l *Load) tellHistory(worker int, begin, end time.Time, events []oncelog.Event, receipts []oncelog.Receipt, err error) {
	if l.cfg.History == nil {
		return
	}
	op := Operation{Worker: worker, Start: begin.Sub(l.start), End: end.Sub(l.start), Outcome: NotApplied}
	var failed givenUp
	if errors.As(err, &failed) && failed.unknown {
		op.Outcome = Unknown
	}
	for i := range events {
		op.Key = events[i].Key()
		if err == nil {
			op.Outcome, op.ID = Duplicate, receipts[i].ID
			if receipts[i].Status == oncelog.Stored {
				op.Outcome = Stored
			}
		}
		l.cfg.History(op)
	}
}
