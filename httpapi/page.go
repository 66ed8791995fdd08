package httpapi

import (
	"context"
	"fmt"
	"math"
	"strconv"

	"github.com/oncelog/oncelog"
)

// pageBytes is how much of a page is held in memory until it is known where the
// next one begins.
const pageBytes = 1 << 20

// page answers at most q.Limit events, with a link to those behind them. The link
// goes before the events, so the page is read to its end first. What is over
// pageBytes is then read a second time: what is stored never changes, so that
// is the same.
func (a *eventsAnswer) page(ctx context.Context, p params, q oncelog.Query, c oncelog.Consistency) error {
	room := claim{budget: a.server.memory}
	defer room.release()
	a.out.buf = append(a.out.buf, a.layout.open...)
	probe := q
	if probe.Limit < math.MaxInt {
		probe.Limit++
	}
	var last uint64
	count, more, holding := 0, false, true
	for record, err := range a.records(ctx, probe, c) {
		if err != nil {
			return err
		}
		if more = count == q.Limit; more {
			break
		}
		count++
		last = record.ID
		if holding = holding && len(a.out.buf) < pageBytes && room.raise(len(a.out.buf)) == nil; holding {
			a.append(&record)
		}
	}
	if more {
		a.out.w.Header()["Link"] = []string{p.next(q.Order, last)}
	}
	if !a.head && a.last != last {
		if err := a.rest(ctx, q, last); err != nil {
			return err
		}
	}
	a.finish()
	return nil
}

// rest streams the page's events from behind those held up to last. They are
// all on this node by now.
func (a *eventsAnswer) rest(ctx context.Context, q oncelog.Query, last uint64) error {
	q.Limit = 0
	if q.Order == oncelog.ByIDDescending {
		q.Before, q.After = a.last, last-1
	} else {
		q.After, q.Before = a.last, last+1
	}
	if err := a.stream(ctx, q, oncelog.Stale); err != nil {
		return err
	}
	if a.last != last {
		a.abort(ctx, fmt.Errorf("read up to event %d, then only up to %d", last, a.last))
	}
	return nil
}

// next is the link that leads to what follows the event last. It uses the
// parameters up.
func (p params) next(order oncelog.Order, last uint64) string {
	bound := "after"
	if order == oncelog.ByIDDescending {
		bound = "before"
	}
	p.values.Set(bound, strconv.FormatUint(last, 10))
	return "<" + eventsPath + "?" + p.values.Encode() + `>; rel="next"`
}
