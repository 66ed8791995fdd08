package client_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/httpapi/client"
)

// silent says nothing, as a paused node does, until the client gives the request up.
func silent(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

// paused is an address where the kernel takes connections and nobody serves them.
func paused(t *testing.T) string {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	return l.Addr().String()
}

func TestANodeThatRefusesCostsFewAttempts(t *testing.T) {
	t.Parallel()
	alive := newNode(t, stores(1))
	c := newClient(t, []string{nowhere(t), alive.URL})
	start := time.Now()
	for range 100 {
		_, err := c.Publish(t.Context(), event("a"))
		require.NoError(t, err)
	}
	require.Equal(t, int64(100), alive.requests.Load())
	// One attempt finds it out, and one in each half second tries again.
	require.LessOrEqual(t, c.Resent(), 1+int64(time.Since(start)/(500*time.Millisecond)))

	// A client that sends each request once only has the same of it.
	once := newClient(t, []string{nowhere(t), alive.URL}, client.WithoutRetries())
	failed := 0
	start = time.Now()
	for range 100 {
		if _, err := once.Publish(t.Context(), event("a")); err != nil {
			require.ErrorIs(t, err, oncelog.ErrNotApplied)
			failed++
		}
	}
	require.LessOrEqual(t, failed, 1+int(time.Since(start)/(500*time.Millisecond)))
}

func TestASilentNodeDoesNotHoldARequest(t *testing.T) {
	t.Parallel()
	for name, address := range map[string]func(*testing.T) string{
		"takes the request": func(t *testing.T) string { return newNode(t, silent).URL },
		"takes nothing":     paused,
		"stops in mid-answer": func(t *testing.T) string {
			return newNode(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Length", "100")
				_, _ = io.WriteString(w, `{"status"`)
				_ = http.NewResponseController(w).Flush()
				silent(w, r)
			}).URL
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			alive := newNode(t, stores(7))
			// Without a deadline, the patience counts.
			c := newClient(t, []string{address(t), alive.URL}, client.WithPatience(time.Second))
			receipt, err := c.Publish(context.WithoutCancel(t.Context()), event("a"))
			require.NoError(t, err)
			require.Equal(t, uint64(7), receipt.ID)
			require.Equal(t, int64(1), c.Resent())

			// With one, the silent node gets a part of it.
			ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
			defer cancel()
			c = newClient(t, []string{address(t), alive.URL})
			receipt, err = c.Publish(ctx, event("a"))
			require.NoError(t, err)
			require.Equal(t, uint64(7), receipt.ID)
			require.Equal(t, int64(1), c.Resent())
		})
	}
}

func TestSilenceAfterTheRequestIsAnUnknownOutcome(t *testing.T) {
	t.Parallel()
	options := []client.Option{client.WithoutRetries(), client.WithPatience(50 * time.Millisecond)}
	c := newClient(t, []string{newNode(t, silent).URL}, options...)
	_, err := c.Publish(context.WithoutCancel(t.Context()), event("a"))
	require.ErrorIs(t, err, oncelog.ErrOutcomeUnknown)
	require.ErrorContains(t, err, "the node is silent")
	_, err = c.Stats(context.WithoutCancel(t.Context()), oncelog.Stale)
	require.ErrorIs(t, err, oncelog.ErrUnavailable)
}

// Silence is bounded, and not how long an attempt takes.
func TestASlowAnswerIsNoSilence(t *testing.T) {
	t.Parallel()
	const pieces, pause = 10, 50 * time.Millisecond
	n := newNode(t, func(w http.ResponseWriter, r *http.Request) {
		for i := range pieces {
			select {
			case <-time.After(pause):
			case <-r.Context().Done():
			}
			_, _ = io.WriteString(w, lines(uint64(i+1)))
			_ = http.NewResponseController(w).Flush()
		}
	})
	c := newClient(t, []string{n.URL}, client.WithPatience(pieces*pause-pause))
	count := 0
	for _, err := range c.Events(context.WithoutCancel(t.Context()), oncelog.Query{}, oncelog.Stale) {
		require.NoError(t, err)
		count++
	}
	require.Equal(t, pieces, count)
	require.Equal(t, int64(1), n.requests.Load())
}

// A node that takes a large body in small pieces is alive.
func TestASlowBodyIsNoSilence(t *testing.T) {
	t.Parallel()
	const pieces, pause = 10, 40 * time.Millisecond
	var events []oncelog.Event
	for i := range 24 {
		e := event(fmt.Sprint(i))
		e.Payload = []byte(`{"text":"` + strings.Repeat("x", oncelog.MaxPayloadBytes-20) + `"}`)
		events = append(events, e)
	}
	n := newNode(t, func(w http.ResponseWriter, r *http.Request) {
		for range pieces {
			select {
			case <-time.After(pause):
			case <-r.Context().Done():
			}
			_, _ = io.CopyN(io.Discard, r.Body, 2<<20)
		}
		_, _ = io.Copy(io.Discard, r.Body)
		fails(oncelog.ErrTooLarge)(w, r)
	})
	c := newClient(t, []string{n.URL}, client.WithPatience(pieces*pause-pause))
	_, err := c.PublishBatch(context.WithoutCancel(t.Context()), events)
	require.ErrorIs(t, err, oncelog.ErrTooLarge)
	require.Equal(t, int64(1), n.requests.Load())
}

func TestPatienceIsChecked(t *testing.T) {
	t.Parallel()
	_, err := client.New([]string{"http://x"}, client.WithPatience(0))
	require.ErrorContains(t, err, "patience of 0s")
}
