package gossip

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// The node that introduced two others is gone for good. When the link between
// them is cut and mended, what heals it is that each tries again whom it has
// found failed.
func TestPartitionHeals(t *testing.T) {
	t.Parallel()
	introducer := startNode(t, testConfig("i"))
	a, linkA := startBehindLink(t, "a", introducer.Addr())
	b, linkB := startBehindLink(t, "b", introducer.Addr())
	awaitStatuses(t, a, "a=alive b=alive i=alive")
	awaitStatuses(t, b, "a=alive b=alive i=alive")
	m, _ := a.Lookup("b")
	require.Equal(t, linkB.addr, m.GossipAddr)
	require.NoError(t, introducer.Close())

	linkA.cut.Store(true)
	linkB.cut.Store(true)
	awaitStatuses(t, a, "a=alive b=failed i=failed")
	awaitStatuses(t, b, "a=failed b=alive i=failed")
	linkA.cut.Store(false)
	linkB.cut.Store(false)
	awaitStatuses(t, a, "a=alive b=alive i=failed")
	awaitStatuses(t, b, "a=alive b=alive i=failed")
}

// startBehindLink starts a node that the others reach through a link only.
func startBehindLink(t *testing.T, id string, join ...string) (*Gossip, *link) {
	t.Helper()
	cfg := testConfig(id, join...)
	l := newLink(t)
	cfg.AdvertiseAddr = l.addr
	g := startNode(t, cfg)
	l.forward(t, g.Addr())
	return g, l
}

// link forwards TCP and UDP from its own address to a node's, unless cut.
type link struct {
	addr, target string
	cut          atomic.Bool
	tcp          *net.TCPListener
	udp          *net.UDPConn
	wg           sync.WaitGroup
}

func newLink(t *testing.T) *link {
	t.Helper()
	tcp, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	at := tcp.Addr().(*net.TCPAddr)
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: at.IP, Port: at.Port})
	require.NoError(t, err)
	return &link{addr: at.String(), tcp: tcp, udp: udp}
}

// forward begins to carry what comes, until the test ends.
func (l *link) forward(t *testing.T, target string) {
	l.target = target
	l.wg.Go(l.forwardPackets)
	l.wg.Go(l.forwardStreams)
	t.Cleanup(func() {
		require.NoError(t, l.tcp.Close())
		require.NoError(t, l.udp.Close())
		l.wg.Wait()
	})
}

func (l *link) forwardPackets() {
	to, err := net.ResolveUDPAddr("udp", l.target)
	buf := make([]byte, 1<<16)
	for err == nil {
		var n int
		if n, _, err = l.udp.ReadFrom(buf); err == nil && !l.cut.Load() {
			_, _ = l.udp.WriteTo(buf[:n], to)
		}
	}
}

func (l *link) forwardStreams() {
	for {
		conn, err := l.tcp.Accept()
		if err != nil {
			return
		}
		l.wg.Go(func() { l.forwardStream(conn) })
	}
}

// forwardStream carries one exchange; memberlist's end with the answer.
func (l *link) forwardStream(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	var dialer net.Dialer
	node, err := dialer.Dial("tcp", l.target)
	if err != nil || l.cut.Load() {
		return
	}
	defer func() { _ = node.Close() }()
	l.wg.Go(func() {
		_, _ = io.Copy(node, conn)
		_ = node.Close()
	})
	_, _ = io.Copy(conn, node)
}
