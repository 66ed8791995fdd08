package httpapi_test

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/httpapi"
	"github.com/oncelog/oncelog/httpapi/client"
)

// nullLog takes everything and keeps nothing, so that only the way is measured.
type nullLog struct {
	fakeLog
	last   atomic.Uint64
	record oncelog.Record
}

func (l *nullLog) Publish(_ context.Context, events []oncelog.Event) ([]oncelog.Receipt, error) {
	receipts := make([]oncelog.Receipt, len(events))
	last := l.last.Add(uint64(len(events)))
	for i := range events {
		receipts[i] = oncelog.Receipt{Key: events[i].Key(), Status: oncelog.Stored, ID: last - uint64(len(events)-i-1)}
	}
	return receipts, nil
}

func (l *nullLog) Events(_ context.Context, q oncelog.Query, _ oncelog.Consistency) iter.Seq2[oncelog.Record, error] {
	return func(yield func(oncelog.Record, error) bool) {
		record := l.record
		record.ID = q.After
		for n := 0; (q.Limit == 0 || n < q.Limit) && record.ID+1 != q.Before; n++ {
			record.ID++
			if !yield(record, nil) {
				return
			}
		}
	}
}

func serveNull(b *testing.B) *client.Client {
	b.Helper()
	log := &nullLog{record: oncelog.Record{Event: benchEvent(0), ProcessedAt: time.Unix(1766126176, 123456789)}}
	s, err := httpapi.New(httpapi.Config{Log: log, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(b, err)
	_, l := listen(b, new(fakeLog))
	done := make(chan error)
	go func() { done <- s.Serve(l) }()
	c, err := client.New([]string{l.Addr().String()})
	require.NoError(b, err)
	b.Cleanup(func() {
		c.Close()
		require.NoError(b, s.Shutdown(context.Background()))
		require.NoError(b, <-done)
	})
	return c
}

func benchEvent(i int) oncelog.Event {
	return oncelog.Event{
		Topic: "order", EventID: fmt.Sprintf("d70a57dd-d445-4138-ba76-%012d", i), Source: "bench", Timestamp: time.Unix(1766126176, 0).UTC(),
		Payload: []byte(`{"message":"a message of ordinary length, as people write them","value":100,"tags":["alpha","beta","gamma"]}`),
	}
}

// BenchmarkHandler measures one publication from the request's text to the
// answer's, without net/http's connections.
func BenchmarkHandler(b *testing.B) {
	s, err := httpapi.New(httpapi.Config{Log: new(nullLog), Logger: slog.New(slog.DiscardHandler)})
	require.NoError(b, err)
	handler := s.Handler()
	w := &discard{header: http.Header{}}
	body := strings.NewReader(good)
	r, err := http.NewRequestWithContext(b.Context(), http.MethodPost, "/publish", body)
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		body.Reset(good)
		handler.ServeHTTP(w, r)
	}
	require.Zero(b, w.failures)
}

// BenchmarkPage measures one read of one event, without net/http's connections.
func BenchmarkPage(b *testing.B) {
	log := &nullLog{record: oncelog.Record{Event: benchEvent(0), ProcessedAt: time.Unix(1766126176, 123456789)}}
	s, err := httpapi.New(httpapi.Config{Log: log, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(b, err)
	handler := s.Handler()
	for name, target := range map[string]string{
		"topic": "/events?topic=order&limit=1&consistency=stale",
		"id":    "/events/17",
	} {
		b.Run(name, func(b *testing.B) {
			r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, target, http.NoBody)
			require.NoError(b, err)
			w := &discard{header: http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.header)
				handler.ServeHTTP(w, r)
			}
			require.Zero(b, w.failures)
		})
	}
}

// discard is a response that nobody reads.
type discard struct {
	header   http.Header
	failures int
}

func (d *discard) SetWriteDeadline(time.Time) error { return nil }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(status int) {
	if status != http.StatusOK {
		d.failures++
	}
}

// BenchmarkPublish measures client, loopback and server together.
func BenchmarkPublish(b *testing.B) {
	c := serveNull(b)
	e := benchEvent(1)
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := c.Publish(b.Context(), e); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

func BenchmarkPublishBatch1000(b *testing.B) {
	c := serveNull(b)
	events := make([]oncelog.Event, 1000)
	for i := range events {
		events[i] = benchEvent(i)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.PublishBatch(b.Context(), events); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*len(events))/b.Elapsed().Seconds(), "events/s")
}

func BenchmarkEvents(b *testing.B) {
	c := serveNull(b)
	const events = 10_000
	for b.Loop() {
		n := 0
		for _, err := range c.Events(b.Context(), oncelog.Query{Limit: events}, oncelog.Stale) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		require.Equal(b, events, n)
	}
	b.ReportMetric(float64(b.N*events)/b.Elapsed().Seconds(), "events/s")
}
