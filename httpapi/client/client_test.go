package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/httpapi/client"
	"github.com/oncelog/oncelog/httpapi/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func event(id string) oncelog.Event {
	return oncelog.Event{
		Topic: "order", EventID: id, Source: "test", Timestamp: time.Date(2025, 12, 19, 6, 36, 16, 5, time.UTC), Payload: []byte(`{"v":1}`),
	}
}

// node is a scripted node: each request takes the next of its answers, and the
// last one again and again.
type node struct {
	*httptest.Server
	requests atomic.Int64
}

type step func(w http.ResponseWriter, r *http.Request)

func newNode(t *testing.T, steps ...step) *node {
	t.Helper()
	n := new(node)
	n.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i := min(int(n.requests.Add(1)), len(steps)) - 1
		steps[i](w, r)
	}))
	t.Cleanup(n.Close)
	return n
}

func newClient(t *testing.T, targets []string, options ...client.Option) *client.Client {
	t.Helper()
	c, err := client.New(targets, options...)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// stores answers that the event in the request is stored as id.
func stores(id uint64) step {
	return func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		var d wire.Decoder
		e, err := d.Event(text)
		if err != nil {
			fails(err)(w, r)
			return
		}
		_, _ = w.Write(wire.AppendReceipt(nil, &oncelog.Receipt{Key: e.Key(), Status: oncelog.Stored, ID: id}))
	}
}

func says(text string) step {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
}

func fails(err error) step {
	return func(w http.ResponseWriter, _ *http.Request) {
		p := wire.ProblemOf(err)
		w.WriteHeader(p.Status)
		_, _ = w.Write(wire.AppendProblem(nil, &p))
	}
}

// drops takes the request and cuts the connection.
func drops(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// nowhere is an address where nobody listens.
func nowhere(t *testing.T) string {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().String()
}

func TestResends(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]step{
		"queue full": fails(oncelog.ErrQueueFull), "no quorum": fails(oncelog.ErrNotApplied), "unknown": fails(oncelog.ErrOutcomeUnknown),
		"cut": drops,
		"half an answer": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, `{"status"`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t, first, first, stores(7))
			c := newClient(t, []string{n.URL})
			receipt, err := c.Publish(t.Context(), event("a"))
			require.NoError(t, err)
			require.Equal(t, oncelog.Receipt{Key: oncelog.Key{Topic: "order", EventID: "a"}, Status: oncelog.Stored, ID: 7}, receipt)
			require.Equal(t, int64(3), n.requests.Load())
			require.Equal(t, int64(2), c.Resent())
			require.Equal(t, int64(2), c.ResentEvents())
		})
	}
}

func TestGoesOnToTheNextTarget(t *testing.T) {
	t.Parallel()
	alive := newNode(t, stores(1))
	c := newClient(t, []string{nowhere(t), alive.URL, nowhere(t)})
	for range 9 {
		_, err := c.Publish(t.Context(), event("a"))
		require.NoError(t, err)
	}
	require.Equal(t, int64(9), alive.requests.Load())
	require.Positive(t, c.Resent())
}

func TestSpreads(t *testing.T) {
	t.Parallel()
	a, b := newNode(t, stores(1)), newNode(t, stores(1))
	c := newClient(t, []string{a.URL, b.URL})
	for range 10 {
		_, err := c.Publish(t.Context(), event("a"))
		require.NoError(t, err)
	}
	require.Equal(t, int64(5), a.requests.Load())
	require.Equal(t, int64(5), b.requests.Load())
	require.Zero(t, c.Resent())
}

func TestDoesNotResendWhatIsAtFault(t *testing.T) {
	t.Parallel()
	for _, want := range []error{oncelog.ErrInvalid, oncelog.ErrTooLarge, oncelog.ErrDiskFull, wire.ErrNotJSON} {
		n := newNode(t, fails(fmt.Errorf("said the node: %w", want)))
		c := newClient(t, []string{n.URL})
		_, err := c.Publish(t.Context(), event("a"))
		require.ErrorIs(t, err, want)
		require.Equal(t, int64(1), n.requests.Load())
	}
}

func TestWithoutRetries(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		step step
		want error
	}{
		{fails(oncelog.ErrQueueFull), oncelog.ErrQueueFull},
		{fails(oncelog.ErrNotApplied), oncelog.ErrNotApplied},
		{fails(oncelog.ErrOutcomeUnknown), oncelog.ErrOutcomeUnknown},
		{fails(errors.New("what is not in the vocabulary")), oncelog.ErrOutcomeUnknown},
		{drops, oncelog.ErrOutcomeUnknown},
		{says("hello"), oncelog.ErrOutcomeUnknown},
		{says(`{"status":"stored","topic":"other","event_id":"a","id":1}`), oncelog.ErrOutcomeUnknown},
		{func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) }, oncelog.ErrOutcomeUnknown},
	} {
		n := newNode(t, c.step)
		cl := newClient(t, []string{n.URL}, client.WithoutRetries())
		_, err := cl.Publish(t.Context(), event("a"))
		require.ErrorIs(t, err, c.want)
		require.Equal(t, int64(1), n.requests.Load())
		require.Zero(t, cl.Resent())
	}
	c := newClient(t, []string{nowhere(t)}, client.WithoutRetries())
	_, err := c.Publish(t.Context(), event("a"))
	require.ErrorIs(t, err, oncelog.ErrNotApplied, "nothing was sent")
	_, err = c.Stats(t.Context(), oncelog.Stale)
	require.ErrorIs(t, err, oncelog.ErrUnavailable)
}

// TestOneUnknownAttemptMakesAllUnknown: that the last attempt was not applied
// says nothing of the one before.
func TestOneUnknownAttemptMakesAllUnknown(t *testing.T) {
	t.Parallel()
	for _, last := range []error{oncelog.ErrNotApplied, oncelog.ErrQueueFull, oncelog.ErrDiskFull} {
		ctx, cancel := context.WithCancel(t.Context())
		n := newNode(t, drops, func(w http.ResponseWriter, r *http.Request) {
			fails(last)(w, r)
			cancel()
		})
		_, err := newClient(t, []string{n.URL}).Publish(ctx, event("a"))
		require.ErrorIs(t, err, oncelog.ErrOutcomeUnknown)
		require.NotErrorIs(t, err, last)
		cancel()
	}
}

func TestEndsWithItsContext(t *testing.T) {
	t.Parallel()
	n := newNode(t, fails(oncelog.ErrNotApplied))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := newClient(t, []string{n.URL}).Publish(ctx, event("a"))
	require.Error(t, err)
	require.True(t, errors.Is(err, context.DeadlineExceeded) || errors.Is(err, oncelog.ErrOutcomeUnknown), "%v", err)

	before := n.requests.Load()
	_, err = newClient(t, []string{n.URL}).Publish(ctx, event("a"))
	require.ErrorIs(t, err, oncelog.ErrNotApplied)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Equal(t, before, n.requests.Load())
}

func TestHonoursRetryAfter(t *testing.T) {
	t.Parallel()
	full := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "1")
		fails(oncelog.ErrQueueFull)(w, r)
	}
	n := newNode(t, full, stores(1))
	start := time.Now()
	c := newClient(t, []string{n.URL})
	_, err := c.Publish(t.Context(), event("a"))
	require.NoError(t, err)
	require.GreaterOrEqual(t, time.Since(start), time.Second)
	require.Equal(t, int64(1), c.Refused())
	// Another node may do better at once.
	a, b := newNode(t, full), newNode(t, stores(1))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	_, err = newClient(t, []string{a.URL, b.URL}).Publish(ctx, event("a"))
	require.NoError(t, err)
	require.Equal(t, int64(1), a.requests.Load())
}

func TestTellsItsDeadline(t *testing.T) {
	t.Parallel()
	var header atomic.Value
	n := newNode(t, func(w http.ResponseWriter, r *http.Request) {
		header.Store(r.Header.Get("Request-Timeout"))
		stores(1)(w, r)
	})
	c := newClient(t, []string{n.URL})
	_, err := c.Publish(context.WithoutCancel(t.Context()), event("a"))
	require.NoError(t, err)
	require.Equal(t, "11.400", header.Load(), "a node is to answer before the patience ends")
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	_, err = c.Publish(ctx, event("a"))
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(header.Load().(string), "3."), header.Load())
}

func TestSendsOnlyEvents(t *testing.T) {
	t.Parallel()
	n := newNode(t, stores(1))
	c := newClient(t, []string{n.URL})
	bad := event("\xff")
	_, err := c.Publish(t.Context(), bad)
	require.ErrorIs(t, err, oncelog.ErrInvalid)
	bad = event("a")
	bad.Payload = []byte(`{}},{`)
	_, err = c.PublishBatch(t.Context(), []oncelog.Event{event("b"), bad})
	require.ErrorIs(t, err, wire.ErrNotJSON)
	require.Zero(t, n.requests.Load())
}

func TestBatchReceiptsAreThoseOfTheEvents(t *testing.T) {
	t.Parallel()
	answer := `{"received":2,"stored":2,"duplicates":0,"results":[{"status":"stored","topic":"order","event_id":"%s","id":1},` +
		`{"status":"stored","topic":"order","event_id":"%s","id":2}]}`
	n := newNode(t, says(fmt.Sprintf(answer, "a", "b")), says(fmt.Sprintf(answer, "b", "a")))
	c := newClient(t, []string{n.URL})
	events := []oncelog.Event{event("a"), event("b")}
	receipts, err := c.PublishBatch(t.Context(), events)
	require.NoError(t, err)
	require.Len(t, receipts, 2)
	_, err = c.PublishBatch(t.Context(), events)
	require.ErrorIs(t, err, oncelog.ErrOutcomeUnknown)
}

func lines(ids ...uint64) string {
	var text []byte
	for _, id := range ids {
		text = append(wire.AppendRecord(text, &oncelog.Record{ID: id, Event: event(fmt.Sprint(id)), ProcessedAt: time.Unix(1, 0).UTC()}), '\n')
	}
	return string(text)
}

// breaks writes a part of an answer and cuts the connection.
func breaks(text string) step {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, text)
		_ = http.NewResponseController(w).Flush()
		drops(w, r)
	}
}

func TestEventsAreTakenUpWhereTheyBrokeOff(t *testing.T) {
	t.Parallel()
	var queries []string
	watch := func(s step) step {
		return func(w http.ResponseWriter, r *http.Request) {
			queries = append(queries, r.URL.RawQuery)
			s(w, r)
		}
	}
	half := lines(3)[:40]
	for _, c := range []struct {
		query   oncelog.Query
		steps   []step
		want    []uint64
		queries []string
	}{
		{
			oncelog.Query{Topics: []string{"order"}},
			[]step{watch(breaks(lines(1, 2) + half)), watch(fails(oncelog.ErrUnavailable)), watch(says(lines(3, 5)))},
			[]uint64{1, 2, 3, 5},
			[]string{"topic=order", "after=2&topic=order", "after=2&topic=order"},
		},
		{
			oncelog.Query{Order: oncelog.ByIDDescending, Limit: 3},
			[]step{watch(breaks(lines(9, 8))), watch(says(lines(7)))},
			[]uint64{9, 8, 7},
			[]string{"limit=3&order=-id", "before=8&limit=1&order=-id"},
		},
		{oncelog.Query{Limit: 1}, []step{watch(breaks(lines(4)))}, []uint64{4}, []string{"limit=1"}},
	} {
		queries = nil
		n := newNode(t, c.steps...)
		var got []uint64
		for record, err := range newClient(t, []string{n.URL}).Events(t.Context(), c.query, oncelog.Linearizable) {
			require.NoError(t, err)
			got = append(got, record.ID)
		}
		require.Equal(t, c.want, got)
		require.Equal(t, c.queries, queries)
	}
}

func TestEventsEndInAnError(t *testing.T) {
	t.Parallel()
	n := newNode(t, breaks(lines(1, 2)))
	var ids []uint64
	var failures []error
	for record, err := range newClient(t, []string{n.URL}, client.WithoutRetries()).Events(t.Context(), oncelog.Query{}, oncelog.Stale) {
		if err != nil {
			failures = append(failures, err)
			continue
		}
		ids = append(ids, record.ID)
	}
	require.Equal(t, []uint64{1, 2}, ids)
	require.Len(t, failures, 1)
	require.ErrorIs(t, failures[0], oncelog.ErrUnavailable)

	n = newNode(t, says(lines(1, 2)))
	for _, err := range newClient(t, []string{n.URL}).Events(t.Context(), oncelog.Query{}, oncelog.Stale) {
		require.NoError(t, err)
		break
	}
	require.Equal(t, int64(1), n.requests.Load())
}

func TestReady(t *testing.T) {
	t.Parallel()
	behind, ready := newNode(t, fails(oncelog.ErrUnavailable)), newNode(t, says("{}"))
	require.NoError(t, newClient(t, []string{behind.URL, ready.URL}).Ready(t.Context()))
	c := newClient(t, []string{behind.URL, nowhere(t)})
	require.ErrorIs(t, c.Ready(t.Context()), oncelog.ErrUnavailable)
	require.Equal(t, int64(2), behind.requests.Load())
	require.Zero(t, c.Resent())
}

func TestTargets(t *testing.T) {
	t.Parallel()
	for _, targets := range [][]string{nil, {""}, {"ftp://x"}, {"http://x/path"}, {"http://"}, {"http://x:80", "::"}} {
		_, err := client.New(targets)
		require.Error(t, err, targets)
	}
	for _, target := range []string{"127.0.0.1:8080", "http://x", "https://x:1/"} {
		newClient(t, []string{target}, client.WithConcurrency(4))
	}
}
