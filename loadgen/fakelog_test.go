package loadgen

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"iter"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/oncelog/oncelog"
)

// fakeLog is a log that does as it should, but for what its hooks change.
type fakeLog struct {
	// before is called with each request; an error refuses it, unless applied
	// says that it took hold all the same.
	before func(ctx context.Context, request int64) (applied bool, err error)
	// receipt may change an answer.
	receipt  func(*oncelog.Receipt)
	requests atomic.Int64
	resent   atomic.Int64
	refused  atomic.Int64

	mu       sync.Mutex // guards all below
	records  []oncelog.Record
	ids      map[oncelog.Key]uint64
	received uint64
	applied  uint64
}

func newFakeLog() *fakeLog { return &fakeLog{ids: make(map[oncelog.Key]uint64)} }

func (f *fakeLog) Publish(ctx context.Context, e oncelog.Event) (oncelog.Receipt, error) {
	receipts, err := f.PublishBatch(ctx, []oncelog.Event{e})
	if err != nil {
		return oncelog.Receipt{}, err
	}
	return receipts[0], nil
}

func (f *fakeLog) PublishBatch(ctx context.Context, events []oncelog.Event) ([]oncelog.Receipt, error) {
	var applied bool
	var failure error
	if f.before != nil {
		if applied, failure = f.before(ctx, f.requests.Add(1)); failure != nil && !applied {
			return nil, failure
		}
	}
	receipts := f.apply(events)
	if failure != nil {
		return nil, failure
	}
	return receipts, nil
}

func (f *fakeLog) apply(events []oncelog.Event) []oncelog.Receipt {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.applied++
	f.received += uint64(len(events))
	var receipts []oncelog.Receipt
	for _, e := range events {
		r := oncelog.Receipt{Key: e.Key(), Status: oncelog.Duplicate, ID: f.ids[e.Key()]}
		if r.ID == 0 {
			r.Status, r.ID = oncelog.Stored, uint64(len(f.records)+1)
			f.records = append(f.records, oncelog.Record{ID: r.ID, Event: e})
			f.ids[e.Key()] = r.ID
		} else {
			r.Conflict = !bytes.Equal(e.Payload, f.records[r.ID-1].Payload)
		}
		if f.receipt != nil {
			f.receipt(&r)
		}
		receipts = append(receipts, r)
	}
	return receipts
}

func (f *fakeLog) Resent() int64 { return f.resent.Load() }

func (f *fakeLog) Refused() int64 { return f.refused.Load() }

// ResentEvents takes each request for one of one event.
func (f *fakeLog) ResentEvents() int64 { return f.resent.Load() }

func (f *fakeLog) Stats(context.Context, oncelog.Consistency) (oncelog.Stats, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	unique := uint64(len(f.records))
	return oncelog.Stats{
		Received: f.received, Unique: unique, Duplicates: f.received - unique, AppliedIndex: f.applied,
		Digest: fmt.Sprintf("sha256:%x", sha256.Sum256(fmt.Append(nil, unique))),
	}, nil
}

func (f *fakeLog) Events(_ context.Context, q oncelog.Query, _ oncelog.Consistency) iter.Seq2[oncelog.Record, error] {
	f.mu.Lock()
	records := slices.Clone(f.records)
	f.mu.Unlock()
	return func(yield func(oncelog.Record, error) bool) {
		left := q.Limit
		for _, r := range records {
			if r.ID <= q.After || len(q.Topics) > 0 && !slices.Contains(q.Topics, r.Topic) {
				continue
			}
			if left--; !yield(r, nil) || left == 0 {
				return
			}
		}
	}
}

// crookedNode reads a good log and tells it wrongly.
type crookedNode struct {
	*fakeLog
	bendStats  func(*oncelog.Stats)
	bendEvents func([]oncelog.Record) []oncelog.Record
	failEvents error
	failStats  error
}

func (n *crookedNode) Stats(ctx context.Context, c oncelog.Consistency) (oncelog.Stats, error) {
	stats, err := n.fakeLog.Stats(ctx, c)
	if n.bendStats != nil {
		n.bendStats(&stats)
	}
	if n.failStats != nil {
		return oncelog.Stats{}, n.failStats
	}
	return stats, err
}

func (n *crookedNode) Events(ctx context.Context, q oncelog.Query, c oncelog.Consistency) iter.Seq2[oncelog.Record, error] {
	var records []oncelog.Record
	for r, err := range n.fakeLog.Events(ctx, q, c) {
		if err != nil {
			panic(err) // The log that is bent is a good one.
		}
		records = append(records, r)
	}
	if n.bendEvents != nil {
		records = n.bendEvents(records)
	}
	return func(yield func(oncelog.Record, error) bool) {
		for _, r := range records {
			if !yield(r, nil) {
				return
			}
		}
		if n.failEvents != nil {
			yield(oncelog.Record{}, n.failEvents)
		}
	}
}
