package loadgen

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"github.com/oncelog/oncelog"
)

// audit reads one node's events in id order and holds each against the ledger.
// The ledger's lock is held for as long as the audit lives.
type audit struct {
	catalogue *catalogue
	entries   []entry
	baseline  uint64
	// seen is, by event index, whether the event was found.
	seen []bool

	// first is the least id that should come; last the id that came last.
	first, last uint64
	records     int64
	gaps        int64
	// found, lost and so on count events of the load; others counts foreign
	// events, and news those of the load, past the baseline.
	found, lost, twice, wrongID, altered, faults int64
	news, others                                 uint64
	examples, gapExamples                        examples
}

// newAudit begins where the load's first event is, which is before the baseline
// if an earlier run published it.
func (l *Load) newAudit(baseline oncelog.Stats) *audit {
	first := baseline.Unique + 1
	for _, e := range l.ledger.entries {
		if e.id != 0 {
			first = min(first, e.id)
		}
	}
	return &audit{
		catalogue: l.catalogue, entries: l.ledger.entries, baseline: baseline.Unique,
		seen: make([]bool, len(l.ledger.entries)), first: first, last: first - 1,
	}
}

// read takes in all events from the first on, as the node itself holds them.
func (a *audit) read(ctx context.Context, r Reader) error {
	for record, err := range r.Events(ctx, oncelog.Query{After: a.first - 1}, oncelog.Stale) {
		if err != nil {
			return fmt.Errorf("after event %d: %w", a.last, err)
		}
		a.take(record)
	}
	return nil
}

// take holds one event against the ledger.
func (a *audit) take(r oncelog.Record) {
	a.records++
	if r.ID != a.last+1 {
		a.gaps++
		a.gapExamples.add("id %d follows %d", r.ID, a.last)
	}
	a.last = r.ID
	index, ours := a.catalogue.index(r.EventID)
	if !ours || index >= int64(len(a.entries)) || !a.entries[index].sent {
		if r.ID > a.baseline {
			a.others++
		}
		return
	}
	if r.ID > a.baseline {
		a.news++
	}
	switch want := a.catalogue.event(index); {
	case a.seen[index]:
		a.fault(&a.twice, "%s again at %d", r.EventID, r.ID)
	case a.entries[index].id != 0 && a.entries[index].id != r.ID:
		a.fault(&a.wrongID, "%s at %d, acknowledged at %d", r.EventID, r.ID, a.entries[index].id)
	case !sameEvent(want, r.Event):
		a.fault(&a.altered, "%s at %d", r.EventID, r.ID)
	default:
		a.found++
	}
	a.seen[index] = true
}

// finish counts what was acknowledged and did not come.
func (a *audit) finish() {
	for index, e := range a.entries {
		if e.id != 0 && !a.seen[index] {
			a.fault(&a.lost, "%s, acknowledged at %d, is lost", a.catalogue.eventID(int64(index)), e.id)
		}
	}
}

func (a *audit) fault(count *int64, format string, args ...any) {
	*count++
	a.faults++
	a.examples.add(format, args...)
}

// sameEvent reports whether what was read is what was sent.
func sameEvent(want, got oncelog.Event) bool {
	return want.Key() == got.Key() && want.Source == got.Source &&
		want.Timestamp.Equal(got.Timestamp) && bytes.Equal(want.Payload, got.Payload)
}

// examples are the first few faults of a kind, in words.
type examples []string

func (e *examples) add(format string, args ...any) {
	const few = 3
	if len(*e) < few {
		*e = append(*e, fmt.Sprintf(format, args...))
	}
}

// String follows a sentence, or is "".
func (e examples) String() string {
	if len(e) == 0 {
		return ""
	}
	return ": " + strings.Join(e, "; ")
}
