package client

import (
	"bufio"
	"bytes"
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
	"github.com/oncelog/oncelog/httpapi/wire"
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
	// Leaving early ends the request.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	node, trial := r.client.rotation.next(time.Now())
	res, err := r.client.send(ctx, node, trial, request{
		method: http.MethodGet, path: "/events?" + parameters(&r.query, r.consistency), accept: "application/x-ndjson",
	})
	if err != nil {
		return true, err
	}
	defer func() { _ = res.Body.Close() }()
	var d wire.Decoder
	lines := r.client.lines.Get().(*bufio.Reader)
	defer r.client.lines.Put(lines)
	lines.Reset(res.Body)
	var line []byte
	for {
		if line, err = appendLine(line[:0], lines); err != nil {
			break
		}
		record, err := d.Record(line)
		if err != nil {
			return true, fmt.Errorf("client: %w", err)
		}
		r.passed(record.ID)
		if !yield(record, nil) {
			return false, nil
		}
	}
	if errors.Is(err, io.EOF) {
		return true, nil
	}
	return true, &transportError{cause: err, sent: true}
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

// lineBuffer is how much of a stream of events is read at once.
const lineBuffer = 64 << 10

// maxLineBytes bounds a line: the largest payload and the longest names.
const maxLineBytes = oncelog.MaxPayloadBytes + 16<<10

// appendLine appends a line without its line feed. io.EOF is the proper end of the
// stream; half a line is none.
func appendLine(dst []byte, src *bufio.Reader) ([]byte, error) {
	for {
		piece, err := src.ReadSlice('\n')
		dst = append(dst, piece...)
		switch {
		case err == nil:
			return bytes.TrimSuffix(dst, []byte{'\n'}), nil
		case errors.Is(err, io.EOF) && len(dst) > 0:
			return dst, io.ErrUnexpectedEOF
		case !errors.Is(err, bufio.ErrBufferFull):
			return dst, err
		case len(dst) > maxLineBytes:
			return dst, fmt.Errorf("%w: a line of more than %d bytes", wire.ErrAnswer, maxLineBytes)
		}
	}
}

// parameters writes a query as the API reads it.
func parameters(q *oncelog.Query, consistency oncelog.Consistency) string {
	v := url.Values{}
	set := func(name, value string, given bool) {
		if given {
			v.Set(name, value)
		}
	}
	for _, topic := range q.Topics {
		v.Add("topic", topic)
	}
	set("event_id", q.EventID, q.EventID != "")
	set("source", q.Source, q.Source != "")
	set("after", strconv.FormatUint(q.After, 10), q.After > 0)
	set("before", strconv.FormatUint(q.Before, 10), q.Before > 0)
	set("since", q.Since.UTC().Format(time.RFC3339Nano), !q.Since.IsZero())
	set("until", q.Until.UTC().Format(time.RFC3339Nano), !q.Until.IsZero())
	set("order", "-id", q.Order == oncelog.ByIDDescending)
	set("limit", strconv.Itoa(q.Limit), q.Limit > 0)
	set("consistency", consistency.String(), consistency != oncelog.Linearizable)
	return v.Encode()
}
