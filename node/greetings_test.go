package node

import (
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestAPeerIsHeardThroughAFlood opens many more connections than may wait, which say
// nothing or half of a preamble, and then lets a peer connect.
func TestAPeerIsHeardThroughAFlood(t *testing.T) {
	t.Parallel()
	p, theirs := portOf(t, "n1")
	_, ours := portOf(t, "n2")
	addr := p.listener.Addr().String()
	var flood []net.Conn
	for range 2 * maxGreetings {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr)
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		_, err = conn.Write(preambleMagic[:])
		require.NoError(t, err)
		flood = append(flood, conn)
	}
	conn, err := dialPeer(t.Context(), ours, theirs.get().NodeID, addr, streamCalls)
	require.NoError(t, err)
	taken, err := p.calls.Accept()
	require.NoError(t, err)
	require.NoError(t, taken.Close())
	_ = conn.Close()
	_, err = flood[0].Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF, "the oldest is closed")
	p.greetings.mu.Lock()
	waiting := p.greetings.waiting.Len()
	p.greetings.mu.Unlock()
	require.LessOrEqual(t, waiting, maxGreetings)
}

// TestRefusalsAreLoggedSeldom has a hundred strangers say nonsense.
func TestRefusalsAreLoggedSeldom(t *testing.T) {
	t.Parallel()
	id, err := openIdentity(t.TempDir(), "n1")
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	log := new(lockedBuffer)
	p := openPort(l, l.Addr().String(), id, slog.New(slog.NewTextHandler(log, nil)))
	begin := time.Now()
	for range 100 {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", l.Addr().String())
		require.NoError(t, err)
		_, err = conn.Write([]byte(strings.Repeat("x", preambleSize)))
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, conn)
		require.NoError(t, err)
		require.NoError(t, conn.Close())
	}
	require.NoError(t, p.Close())
	require.NoError(t, id.Close())
	lines := strings.Count(log.String(), "connection refused")
	require.Positive(t, lines)
	require.LessOrEqual(t, lines, 1+int(time.Since(begin)/quietFor), log)
}

func TestSeldomCountsWhatItSkips(t *testing.T) {
	t.Parallel()
	var s seldom
	at := time.Unix(1, 0)
	for i, want := range []bool{true, false, false, true, false} {
		if i == 3 {
			at = at.Add(quietFor)
		}
		skipped, ok := s.due(at)
		require.Equal(t, want, ok, i)
		if i == 3 {
			require.Equal(t, 2, skipped)
		}
	}
}
