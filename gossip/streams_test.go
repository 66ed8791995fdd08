package gossip

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestSilentStreamsMakeRoom opens more connections than there may be, which say
// nothing. The oldest are closed, and a node joins all the same.
func TestSilentStreamsMakeRoom(t *testing.T) {
	t.Parallel()
	cfg := testConfig("a")
	cfg.Timings.StreamTimeout = time.Hour // memberlist itself would close none of them
	a := startNode(t, cfg)
	var flood []net.Conn
	for range maxStreams + 50 {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", a.Addr())
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		flood = append(flood, conn)
	}
	for _, conn := range flood[:50] {
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(20*time.Second)))
		_, err := conn.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
	}
	b := startNode(t, testConfig("b", a.Addr()))
	await(t, b, "both", func(ms []Member) bool { return len(ms) == 2 })
	await(t, a, "both", func(ms []Member) bool { return len(ms) == 2 })
}
