package node

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"
)

// BenchmarkPublishAlone is one publisher, one event at a time, over HTTP to the
// leader of three nodes, beside the least that a quorum can do for it: a commit of
// the log store on the leader, one after it on a follower, and a round trip.
func BenchmarkPublishAlone(b *testing.B) {
	nodes := benchCluster(b)
	leader := nodes[slices.IndexFunc(nodes, func(n *Node) bool { _, err := n.leadership.leads(); return err == nil })]
	l, err := openLog(logKinds()[0], b.TempDir(), slog.New(slog.DiscardHandler), func(err error) { b.Error(err) }, func(uint64, int) {})
	require.NoError(b, err)
	defer func() { require.NoError(b, l.Close()) }()
	echo := echoing(b)

	var next atomic.Int64
	event := benchEvents(1, &next)[0]
	publish := func() {
		body := fmt.Sprintf(`{"topic":"order","event_id":"alone-%d","timestamp":"2026-01-01T00:00:00Z","source":"bench","payload":%s}`, next.Add(1), event.Payload)
		resp, err := http.Post("http://"+leader.Addr()+"/publish", "application/json", bytes.NewBufferString(body))
		require.NoError(b, err)
		_, err = io.Copy(io.Discard, resp.Body)
		require.NoError(b, err)
		require.NoError(b, resp.Body.Close())
		require.Equal(b, http.StatusOK, resp.StatusCode)
	}
	index := uint64(0)
	floor := func() {
		for range 2 {
			index++
			require.NoError(b, l.StoreLog(&raft.Log{Index: index, Term: 1, Type: raft.LogCommand, Data: event.Payload}))
		}
		_, err := echo.Write([]byte{1})
		require.NoError(b, err)
		_, err = io.ReadFull(echo, make([]byte, 1))
		require.NoError(b, err)
	}
	var ours, least []time.Duration
	for b.Loop() {
		ours, least = append(ours, timed(publish)), append(least, timed(floor))
	}
	b.ReportMetric(milliseconds(ours), "publish-p50-ms")
	b.ReportMetric(milliseconds(least), "least-p50-ms")
	b.ReportMetric(milliseconds(ours)/milliseconds(least), "ratio")
}

func timed(do func()) time.Duration {
	begin := time.Now()
	do()
	return time.Since(begin)
}

// milliseconds is the median.
func milliseconds(of []time.Duration) float64 {
	slices.Sort(of)
	return float64(of[len(of)/2].Microseconds()) / 1000
}

// echoing is a connection that answers what it is sent.
func echoing(b *testing.B) net.Conn {
	b.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, listener.Close()) })
	go func() {
		if conn, err := listener.Accept(); err == nil {
			_, _ = io.Copy(conn, conn)
			_ = conn.Close()
		}
	}()
	conn, err := net.Dial("tcp", listener.Addr().String())
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, conn.Close()) })
	return conn
}
