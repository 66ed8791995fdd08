package client_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/httpapi/client"
)

// counted is a server that tells how many connections it was given.
func counted(t *testing.T, answer step) (*httptest.Server, *atomic.Int64) {
	t.Helper()
	var made atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(answer))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			made.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	return server, &made
}

func TestAConnectionIsUsedAgain(t *testing.T) {
	t.Parallel()
	server, made := counted(t, stores(1))
	c := newClient(t, []string{server.URL})
	for range 10 {
		_, err := c.Publish(t.Context(), event("a"))
		require.NoError(t, err)
	}
	require.Equal(t, int64(1), made.Load())
}

func TestNoMoreConnectionsAreKeptThanWanted(t *testing.T) {
	t.Parallel()
	const kept, together = 2, 4
	arrived, proceed := make(chan bool), make(chan bool)
	server, made := counted(t, func(w http.ResponseWriter, r *http.Request) {
		arrived <- true
		<-proceed
		stores(1)(w, r)
	})
	c := newClient(t, []string{server.URL}, client.WithConcurrency(kept))
	for round := range int64(3) {
		var publishing sync.WaitGroup
		for range together {
			publishing.Go(func() {
				_, err := c.Publish(t.Context(), event("a"))
				require.NoError(t, err)
			})
		}
		for range together {
			<-arrived
		}
		for range together {
			proceed <- true
		}
		publishing.Wait()
		require.Equal(t, together+round*(together-kept), made.Load())
	}
}

// A node that is restarted ends the connections that are idle. The next request
// must not pay for that, also where each is sent only once.
func TestAConnectionThatTheNodeHasEndedIsNotUsed(t *testing.T) {
	t.Parallel()
	server, made := counted(t, stores(1))
	c := newClient(t, []string{server.URL}, client.WithoutRetries())
	for round := range int64(5) {
		_, err := c.Publish(t.Context(), event("a"))
		require.NoError(t, err)
		require.Equal(t, round+1, made.Load())
		server.CloseClientConnections()
	}
}

func TestAnAnswerBeforeTheEndOfTheBodyCounts(t *testing.T) {
	t.Parallel()
	server, _ := counted(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		_, _ = io.WriteString(w, `{"title":"too large","status":413,"code":"too_large"}`)
	})
	c := newClient(t, []string{server.URL})
	events := make([]oncelog.Event, 20)
	for i := range events {
		events[i] = event("a")
		events[i].Payload = []byte(`{"x":"` + strings.Repeat("x", 1<<19) + `"}`)
	}
	_, err := c.PublishBatch(t.Context(), events)
	require.ErrorIs(t, err, oncelog.ErrTooLarge)
}

func TestARequestEndsWithItsContext(t *testing.T) {
	t.Parallel()
	server, _ := counted(t, silent)
	c := newClient(t, []string{server.URL})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	begin := time.Now()
	_, err := c.Publish(ctx, event("a"))
	require.ErrorIs(t, err, oncelog.ErrOutcomeUnknown)
	require.Less(t, time.Since(begin), 5*time.Second)
}

// It ends at once also where the answer has begun, and says why it did.
func TestAnAnswerEndsWithItsContext(t *testing.T) {
	t.Parallel()
	server, _ := counted(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, lines(1))
		_ = http.NewResponseController(w).Flush()
		silent(w, r)
	})
	c := newClient(t, []string{server.URL})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	begin := time.Now()
	var failure error
	for _, err := range c.Events(ctx, oncelog.Query{}, oncelog.Stale) {
		failure = err
		cancel()
	}
	require.ErrorIs(t, failure, context.Canceled)
	require.Less(t, time.Since(begin), 5*time.Second)
}

// The first byte that a TLS client says is the type of a handshake record (RFC
// 8446, section 5.1).
func TestHTTPSIsSpokenWhereItIsAskedFor(t *testing.T) {
	t.Parallel()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	first := make(chan byte, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		var b [1]byte
		_, _ = io.ReadFull(conn, b[:])
		first <- b[0]
	}()
	c := newClient(t, []string{"https://" + l.Addr().String()}, client.WithoutRetries())
	_, err = c.Publish(t.Context(), event("a"))
	require.Error(t, err)
	require.Equal(t, byte(22), <-first)
}

// Two writes would be two system calls on each side, and a server that reads the
// head alone first.
func TestASmallRequestIsOneWrite(t *testing.T) {
	t.Parallel()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	reads := make(chan string, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		buf := make([]byte, 64<<10)
		n, _ := conn.Read(buf)
		reads <- string(buf[:n])
	}()
	c := newClient(t, []string{l.Addr().String()}, client.WithoutRetries())
	_, err = c.Publish(t.Context(), event("a"))
	require.Error(t, err, "the connection was cut")
	require.Contains(t, <-reads, `"event_id":"a"`, "the first read has the body too")
}
