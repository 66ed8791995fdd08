package httpapi_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog/httpapi"
)

func quick(c *httpapi.Config) { c.StallTimeout = 250 * time.Millisecond }

func dial(t *testing.T, url string) net.Conn {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(url, "http://"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func send(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	_, err := io.WriteString(conn, text)
	require.NoError(t, err)
}

// TestSlowPeersAreCut has peers that stop in the middle of what they send: each
// connection ends, with an answer where there was a request.
func TestSlowPeersAreCut(t *testing.T) {
	t.Parallel()
	url := serve(t, new(fakeLog), quick)
	for name, c := range map[string]struct{ text, status string }{
		"header":              {"POST /publish HTTP/1.1\r\nHost: x\r\n", ""},
		"body":                {"POST /publish HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{", "408"},
		"chunk":               {"POST /publish HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{", "408"},
		"line":                {"POST /publish/batch HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nContent-Length: 100\r\n\r\n{", "408"},
		"body nobody reads":   {"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{", "404"},
		"body of a read":      {"GET /stats HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{", "408"},
		"body of a bad media": {"POST /publish HTTP/1.1\r\nHost: x\r\nContent-Type: a/b\r\nContent-Length: 100\r\n\r\n{", "415"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := dial(t, url)
			send(t, conn, c.text)
			// Without a cut this would wait for ever.
			text, _ := io.ReadAll(conn)
			require.True(t, strings.HasPrefix(strings.TrimPrefix(string(text), "HTTP/1.1 "), c.status), "%s", text)
		})
	}
}

// TestSlowButSteadyBodyLives sends a body that takes longer than a stall
// time-out. It does not run beside others, which could make it stall.
func TestSlowButSteadyBodyLives(t *testing.T) {
	url := serve(t, new(fakeLog), func(c *httpapi.Config) { c.StallTimeout = 300 * time.Millisecond })
	body, in := io.Pipe()
	go func() {
		tick := time.NewTicker(40 * time.Millisecond)
		defer tick.Stop()
		_, _ = io.WriteString(in, `[`)
		for range 12 {
			<-tick.C
			_, _ = io.WriteString(in, strings.Repeat(" ", 70<<10))
		}
		_, _ = io.WriteString(in, good+"]")
		_ = in.Close()
	}()
	r, err := http.NewRequestWithContext(t.Context(), "POST", url+"/publish/batch", body)
	require.NoError(t, err)
	res, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	require.Equal(t, 200, res.StatusCode)
	require.NoError(t, res.Body.Close())
}

// TestReaderThatStallsIsCut asks for far more than the sockets hold, and reads
// nothing.
func TestReaderThatStallsIsCut(t *testing.T) {
	t.Parallel()
	log := new(fakeLog).fill(200, `{"x":"`+strings.Repeat("x", 500_000)+`"}`)
	ended := make(chan int, 1)
	n := 0
	log.eventsErr = func(context.Context, int) error { n++; return nil }
	s, l := listen(t, log, quick)
	server := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { ended <- n }()
		s.Handler().ServeHTTP(w, r)
	})}
	done := make(chan error)
	go func() { done <- server.Serve(l) }()
	conn := dial(t, l.Addr().String())
	send(t, conn, "GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
	require.Less(t, <-ended, 200, "the answer was cut before its end")
	require.NoError(t, server.Close())
	require.ErrorIs(t, <-done, http.ErrServerClosed)
}

// TestConnectionsAreKept sends requests of all kinds over one connection: none
// may leave a deadline or half a body behind for the next. It does not run beside
// others, which could make it stall.
func TestConnectionsAreKept(t *testing.T) {
	conn := dial(t, serve(t, new(fakeLog), func(c *httpapi.Config) { c.StallTimeout = 300 * time.Millisecond }))
	reader := bufio.NewReader(conn)
	request := func(method, path, header, body string, status int) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, "http://x"+path, strings.NewReader(body))
		require.NoError(t, err)
		if name, value, ok := strings.Cut(header, ": "); ok {
			r.Header.Set(name, value)
		}
		require.NoError(t, r.Write(conn))
		res, err := http.ReadResponse(reader, r)
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, res.Body)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.Equal(t, status, res.StatusCode)
	}
	for range 3 {
		request("POST", "/publish", "", good, 200)
		request("POST", "/publish/batch", asLines, good+"\n"+good+"\n", 200)
		request("POST", "/publish", "Content-Type: a/b", good, 415)
		request("GET", "/events", "", "", 200)
		request("POST", "/publish", "", "{", 400)
		request("HEAD", "/events", "", "", 200)
		request("GET", "/events", "", "a body", 200)
		pause := time.NewTimer(350 * time.Millisecond)
		<-pause.C
	}
}

// TestConnectionsWaitForThoseAtWork has a request under way on the only connection
// that there may be.
func TestConnectionsWaitForThoseAtWork(t *testing.T) {
	t.Parallel()
	url := serve(t, new(fakeLog), func(c *httpapi.Config) { c.MaxConnections = 1 })
	first := dial(t, url)
	send(t, first, fmt.Sprintf("POST /publish HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", len(good)))
	answers := bufio.NewReader(first)
	res, err := http.ReadResponse(answers, nil)
	require.NoError(t, err)
	require.Equal(t, 100, res.StatusCode, "the request is under way")
	second := dial(t, url)
	send(t, second, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, second.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
	_, err = second.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded, "the second waits for its turn")
	send(t, first, good)
	res, err = http.ReadResponse(answers, nil)
	require.NoError(t, err)
	require.Equal(t, 200, res.StatusCode)
	require.NoError(t, second.SetReadDeadline(time.Time{}))
	res, err = http.ReadResponse(bufio.NewReader(second), nil)
	require.NoError(t, err)
	require.Equal(t, 200, res.StatusCode)
}

// TestConnectionsAtRestMakeRoom floods a server with connections that say nothing, say
// half of a header, or rest after a request. A client beside them is served, each
// time over a new connection.
func TestConnectionsAtRestMakeRoom(t *testing.T) {
	t.Parallel()
	const most = 8
	for name, text := range map[string]string{
		"silent": "", "half a header": "GET /livez HTTP/1.1\r\nX: y", "at rest": "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := serve(t, new(fakeLog), func(c *httpapi.Config) { c.MaxConnections = most })
			var flood []net.Conn
			for range 3 * most {
				conn := dial(t, url)
				send(t, conn, text)
				if name == "at rest" {
					_, err := http.ReadResponse(bufio.NewReader(conn), nil)
					require.NoError(t, err)
				}
				flood = append(flood, conn)
			}
			good := dial(t, url)
			send(t, good, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
			res, err := http.ReadResponse(bufio.NewReader(good), nil)
			require.NoError(t, err)
			require.Equal(t, 200, res.StatusCode)
			_, err = io.Copy(io.Discard, flood[0])
			require.NoError(t, err, "the oldest is closed")
		})
	}
}

func TestHeaderIsLimited(t *testing.T) {
	t.Parallel()
	conn := dial(t, serve(t, new(fakeLog)))
	send(t, conn, "GET /livez HTTP/1.1\r\nX: "+strings.Repeat("x", 21<<10))
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	require.Equal(t, 431, res.StatusCode)
}
