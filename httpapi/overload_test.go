package httpapi_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/httpapi"
)

// withPayload is the good event with a payload of about n bytes.
func withPayload(n int) string {
	return strings.Replace(good, "1}", `"`+strings.Repeat("x", n)+`"}`, 1)
}

func TestRefusalsSayWhenToComeAgain(t *testing.T) {
	t.Parallel()
	for wait, header := range map[time.Duration]string{0: "1", time.Second: "1", 2300 * time.Millisecond: "3", 10 * time.Second: "10"} {
		log := &fakeLog{publishErr: func(context.Context, []oncelog.Event) error {
			return fmt.Errorf("fake: %w", &oncelog.QueueFullError{RetryAfter: wait})
		}}
		w := call(t, log, "POST", "/publish", good)
		require.Equal(t, 429, w.Code)
		require.Equal(t, header, w.Header().Get("Retry-After"))
	}
}

// TestLargeBodiesAreAskedForFirst has a log without room: a large body is not even
// decoded, a small one may be.
func TestLargeBodiesAreAskedForFirst(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	damaged := withPayload(100_000) + "]"
	log := &fakeLog{admitErr: func(size int64, timeout time.Duration) error {
		if size == int64(len(damaged)) {
			asked.Add(int64(timeout))
		}
		return oncelog.ErrQueueFull
	}}
	for _, path := range []string{"/publish", "/publish/batch"} {
		require.Equal(t, 429, call(t, log, "POST", path, damaged, "Request-Timeout: 3").Code)
	}
	require.Equal(t, int64(6*time.Second), asked.Load())
	require.Equal(t, 200, call(t, log, "POST", "/publish", good).Code)
	require.Equal(t, []int{1}, log.calls)
}

// TestRefusedBodiesAreReadToTheirEnd sends all of a body before it looks at the
// answer, as simple clients do, and goes on with the same connection.
func TestRefusedBodiesAreReadToTheirEnd(t *testing.T) {
	t.Parallel()
	log := &fakeLog{admitErr: func(int64, time.Duration) error { return oncelog.ErrQueueFull }}
	conn := dial(t, serve(t, log))
	answers := bufio.NewReader(conn)
	request := func(head, body string, status int) {
		t.Helper()
		send(t, conn, "POST /publish HTTP/1.1\r\nHost: x\r\n"+head+"\r\n\r\n"+body)
		res, err := http.ReadResponse(answers, nil)
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, res.Body)
		require.NoError(t, err)
		require.Equal(t, status, res.StatusCode)
	}
	const megabyte = 1 << 20
	body := strings.Repeat("x", 33*megabyte)
	request(fmt.Sprint("Content-Length: ", len(body)), body, 413)
	request(fmt.Sprint("Content-Length: ", megabyte), body[:megabyte], 429)
	request("Content-Type: a/b\r\nTransfer-Encoding: chunked", fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", megabyte, body[:megabyte]), 415)
	request(fmt.Sprint("Content-Length: ", len(good)), good, 200)
}

// TestALargeBodyIsNotInvited announces a body and waits for leave to send it.
func TestALargeBodyIsNotInvited(t *testing.T) {
	t.Parallel()
	conn := dial(t, serve(t, new(fakeLog)))
	send(t, conn, "POST /publish HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 34000000\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	require.Equal(t, 413, res.StatusCode)
}

// TestTextIsLetGoBeforeTheWait has two requests, of which the second finds room only
// because the first is decoded and waits.
func TestTextIsLetGoBeforeTheWait(t *testing.T) {
	t.Parallel()
	waits, goOn := make(chan struct{}, 2), make(chan struct{})
	log := &fakeLog{publishErr: func(context.Context, []oncelog.Event) error {
		waits <- struct{}{}
		<-goOn
		return nil
	}}
	url := serve(t, log, func(c *httpapi.Config) { c.MaxBufferedBytes = 3_200_000 })
	body := withPayload(1_000_000)
	done := make(chan string, 2)
	for range 2 {
		go func() { done <- statusOf(t.Context(), url+"/publish", body) }()
		select {
		case <-waits:
		case status := <-done:
			close(goOn)
			require.Fail(t, "no room", status)
		}
	}
	close(goOn)
	require.Equal(t, "200 OK", <-done)
	require.Equal(t, "200 OK", <-done)
}

// statusOf publishes a text, for goroutines, and returns the status or what went
// wrong.
func statusOf(ctx context.Context, url, body string) string {
	r, err := http.NewRequestWithContext(ctx, "POST", url, strings.NewReader(body))
	if err != nil {
		return err.Error()
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return err.Error()
	}
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return err.Error()
	}
	if err := res.Body.Close(); err != nil {
		return err.Error()
	}
	return res.Status
}

// TestAStreamWaitsForRoom has a log that is full for a while.
func TestAStreamWaitsForRoom(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	log := &fakeLog{publishErr: func(context.Context, []oncelog.Event) error {
		if asked.Add(1) < 4 {
			return &oncelog.QueueFullError{RetryAfter: time.Second}
		}
		return nil
	}}
	res := do(t, "POST", serve(t, log)+"/publish/batch", event("a")+"\n"+event("b")+"\n", asLines)
	require.Equal(t, 200, res.StatusCode)
	require.Equal(t, 2, strings.Count(res.text, "stored"), res.text)
}
