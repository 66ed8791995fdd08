package cluster

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog/loadgen"
)

const (
	head     = "POST /publish HTTP/1.1\r\nHost: x\r\n"
	anyEvent = `{"topic":"hostile","event_id":"1","timestamp":"2026-01-01T00:00:00Z","source":"s","payload":{"v":1}}`
)

// withBody is a request to publish a text.
func withBody(headers, body string) string {
	return fmt.Sprintf("%s%sContent-Length: %d\r\n\r\n%s", head, headers, len(body), body)
}

func zipped(n int) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	zeros := make([]byte, 1<<20)
	for range n {
		_, _ = w.Write(zeros)
	}
	_ = w.Close()
	return b.String()
}

// nonsense is what a server may be sent, each over a connection of its own, with the
// statuses that it has to answer, in order, before it ends the connection.
func nonsense() map[string]struct {
	text     string
	statuses []int
} {
	replaced := func(old, text string) string { return withBody("", strings.Replace(anyEvent, old, text, 1)) }
	bomb := zipped(200)
	return map[string]struct {
		text     string
		statuses []int
	}{
		"bytes of no protocol":        {"\x00\xff\x16\x03\x01\r\n\r\n", []int{400}},
		"HTTP/2 with prior knowledge": {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", []int{404}},
		"junk behind a request":       {"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n\x00\xff\r\n\r\n", []int{200, 400}},
		"a method of its own":         {"BREW /publish HTTP/1.1\r\nHost: x\r\n\r\n", []int{405}},
		"no host":                     {"GET /livez HTTP/1.1\r\n\r\n", []int{400}},
		"a header without end":        {"GET /livez HTTP/1.1\r\nX: " + strings.Repeat("x", 64<<10), []int{431}},
		"a header with a NUL":         {"GET /livez HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n", []int{400}},
		"two lengths":                 {head + "Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}", []int{400}},
		"a negative length":           {head + "Content-Length: -1\r\n\r\n{}", []int{400}},
		"a length too short":          {head + "Content-Length: 10\r\n\r\n" + anyEvent, []int{400, 400}},
		"a length too long":           {head + "Content-Length: 1000\r\n\r\n" + anyEvent, []int{400}},
		"chunks of no length":         {head + "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n", []int{400}},
		"a chunk of 2 to the 72":      {head + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n{}", []int{400}},
		"an encoding of transfer":     {head + "Transfer-Encoding: gzip\r\n\r\n{}", []int{501}},
		"33 MiB":                      {withBody("", strings.Repeat(" ", 33<<20)), []int{413}},
		"a bomb":                      {withBody("Content-Encoding: gzip\r\n", bomb), []int{413}},
		"half a bomb":                 {withBody("Content-Encoding: gzip\r\n", bomb[:1000]), []int{400}},
		"no gzip":                     {withBody("Content-Encoding: gzip\r\n", anyEvent), []int{400}},
		"an unknown encoding":         {withBody("Content-Encoding: br\r\n", anyEvent), []int{415}},
		"deep nesting":                {replaced("1}", strings.Repeat(`{"a":`, 1<<20)), []int{422}},
		"a number of 2 MiB":           {replaced("1}", strings.Repeat("9", 2<<20)+"}"), []int{413}},
		"invalid UTF-8":               {replaced("hostile", "host\xffile"), []int{400}},
		"half a surrogate":            {replaced("hostile", `\ud800`), []int{400}},
		"a name twice":                {replaced(`"v":1`, `"v":1,"v":2`), []int{400}},
		"a time-out of no number":     {withBody("Request-Timeout: soon\r\n", anyEvent), []int{400}},
	}
}

// say sends a text, over a connection of its own, ends it, and returns the statuses
// that are answered.
func say(ctx context.Context, n *Node, text string) (statuses []int, err error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", n.Addresses().HTTP)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		// Whether all of it is taken is for the answer to show.
		_, _ = io.WriteString(conn, text)
		_ = conn.(*net.TCPConn).CloseWrite()
	}()
	defer func() { <-sent }()
	answers := bufio.NewReader(conn)
	for {
		res, err := http.ReadResponse(answers, nil)
		if err != nil {
			return statuses, nil //nolint:nilerr // The end of the answers.
		}
		statuses = append(statuses, res.StatusCode)
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			return statuses, err
		}
		_ = res.Body.Close()
	}
}

// crowdAt opens connections to an address, says something on each, and holds them.
func crowdAt(t *testing.T, addr, text string, many int) {
	t.Helper()
	var dialing sync.WaitGroup
	for range 8 {
		dialing.Go(func() {
			for range many / 8 {
				conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr)
				if err != nil {
					t.Errorf("%s: %v", addr, err)
					return
				}
				t.Cleanup(func() { _ = conn.Close() })
				_, _ = io.WriteString(conn, text)
			}
		})
	}
	dialing.Wait()
}

// mostMemory is what a node may take under any of this, in bytes. It has 128 MiB for
// bodies and 64 MiB for what waits, and the garbage of both.
const mostMemory = 700 << 20

func requireSound(t *testing.T, c *Cluster) {
	t.Helper()
	for _, n := range c.Nodes() {
		require.True(t, n.Alive(), n.Name())
		use, err := useOf(n.PID())
		require.NoError(t, err)
		require.Less(t, use.rss, uint64(mostMemory), n.Name())
	}
}

// TestHostileInput says nonsense to all nodes, throws bombs at them, and fills their
// ports with connections that are never used, while a load goes on. The load gets
// on during each, loses nothing, and no node dies or grows.
func TestHostileInput(t *testing.T) {
	c := processes(t)
	tr := newTrial(t, c, func(cfg *loadgen.Config) {
		cfg.Workload.Events, cfg.Duration = 0, 10*time.Minute
		cfg.Batch, cfg.Concurrency, cfg.Rate = 20, 8, 2000
	})
	done := make(chan loadgen.Report, 1)
	go func() { done <- tr.load.Run(t.Context()) }()
	getsOn := func(t *testing.T) {
		t.Helper()
		require.NoError(t, tr.meter.reach(t.Context(), tr.meter.arm()+1000))
		requireSound(t, c)
	}
	getsOn(t)
	t.Run("nonsense", func(t *testing.T) {
		for name, sent := range nonsense() {
			for _, n := range c.Nodes() {
				statuses, err := say(t.Context(), n, sent.text)
				require.NoError(t, err, name)
				require.Equal(t, sent.statuses, statuses, name)
			}
		}
		getsOn(t)
	})
	t.Run("bombs", func(t *testing.T) {
		text := nonsense()["a bomb"].text
		var throwing sync.WaitGroup
		for _, n := range c.Nodes() {
			for range 10 {
				throwing.Go(func() {
					statuses, err := say(t.Context(), n, text)
					if err != nil || len(statuses) != 1 || statuses[0] != 413 && statuses[0] != 429 {
						t.Errorf("%s: %v, %v", n.Name(), statuses, err)
					}
				})
			}
		}
		throwing.Wait()
		getsOn(t)
	})
	for name, flood := range map[string]struct {
		addr func(*Node) string
		text string
	}{
		"silent connections":           {func(n *Node) string { return n.Addresses().HTTP }, ""},
		"headers without end":          {func(n *Node) string { return n.Addresses().HTTP }, "GET /livez HTTP/1.1\r\nX: y"},
		"bodies without end":           {func(n *Node) string { return n.Addresses().HTTP }, head + "Content-Length: 100\r\n\r\n{"},
		"connections to the node port": {func(n *Node) string { return n.Addresses().Raft }, "ONCE"},
		"connections to gossip":        {func(n *Node) string { return n.Addresses().Gossip }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			for _, n := range c.Nodes() {
				crowdAt(t, flood.addr(n), flood.text, 2400)
			}
			getsOn(t)
		})
	}
	tr.load.Finish()
	report := <-done
	require.Equal(t, loadgen.TimeOver, report.Ended)
	require.NoError(t, c.WaitReady(t.Context()))
	require.NoError(t, c.Check(t.Context()))
}
