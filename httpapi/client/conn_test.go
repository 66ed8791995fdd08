package client

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTheHeadIsAsAServerReadsIt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		request request
		header  http.Header
	}{
		{request{method: http.MethodGet, path: "/events?limit=1", accept: "application/x-ndjson"}, http.Header{"Accept": {"application/x-ndjson"}}},
		{request{method: http.MethodPost, path: "/publish", body: []byte("{}")}, http.Header{"Content-Type": {"application/json"}, "Content-Length": {"2"}}},
	} {
		text := appendHead(nil, c.request, "x:80", 10*time.Second)
		r, err := http.ReadRequest(bufio.NewReader(io.MultiReader(bytes.NewReader(text), bytes.NewReader(c.request.body))))
		require.NoError(t, err)
		body, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		require.Equal(t, string(c.request.body), string(body))
		require.Equal(t, c.request.method, r.Method)
		require.Equal(t, c.request.path, r.RequestURI)
		require.Equal(t, "x:80", r.Host)
		c.header.Set("User-Agent", "oncelog-client")
		c.header.Set("Request-Timeout", "9.500")
		require.Equal(t, c.header, r.Header)
	}
}

func TestWhereANodeIs(t *testing.T) {
	t.Parallel()
	for target, want := range map[string]struct{ address, host string }{
		"http://x":                  {"x:80", "x"},
		"https://x":                 {"x:443", "x"},
		"https://x:1/":              {"x:1", "x:1"},
		"127.0.0.1:8080":            {"127.0.0.1:8080", "127.0.0.1:8080"},
		"http://[::1]":              {"[::1]:80", "[::1]"},
		"http://[fe80::1%25eth0]:8": {"[fe80::1%eth0]:8", "[fe80::1]:8"},
	} {
		base, err := baseURL(target)
		require.NoError(t, err)
		got := newTransport(base, 1)
		require.Equal(t, want.address, got.address)
		require.Equal(t, want.host, got.host)
	}
}

// A node that is silent is waited for once, whether it takes nothing or says nothing.
func TestSilenceIsWaitedForOnce(t *testing.T) {
	t.Parallel()
	for name, peer := range map[string]func(net.Conn){
		"takes nothing": func(net.Conn) {},
		"says nothing":  func(node net.Conn) { _, _ = io.Copy(io.Discard, node) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ours, node := net.Pipe()
				go peer(node)
				c := newConn(ours)
				c.patience = time.Second
				begin := time.Now()
				_, err := c.exchange(request{method: http.MethodGet, path: "/stats"}, "x")
				require.ErrorIs(t, err, errSilent)
				require.ErrorContains(t, err, "silent for 1s")
				require.Equal(t, time.Second, time.Since(begin))
				require.NoError(t, c.Close())
			})
		})
	}
}
