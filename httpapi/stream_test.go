package httpapi_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/httpapi"
)

const asLines = "Content-Type: application/x-ndjson"

func event(id string) string { return strings.Replace(good, "e1", id, 1) }

func TestStreamAnswersEachLine(t *testing.T) {
	t.Parallel()
	url := serve(t, new(fakeLog))
	body := event("a") + "\n\n  \r\n" + event("b") + "\r\n" + `{"topic":7}` + "\n{\n" + event("a") + "\n" +
		strings.Replace(event("big"), "1}", `"`+strings.Repeat("x", 1<<20)+`"}`, 1) + "\n" + event("c")
	res := do(t, "POST", url+"/publish/batch", body, asLines)
	require.Equal(t, 200, res.StatusCode)
	require.Equal(t, "application/x-ndjson", res.Header.Get("Content-Type"))
	got := strings.Split(strings.TrimSuffix(res.text, "\n"), "\n")
	require.Len(t, got, 7)
	require.JSONEq(t, `{"status":"stored","topic":"order","event_id":"a","id":1}`, got[0])
	require.JSONEq(t, `{"status":"stored","topic":"order","event_id":"b","id":2}`, got[1])
	require.Contains(t, got[2], `{"status":"invalid","line":5,"errors":[{"pointer":"/topic","detail":"must be a string"}`)
	require.Contains(t, got[3], `{"status":"invalid","line":6,"errors":[{"pointer":"","detail":"not I-JSON`)
	require.Contains(t, got[4], `{"status":"duplicate","topic":"order","event_id":"a","id":1,"conflict":false}`)
	require.Contains(t, got[5], `{"status":"invalid","line":8,"errors":[{"pointer":"","detail":"a value of more than`)
	require.JSONEq(t, `{"status":"stored","topic":"order","event_id":"c","id":3}`, got[6])

	require.Empty(t, do(t, "POST", url+"/publish/batch", "\n\n", asLines).text)
	require.Equal(t, 406, do(t, "POST", url+"/publish/batch", good, asLines, "Accept: application/json").StatusCode)
}

// conversation is a stream whose lines are written one by one.
type conversation struct {
	t       *testing.T
	in      *io.PipeWriter
	answers *bufio.Scanner
	res     *http.Response
}

// converse opens a stream with a first line.
func converse(t *testing.T, url, first string) *conversation {
	t.Helper()
	body, in := io.Pipe()
	r, err := http.NewRequestWithContext(t.Context(), "POST", url+"/publish/batch", body)
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/x-ndjson")
	go func() { _, _ = io.WriteString(in, first+"\n") }()
	res, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	t.Cleanup(func() { _ = res.Body.Close(); _ = in.Close() })
	return &conversation{t, in, bufio.NewScanner(res.Body), res}
}

func (c *conversation) say(line string) {
	c.t.Helper()
	_, err := io.WriteString(c.in, line+"\n")
	require.NoError(c.t, err)
}

func (c *conversation) hear() string {
	c.t.Helper()
	require.True(c.t, c.answers.Scan(), "the stream has ended: %v", c.answers.Err())
	return c.answers.Text()
}

func TestStreamAnswersWhileItIsOpen(t *testing.T) {
	t.Parallel()
	c := converse(t, serve(t, new(fakeLog)), event("e0"))
	require.Contains(t, c.hear(), `"event_id":"e0","id":1`)
	for i := 1; i < 50; i++ {
		c.say(event(fmt.Sprintf("e%d", i)))
		require.Contains(t, c.hear(), fmt.Sprintf(`"event_id":"e%d","id":%d`, i, i+1))
	}
	require.NoError(t, c.in.Close())
	require.False(t, c.answers.Scan())
	require.NoError(t, c.answers.Err(), "a stream that ends well is not cut")
}

// TestStreamJoinsWhatIsThere holds up the first batch until all other lines are
// sent: they then go in few batches.
func TestStreamJoinsWhatIsThere(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	log := &fakeLog{publishErr: func(context.Context, []oncelog.Event) error { <-release; return nil }}
	url := serve(t, log)
	body, in := io.Pipe()
	const lines = 3000
	go func() {
		for i := range lines {
			_, _ = io.WriteString(in, event(fmt.Sprint(i))+"\n")
		}
		close(release)
		_ = in.Close()
	}()
	r, err := http.NewRequestWithContext(t.Context(), "POST", url+"/publish/batch", body)
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/x-ndjson")
	res, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	text, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	for i, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		require.Contains(t, line, fmt.Sprintf(`"event_id":"%d","id":%d}`, i, i+1))
	}
	require.Equal(t, lines, strings.Count(string(text), "\n"))
	require.Less(t, len(log.calls), lines/10)
	for _, n := range log.calls {
		require.LessOrEqual(t, n, 1000)
	}
}

func TestStreamEndsWithWhatWentWrong(t *testing.T) {
	t.Parallel()
	log := &fakeLog{publishErr: func(_ context.Context, events []oncelog.Event) error {
		if events[0].EventID == "bad" {
			return oncelog.ErrOutcomeUnknown
		}
		return nil
	}}
	c := converse(t, serve(t, log), event("a"))
	require.Contains(t, c.hear(), "stored")
	c.say("{}")
	require.Contains(t, c.hear(), `{"status":"invalid","line":2,`)
	c.say("")
	c.say(event("bad"))
	last := c.hear()
	require.Contains(t, last, `{"status":"error","line":3,`)
	require.Contains(t, last, `"code":"outcome_unknown","outcome":"unknown","retryable":true}`)
	require.False(t, c.answers.Scan())
	require.NoError(t, c.answers.Err())
}

func TestStreamOfAGoneClientStoresNoHalfLine(t *testing.T) {
	t.Parallel()
	log := new(fakeLog)
	url := serve(t, log)
	c := converse(t, url, event("a"))
	require.Contains(t, c.hear(), "stored")
	_, err := io.WriteString(c.in, event("b"))
	require.NoError(t, err)
	require.NoError(t, c.in.CloseWithError(io.ErrUnexpectedEOF))
	require.NoError(t, c.res.Body.Close())
	require.Equal(t, 200, do(t, "POST", url+"/publish", event("c")).StatusCode)
	require.Eventually(t, func() bool {
		log.mu.Lock()
		defer log.mu.Unlock()
		return len(log.records) == 2
	}, 5*time.Second, time.Millisecond)
}

func TestShutdownEndsStreams(t *testing.T) {
	t.Parallel()
	s, l := listen(t, new(fakeLog))
	done := make(chan error)
	go func() { done <- s.Serve(l) }()
	c := converse(t, "http://"+l.Addr().String(), event("a"))
	require.Contains(t, c.hear(), "stored")
	down := make(chan error)
	go func() { down <- s.Shutdown(context.Background()) }()
	require.Contains(t, c.hear(), `"code":"shutting_down"`)
	_ = c.in.Close()
	require.NoError(t, <-down)
	require.NoError(t, <-done)
}

// TestStalledLineIsCutAnIdleStreamIsNot does not run beside others, which could
// make an honest line stall.
func TestStalledLineIsCutAnIdleStreamIsNot(t *testing.T) {
	url := serve(t, new(fakeLog), func(c *httpapi.Config) { c.StallTimeout = 300 * time.Millisecond })
	c := converse(t, url, event("a"))
	require.Contains(t, c.hear(), "stored")
	idle := time.NewTimer(400 * time.Millisecond)
	<-idle.C
	c.say(event("b"))
	require.Contains(t, c.hear(), "stored")
	_, err := io.WriteString(c.in, `{"topic":`)
	require.NoError(t, err)
	require.Contains(t, c.hear(), `"code":"request_timeout"`)
}

func compressed(t testing.TB, encoding string, write func(io.Writer)) string {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser = gzip.NewWriter(&b)
	if encoding == "zstd" {
		var err error
		w, err = zstd.NewWriter(&b)
		require.NoError(t, err)
	}
	write(w)
	require.NoError(t, w.Close())
	return b.String()
}

func TestCompressedBodies(t *testing.T) {
	t.Parallel()
	log := new(fakeLog)
	url := serve(t, log)
	for _, encoding := range []string{"gzip", "zstd"} {
		header := "Content-Encoding: " + encoding
		one := compressed(t, encoding, func(w io.Writer) { _, _ = io.WriteString(w, event("one"+encoding)) })
		require.Equal(t, 200, do(t, "POST", url+"/publish", one, header).StatusCode)
		batch := compressed(t, encoding, func(w io.Writer) { _, _ = io.WriteString(w, "["+event("two"+encoding)+"]") })
		require.Equal(t, 200, do(t, "POST", url+"/publish/batch", batch, header).StatusCode)
		lines := compressed(t, encoding, func(w io.Writer) { _, _ = io.WriteString(w, event("x"+encoding)+"\n"+event("y"+encoding)) })
		require.Equal(t, 2, strings.Count(do(t, "POST", url+"/publish/batch", lines, header, asLines).text, "stored"))
		require.Equal(t, 400, do(t, "POST", url+"/publish", one[:len(one)-4], header).StatusCode)
		require.Equal(t, 400, do(t, "POST", url+"/publish/batch", lines[:len(lines)/2], header, asLines).StatusCode)
		require.Equal(t, 400, do(t, "POST", url+"/publish", "", header).StatusCode)
	}
	require.Len(t, log.records, 8)
}

func TestBombs(t *testing.T) {
	t.Parallel()
	url := serve(t, new(fakeLog))
	zeros := make([]byte, 1<<20)
	for _, encoding := range []string{"gzip", "zstd"} {
		bomb := compressed(t, encoding, func(w io.Writer) {
			for range 100 {
				_, _ = w.Write(zeros)
			}
		})
		header := "Content-Encoding: " + encoding
		require.Equal(t, 413, do(t, "POST", url+"/publish", bomb, header).StatusCode)
		require.Equal(t, 413, do(t, "POST", url+"/publish/batch", bomb, header).StatusCode)
		res := do(t, "POST", url+"/publish/batch", bomb, header, asLines)
		require.Equal(t, 200, res.StatusCode)
		require.Contains(t, res.text, `{"status":"invalid","line":1,"errors":[{"pointer":"","detail":"a line of more than`)
	}
	for _, c := range []struct {
		text   string
		status int
	}{
		{strings.Repeat("[", 30<<20), 422},
		{strings.Repeat(`{"a":`, 6<<20), 422},
		{strings.Replace(good, "1}", strings.Repeat("9", 30<<20)+"}", 1), 413},
	} {
		before := heapAllocated()
		require.Equal(t, c.status, do(t, "POST", url+"/publish", c.text).StatusCode)
		require.Less(t, heapAllocated()-before, uint64(256<<20))
	}
}

func heapAllocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// TestBufferedBytesAreBounded fills the budget with bodies that do not end.
func TestBufferedBytesAreBounded(t *testing.T) {
	t.Parallel()
	url := serve(t, new(fakeLog), func(c *httpapi.Config) { c.MaxBufferedBytes = 1 << 20 })
	payload := strings.Replace(good, "1}", `"`+strings.Repeat("x", 900_000)+`"}`, 1)
	res := do(t, "POST", url+"/publish", payload)
	require.Equal(t, 429, res.StatusCode)
	require.Equal(t, "1", res.Header.Get("Retry-After"))
	require.Equal(t, 200, do(t, "POST", url+"/publish", good).StatusCode, "small ones find room")
	for range 20 {
		require.Equal(t, 200, do(t, "POST", url+"/publish", payload[:len(payload)-500_003]+`"}}`).StatusCode, "room is given back")
	}
	require.Equal(t, 429, do(t, "POST", url+"/publish/batch", payload, asLines).StatusCode)
}

// TestSameVerdictInThreeForms publishes drawn texts over all three ways.
func TestSameVerdictInThreeForms(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		text := []byte(event("e"))
		for range rapid.IntRange(0, 2).Draw(rt, "damages") {
			at := rapid.IntRange(1, len(text)-1).Draw(rt, "at")
			piece := rapid.SampledFrom([]string{`"`, "{", "}", ",", " ", "\xff", `\ud800`, `\u0000`, "null", "x", `"a":1,`}).Draw(rt, "piece")
			text = append(text[:at:at], append([]byte(piece), text[at:]...)...)
		}
		alone := call(t, new(fakeLog), "POST", "/publish", string(text))
		batch := call(t, new(fakeLog), "POST", "/publish/batch", "["+string(text)+"]")
		lines := call(t, new(fakeLog), "POST", "/publish/batch", string(text)+"\n", asLines)
		require.Equal(rt, alone.Code, batch.Code, "%s", text)
		require.Equal(rt, 200, lines.Code)
		require.Equal(rt, alone.Code == 200, strings.Contains(lines.Body.String(), `"status":"stored"`), "%s", text)
		require.Equal(rt, alone.Code != 200, strings.Contains(lines.Body.String(), `"status":"invalid"`), "%s", text)
	})
}
