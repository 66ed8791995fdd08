//go:build unix

package client_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/httpapi/client"
	"github.com/oncelog/oncelog/httpapi/wire"
)

// The benchmarks keep 64 requests under way at a server that does next to nothing:
// it takes what one read brings for a request, which it is where the request is
// one write, and always answers the same. So what is allocated is the client's,
// and BenchmarkBareExchange is what a request costs at least.

const benchConnections = 64

// canned serves one answer to everything.
func canned(b *testing.B, contentType, body string) (address string) {
	b.Helper()
	answer := fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nDate: Mon, 23 Nov 2026 12:00:00 GMT\r\nContent-Length: %d\r\n\r\n%s",
		contentType, len(body), body)
	var lc net.ListenConfig
	l, err := lc.Listen(b.Context(), "tcp", "127.0.0.1:0")
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, l.Close()) })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go repeat(conn, answer)
		}
	}()
	return l.Addr().String()
}

func repeat(conn net.Conn, answer []byte) {
	defer func() { _ = conn.Close() }()
	request := make([]byte, 64<<10)
	for {
		if _, err := conn.Read(request); err != nil {
			return
		}
		if _, err := conn.Write(answer); err != nil {
			return
		}
	}
}

// cannedReceipt answers that event("a") is stored.
func cannedReceipt(b *testing.B) (address string) {
	b.Helper()
	r := oncelog.Receipt{Key: oncelog.Key{Topic: "order", EventID: "a"}, Status: oncelog.Stored, ID: 7}
	return canned(b, "application/json", string(wire.AppendReceipt(nil, &r)))
}

// measure runs one as often as it takes, and tells the processor's time for it,
// that of the server and of the kernel included.
func measure(b *testing.B, one func(ctx context.Context) error) {
	b.Helper()
	b.ReportAllocs()
	b.SetParallelism(benchConnections / runtime.GOMAXPROCS(0))
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	before := processorTime(b)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := one(ctx); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64((processorTime(b)-before).Microseconds())/float64(b.N), "cpu-us/op")
}

func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var use syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &use))
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

func benchClient(b *testing.B, address string) *client.Client {
	b.Helper()
	c, err := client.New([]string{address}, client.WithConcurrency(benchConnections))
	require.NoError(b, err)
	b.Cleanup(c.Close)
	return c
}

func BenchmarkPublish(b *testing.B) {
	c, e := benchClient(b, cannedReceipt(b)), event("a")
	measure(b, func(ctx context.Context) error {
		_, err := c.Publish(ctx, e)
		return err
	})
}

// BenchmarkEventsPage reads pages of one event, as who follows a topic does.
func BenchmarkEventsPage(b *testing.B) {
	c := benchClient(b, canned(b, "application/x-ndjson", lines(1)))
	query := oncelog.Query{Topics: []string{"order"}, Limit: 1}
	measure(b, func(ctx context.Context) error {
		for _, err := range c.Events(ctx, query, oncelog.Stale) {
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// BenchmarkEventsScan reads a thousand events at once.
func BenchmarkEventsScan(b *testing.B) {
	const events = 1000
	ids := make([]uint64, events)
	for i := range ids {
		ids[i] = uint64(i + 1)
	}
	c := benchClient(b, canned(b, "application/x-ndjson", lines(ids...)))
	measure(b, func(ctx context.Context) error {
		for _, err := range c.Events(ctx, oncelog.Query{}, oncelog.Stale) {
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// BenchmarkBareExchange is a request and its answer as net/http writes and reads
// them, and nothing else.
func BenchmarkBareExchange(b *testing.B) {
	address := cannedReceipt(b)
	e := event("a")
	body, err := wire.AppendEvent(nil, &e)
	require.NoError(b, err)
	idle := make(chan *bufio.ReadWriter, benchConnections)
	for range benchConnections {
		var d net.Dialer
		conn, err := d.DialContext(b.Context(), "tcp", address)
		require.NoError(b, err)
		b.Cleanup(func() { _ = conn.Close() })
		idle <- bufio.NewReadWriter(bufio.NewReader(conn), bufio.NewWriter(conn))
	}
	measure(b, func(ctx context.Context) error {
		conn := <-idle
		defer func() { idle <- conn }()
		return exchange(ctx, conn, "http://"+address+"/publish", body)
	})
}

func exchange(ctx context.Context, conn *bufio.ReadWriter, url string, body []byte) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if err := r.Write(conn); err != nil {
		return err
	}
	if err := conn.Flush(); err != nil {
		return err
	}
	res, err := http.ReadResponse(conn.Reader, r)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	_, err = io.ReadAll(res.Body)
	return err
}
