package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/oncelog/oncelog"
)

// Events yields the events that match a query. An answer that breaks off is taken
// up behind the last event that came, on the next node: no event comes twice
// and none is left out. An error ends the sequence.
func (c *Client) Events(ctx context.Context, q oncelog.Query, consistency oncelog.Consistency) iter.Seq2[oncelog.Record, error] {
	return func(yield func(oncelog.Record, error) bool) {
		r := &reading{client: c, query: q, consistency: consistency}
		b := backoff{targets: len(c.rotation.nodes)}
		for {
			goOn, err := r.attempt(ctx, yield)
			if !goOn || err == nil {
				return
			}
			if r.progress {
				b, r.progress = backoff{targets: len(c.rotation.nodes)}, false
			}
			if c.retry && retryable(err) && b.wait(ctx, err) == nil {
				c.countResent(request{})
				continue
			}
			var h history
			yield(oncelog.Record{}, h.conclude(request{}, err))
			return
		}
	}
}

// reading is how far one query has come.
type reading struct {
	client      *Client
	query       oncelog.Query
	consistency oncelog.Consistency
	progress    bool
	// whole says that the query's limit has been reached.
	whole bool
}

// attempt reads from one node. It answers false once yield has.
func (r *reading) attempt(ctx context.Context, yield func(oncelog.Record, error) bool) (goOn bool, err error) {
	if r.whole {
		return true, nil
	}
	node, trial := r.client.rotation.next(time.Now())
	res, err := r.client.send(ctx, node, trial, request{
		method: http.MethodGet, path: pathOf(&r.query, r.consistency), accept: "application/x-ndjson",
	})
	if err != nil {
		return true, err
	}
	// Leaving early ends the request.
	defer func() { _ = res.Body.Close() }()
	stream := r.client.lines.Get().(*lines)
	defer r.client.lines.Put(stream)
	stream.reset(res.Body)
	for {
		line, err := stream.next()
		if errors.Is(err, io.EOF) {
			return true, nil
		}
		if err != nil {
			return true, brokenOff(ctx, err)
		}
		record, err := stream.decoder.Record(line)
		if err != nil {
			return true, fmt.Errorf("client: %w", err)
		}
		r.passed(record.ID)
		if !yield(record, nil) {
			return false, nil
		}
	}
}

// passed moves the query on behind an event.
func (r *reading) passed(id uint64) {
	r.progress = true
	if r.query.Order == oncelog.ByIDDescending {
		r.query.Before = id
	} else {
		r.query.After = id
	}
	if r.query.Limit > 0 {
		r.query.Limit--
		r.whole = r.query.Limit == 0
	}
}

// pathOf is where the API answers a query.
func pathOf(q *oncelog.Query, consistency oncelog.Consistency) string {
	path, separator := []byte("/events"), byte('?')
	set := func(name, value string) {
		path = append(path, separator)
		path = append(path, name...)
		path = append(path, '=')
		path = append(path, url.QueryEscape(value)...)
		separator = '&'
	}
	number := func(name string, n uint64) {
		if n > 0 {
			set(name, strconv.FormatUint(n, 10))
		}
	}
	text := func(name, value string) {
		if value != "" {
			set(name, value)
		}
	}
	instant := func(name string, t time.Time) {
		if !t.IsZero() {
			set(name, t.UTC().Format(time.RFC3339Nano))
		}
	}
	number("after", q.After)
	number("before", q.Before)
	if consistency != oncelog.Linearizable {
		set("consistency", consistency.String())
	}
	text("event_id", q.EventID)
	number("limit", uint64(max(q.Limit, 0)))
	if q.Order == oncelog.ByIDDescending {
		set("order", "-id")
	}
	instant("since", q.Since)
	text("source", q.Source)
	for _, topic := range q.Topics {
		set("topic", topic)
	}
	instant("until", q.Until)
	return string(path)
}
