package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/httpapi"
	"github.com/oncelog/oncelog/httpapi/wire"
)

const good = `{"topic":"order","event_id":"e1","timestamp":"2025-12-19T06:36:16.388Z","source":"postman","payload":{"v":1}}`

// call gives one request to a server's handler. Headers are "Name: value".
func call(t *testing.T, log *fakeLog, method, target, body string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	s, err := httpapi.New(httpapi.Config{Log: log, Node: "n1", Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	r := httptest.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	return w
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	asJSON := []string{"Content-Type: application/json"}
	for _, c := range []struct {
		name, method, target, body string
		headers                    []string
		status                     int
		want                       string // a part of the body
	}{
		{"event", "POST", "/publish", good, nil, 200, `{"status":"stored","topic":"order","event_id":"e1","id":3}`},
		{"event as JSON with a character set", "POST", "/publish", good, []string{"Content-Type: application/json; charset=UTF-8"}, 200, "stored"},
		{"event, queued", "POST", "/publish", good, []string{"Prefer: wait=1, respond-async"}, 202, `{"status":"queued","event_id":"e1"}`},
		{
			"batch", "POST", "/publish/batch", "[" + good + "," + good + "]", nil, 200,
			`{"received":2,"stored":1,"duplicates":1,"results":[{"status":"stored","topic":"order","event_id":"e1","id":3},` +
				`{"status":"duplicate","topic":"order","event_id":"e1","id":3,"conflict":false}]}`,
		},
		{"batch, minimal", "POST", "/publish/batch", "[" + good + "]", []string{"Prefer: return=minimal"}, 200, `{"received":1,"stored":1,"duplicates":0}`},
		{"batch, queued", "POST", "/publish/batch", "[" + good + "]", []string{"Prefer: respond-async"}, 202, `{"status":"queued","received":1}`},
		{"events", "GET", "/events", "", nil, 200, `[{"id":1,"topic":"order",`},
		{"events as lines", "GET", "/events?limit=1", "", []string{"Accept: application/x-ndjson"}, 200, "}\n"},
		{"no events", "GET", "/events?topic=none", "", nil, 200, "[]"},
		{"one event", "GET", "/events/2", "", nil, 200, `{"id":2,"topic":"login"`},
		{"topics", "GET", "/topics?consistency=stale", "", nil, 200, `[{"topic":"order","count":2,"last_id":2}]`},
		{"stats", "GET", "/stats", "", nil, 200, `"uptime_seconds":1.5,`},
		{"cluster", "GET", "/cluster", "", nil, 200, `"role":"leader"`},
		{"transfer", "POST", "/cluster/transfer-leadership", "", nil, 200, `{"leader":"n9"}`},
		{"transfer to", "POST", "/cluster/transfer-leadership", `{"to":"n3"}`, nil, 200, `{"leader":"n3"}`},
		{"leave", "POST", "/cluster/leave", `{"node":"n3"}`, asJSON, 200, `{"name":"n3","id":"id","voters":3,"failure_tolerance":1}`},
		{"leave by force", "POST", "/cluster/leave", `{"node":"n1","force":true}`, asJSON, 200, `"name":"n1"`},
		{"live", "GET", "/livez", "", nil, 200, ""},
		{"ready", "GET", "/readyz", "", nil, 200, ""},
		{"home", "GET", "/", "", []string{"Accept: text/html, */*;q=0.8"}, 200, "curl http://"},
		{"options", "OPTIONS", "/publish", "", nil, 204, ""},

		{"no JSON", "POST", "/publish", "{", nil, 400, `"code":"not_json"`},
		{"no body", "POST", "/publish", "", nil, 400, `"code":"not_json"`},
		{"batch cut", "POST", "/publish/batch", "[" + good, nil, 400, `"code":"not_json"`},
		{"bad time-out", "POST", "/publish", good, []string{"Request-Timeout: -1"}, 400, `"code":"bad_request"`},
		{"time-out that is no number", "GET", "/stats", "", []string{"Request-Timeout: NaN"}, 400, `"code":"bad_request"`},
		{"gzip that is none", "POST", "/publish", good, []string{"Content-Encoding: gzip"}, 400, `"code":"bad_request"`},
		{"zstd that is none", "POST", "/publish", good, []string{"Content-Encoding: zstd"}, 400, `"code":"bad_request"`},
		{"unknown path", "GET", "/metrics", "", nil, 404, `"code":"not_found"`},
		{"path with a slash behind", "POST", "/publish/", "", nil, 404, `"code":"not_found"`},
		{"path below an event", "GET", "/events/1/x", "", nil, 404, `"code":"not_found"`},
		{"unknown event", "GET", "/events/99", "", nil, 404, `"code":"not_found"`},
		{"event 0", "GET", "/events/0", "", nil, 404, `"code":"not_found"`},
		{"event beyond all numbers", "GET", "/events/99999999999999999999999", "", nil, 404, `"code":"not_found"`},
		{"last event there could be", "GET", "/events/18446744073709551615", "", nil, 404, `"code":"not_found"`},
		{"event without a number", "GET", "/events/x1", "", nil, 400, `"code":"bad_request"`},
		{"method", "GET", "/publish", "", nil, 405, `"code":"method_not_allowed"`},
		{"method on a read", "DELETE", "/events", "", nil, 405, `"code":"method_not_allowed"`},
		{"accept", "GET", "/stats", "", []string{"Accept: text/html"}, 406, `"code":"not_acceptable"`},
		{"accept not", "GET", "/stats", "", []string{"Accept: application/json;q=0, text/*"}, 406, `"code":"not_acceptable"`},
		{"live stream, not served yet", "GET", "/events", "", []string{"Accept: text/event-stream"}, 406, `"code":"not_acceptable"`},
		{"content type", "POST", "/publish", good, []string{"Content-Type: text/plain"}, 415, `"code":"unsupported_media_type"`},
		{"content type of a form", "POST", "/publish", good, []string{"Content-Type: application/x-www-form-urlencoded"}, 415, ""},
		{"lines for one event", "POST", "/publish", good, []string{"Content-Type: application/x-ndjson"}, 415, ""},
		{"character set", "POST", "/publish", good, []string{"Content-Type: application/json; charset=latin1"}, 415, ""},
		{"encoding", "POST", "/publish", good, []string{"Content-Encoding: br"}, 415, `"code":"unsupported_encoding"`},
		{"encoding twice", "POST", "/publish", good, []string{"Content-Encoding: gzip, gzip"}, 415, `"code":"unsupported_encoding"`},
		{"body over its limit", "POST", "/publish/batch", "[" + strings.Repeat(" ", oncelog.MaxBodyBytes) + "]", nil, 413, `"code":"too_large"`},
		{"payload over its limit", "POST", "/publish", strings.Replace(good, "1}", `"`+strings.Repeat("x", 1<<20)+`"}`, 1), nil, 413, `"code":"too_large"`},
		{"too many events", "POST", "/publish/batch", "[" + strings.Repeat("0,", 100_000) + "0]", nil, 413, `"code":"too_large"`},
		{"no event", "POST", "/publish", "{}", nil, 422, `{"pointer":"/source","detail":"is required"}`},
		{"empty batch", "POST", "/publish/batch", "[]", nil, 422, `"code":"invalid_event"`},
		{"batch with a number in it", "POST", "/publish/batch", "[" + good + ",7]", nil, 422, `"pointer":"/1"`},
		{"leave of the last voter", "POST", "/cluster/leave", `{"node":"n1"}`, asJSON, 409, `"code":"refused"`},
		{"leave without a content type", "POST", "/cluster/leave", `{"node":"n3"}`, nil, 415, `"code":"unsupported_media_type"`},
		{"leave of nobody", "POST", "/cluster/leave", `{}`, asJSON, 422, `"pointer":"/node"`},
		{"leave without a body", "POST", "/cluster/leave", ``, asJSON, 400, `"code":"not_json"`},
		{"transfer to a number", "POST", "/cluster/transfer-leadership", `{"to":3}`, nil, 422, `"pointer":"/to"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			log := new(fakeLog).fill(2, `{"n":1}`)
			w := call(t, log, c.method, c.target, c.body, c.headers...)
			require.Equal(t, c.status, w.Code, w.Body.String())
			require.Contains(t, w.Body.String(), c.want)
			if c.status < 400 {
				return
			}
			require.Len(t, log.records, 2, "an error stores nothing")
			require.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
			p, err := wire.DecodeProblem(w.Body.Bytes())
			require.NoError(t, err)
			require.Equal(t, c.status, p.Status)
			require.NotEmpty(t, p.Detail)
			require.Equal(t, c.status == 405, w.Header().Get("Allow") != "")
		})
	}
}

func TestQueryErrors(t *testing.T) {
	t.Parallel()
	for _, query := range []string{
		"tpoic=a", "Topic=a", "limit=1&limit=2", "source=a&source=a", "limit=0", "limit=-1", "limit=1.5", "limit=x", "limit=",
		"after=-1", "after=x", "after=99999999999999999999", "before=0", "before=", "since=yesterday", "until=1766126176",
		"since=2025-12-19T00:00:00+01:00", "order=up", "order=", "order=timestamp", "order=-timestamp", "consistency=eventual",
		"topic=", "event_id=", "source=", "topic=%ff", "topic=%zz", "a;b", "event_id=" + strings.Repeat("x", 256),
	} {
		w := call(t, new(fakeLog), "GET", "/events?"+query, "")
		require.Equal(t, 400, w.Code, query)
		require.Contains(t, w.Body.String(), `"code":"bad_request"`, query)
	}
	for _, target := range []string{"/stats?topic=a", "/topics?consistency=x", "/events/1?limit=1"} {
		require.Equal(t, 400, call(t, new(fakeLog), "GET", target, "").Code, target)
	}
}

func TestQueries(t *testing.T) {
	t.Parallel()
	log := new(fakeLog).fill(10, "{}")
	for query, want := range map[string]string{
		"":                                "1 2 3 4 5 6 7 8 9 10",
		"order=id&consistency=stale":      "1 2 3 4 5 6 7 8 9 10",
		"order=-id":                       "10 9 8 7 6 5 4 3 2 1",
		"topic=login":                     "2 4 6 8 10",
		"topic=login&topic=order&limit=3": "1 2 3",
		"after=3&before=7":                "4 5 6",
		"source=other":                    "",
		"event_id=exx2ns":                 "3",
		"since=2025-12-19T00:00:07Z":      "8 9 10",
		"until=2025-12-19T01:00:02%2B01:00&limit=100": "1 2",
	} {
		w := call(t, log, "GET", "/events?"+query, "", "Accept: application/x-ndjson;q=0.5")
		require.Equal(t, 200, w.Code, query)
		require.Equal(t, "application/x-ndjson", w.Header().Get("Content-Type"))
		require.Equal(t, want, ids(t, w.Body.String()), query)
	}
}

// ids reads the ids of an answer in lines.
func ids(t *testing.T, lines string) string {
	t.Helper()
	var d wire.Decoder
	var all []string
	for line := range strings.Lines(lines) {
		r, err := d.Record([]byte(line))
		require.NoError(t, err)
		all = append(all, fmt.Sprint(r.ID))
	}
	return strings.Join(all, " ")
}

// TestPagesJoinUp follows the links from page to page, with events so large that
// some pages are read in two passes.
func TestPagesJoinUp(t *testing.T) {
	t.Parallel()
	log := new(fakeLog).fill(20, `{"x":"`+strings.Repeat("x", 200_000)+`"}`)
	for _, c := range []struct{ target, want string }{
		{"/events?limit=7&topic=order", "1 3 5 7 9 11 13 15 17 19"},
		{"/events?limit=9&order=-id&topic=order", "19 17 15 13 11 9 7 5 3 1"},
		{"/events?limit=10&topic=order", "1 3 5 7 9 11 13 15 17 19"},
		{"/events?limit=3", "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20"},
	} {
		var all []string
		for target := c.target; target != ""; {
			w := call(t, log, "GET", target, "", "Accept: application/x-ndjson")
			require.Equal(t, 200, w.Code)
			all = append(all, ids(t, w.Body.String()))
			link := w.Header().Get("Link")
			target, _ = strings.CutSuffix(strings.TrimPrefix(link, "<"), `>; rel="next"`)
		}
		require.Equal(t, c.want, strings.Join(all, " "))
	}
	require.Contains(t, log.consistency, oncelog.Stale, "the second pass")
}

func TestErrorsOfTheLog(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err     error
		status  int
		code    wire.Code
		outcome string
	}{
		{oncelog.ErrQueueFull, 429, wire.CodeQueueFull, "not_applied"},
		{oncelog.ErrNotApplied, 503, wire.CodeNotApplied, "not_applied"},
		{oncelog.ErrOutcomeUnknown, 503, wire.CodeOutcomeUnknown, "unknown"},
		{oncelog.ErrClosed, 503, wire.CodeClosed, "unknown"},
		{oncelog.ErrDiskFull, 507, wire.CodeDiskFull, "not_applied"},
		{context.DeadlineExceeded, 503, wire.CodeOutcomeUnknown, "unknown"},
		{oncelog.ErrCorrupt, 500, wire.CodeInternal, "unknown"},
		{errors.New("open /secret"), 500, wire.CodeInternal, "unknown"},
	} {
		log := &fakeLog{publishErr: func(context.Context, []oncelog.Event) error { return fmt.Errorf("fake: %w", c.err) }}
		for _, request := range [][3]string{
			{"/publish", good, "X: "},
			{"/publish/batch", "[" + good + "]", "X: "},
			{"/publish/batch", good, "Content-Type: application/x-ndjson"},
			{"/publish", good, "Prefer: respond-async"},
		} {
			w := call(t, log, "POST", request[0], request[1], request[2], "Request-Timeout: 0.01")
			require.Equal(t, c.status, w.Code, c.err)
			p, err := wire.DecodeProblem(w.Body.Bytes())
			require.NoError(t, err)
			require.Equal(t, c.code, p.Code)
			require.Equal(t, c.outcome, p.Outcome)
			require.Equal(t, c.status < 500 || c.status > 500, p.Retryable)
			require.Equal(t, c.status == 429 || c.status == 503, w.Header().Get("Retry-After") != "")
			require.NotContains(t, p.Detail, "secret")
		}
	}
}

func TestReadsWithoutQuorum(t *testing.T) {
	t.Parallel()
	log := new(fakeLog).fill(1, "{}")
	log.operateErr = oncelog.ErrUnavailable
	log.eventsErr = func(context.Context, int) error { return oncelog.ErrUnavailable }
	for _, target := range []string{"/events", "/events?limit=1", "/events/1", "/stats", "/topics", "/cluster", "/readyz"} {
		w := call(t, log, "GET", target, "")
		require.Equal(t, 503, w.Code, target)
		require.Contains(t, w.Body.String(), `"outcome":"not_applied","retryable":true`)
		require.NotEmpty(t, w.Header().Get("Retry-After"))
	}
	require.Equal(t, 503, call(t, log, "POST", "/cluster/transfer-leadership", "").Code)
	require.Equal(t, 200, call(t, log, "GET", "/livez", "").Code)
}

func TestDeadline(t *testing.T) {
	t.Parallel()
	var left time.Duration
	log := new(fakeLog).fill(1, "{}")
	log.publishErr = func(ctx context.Context, _ []oncelog.Event) error {
		deadline, _ := ctx.Deadline()
		left = time.Until(deadline)
		return nil
	}
	for value, bounds := range map[string][2]time.Duration{
		"": {9 * time.Second, 10 * time.Second}, "600": {9 * time.Second, 10 * time.Second}, "2.5": {time.Second, 2500 * time.Millisecond},
	} {
		require.Equal(t, 200, call(t, log, "POST", "/publish", good, "Request-Timeout: "+value).Code)
		require.Greater(t, left, bounds[0])
		require.LessOrEqual(t, left, bounds[1])
	}
	log.eventsErr = func(ctx context.Context, _ int) error {
		<-ctx.Done()
		return ctx.Err()
	}
	w := call(t, log, "GET", "/events", "", "Request-Timeout: 0.01")
	require.Equal(t, 503, w.Code)
	require.Contains(t, w.Body.String(), `"code":"unavailable"`)
}

func TestHeadIsGetWithoutABody(t *testing.T) {
	t.Parallel()
	url := serve(t, new(fakeLog).fill(2000, `{"n":1}`))
	for _, path := range []string{"/", "/events", "/events?limit=2", "/events/1", "/events/77777", "/stats", "/topics", "/cluster", "/livez", "/nowhere"} {
		get, head := do(t, "GET", url+path, ""), do(t, "HEAD", url+path, "")
		require.Equal(t, get.StatusCode, head.StatusCode, path)
		require.Empty(t, head.text)
		for _, name := range []string{"Content-Type", "Link", "Vary"} {
			require.Equal(t, get.Header.Get(name), head.Header.Get(name), path+name)
		}
	}
}

// answer is a response whose body has been read.
type answer struct {
	*http.Response
	text string
}

func do(t *testing.T, method, url, body string, headers ...string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	res, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer func() { require.NoError(t, res.Body.Close()) }()
	text, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return answer{res, string(text)}
}

// TestBrokenAnswersAreNotWhole has the log fail behind the first chunk: a client
// must not take what it got for everything.
func TestBrokenAnswersAreNotWhole(t *testing.T) {
	t.Parallel()
	log := new(fakeLog).fill(5000, `{"n":1}`)
	log.eventsErr = func(_ context.Context, n int) error {
		if n == 4000 {
			return oncelog.ErrUnavailable
		}
		return nil
	}
	url := serve(t, log)
	for _, media := range []string{"application/json", "application/x-ndjson"} {
		r, err := http.NewRequestWithContext(t.Context(), "GET", url+"/events", nil)
		require.NoError(t, err)
		r.Header.Set("Accept", media)
		res, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		require.Equal(t, 200, res.StatusCode)
		_, err = io.ReadAll(res.Body)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		require.NoError(t, res.Body.Close())
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	logger := slog.New(slog.DiscardHandler)
	for _, cfg := range []httpapi.Config{
		{},
		{Log: new(fakeLog)},
		{Logger: logger},
		{Log: new(fakeLog), Logger: logger, StallTimeout: -1},
		{Log: new(fakeLog), Logger: logger, MaxConnections: -1},
	} {
		_, err := httpapi.New(cfg)
		require.Error(t, err)
	}
}
