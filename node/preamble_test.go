package node

import (
	"context"
	"io"
	"log/slog"
	"net"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

func TestPreambleGolden(t *testing.T) {
	t.Parallel()
	p := preamble{
		kind: streamCalls, group: 0,
		cluster: uuid.MustParse("11111111-1111-1111-1111-111111111111"),
		target:  uuid.MustParse("22222222-2222-2222-2222-222222222222"),
		dialler: uuid.MustParse("33333333-3333-3333-3333-333333333333"),
	}
	b := p.encode()
	require.Equal(t, "ONCE\x01\x03\x00\x00", string(b[:8]))
	require.Equal(t, byte(0x11), b[8])
	require.Equal(t, byte(0x22), b[24])
	require.Equal(t, byte(0x33), b[40])
	again, err := decodePreamble(b)
	require.NoError(t, err)
	require.Equal(t, p, again)
	for i := range b {
		broken := b
		broken[i] ^= 0x40
		_, err := decodePreamble(broken)
		require.ErrorIs(t, err, errBadPreamble, "byte %d", i)
	}
}

func FuzzPreamble(f *testing.F) {
	seed := preamble{kind: streamRaft}.encode()
	f.Add(seed[:])
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) != preambleSize {
			return
		}
		p, err := decodePreamble([preambleSize]byte(data))
		if err == nil {
			b := p.encode()
			require.Equal(t, data, b[:])
		}
	})
}

// portOf opens a node port with an identity of its own.
func portOf(t *testing.T, name string) (*port, *identity) {
	t.Helper()
	id, err := openIdentity(t.TempDir(), name)
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := openPort(l, l.Addr().String(), id, slog.New(slog.DiscardHandler))
	t.Cleanup(func() {
		require.NoError(t, p.Close())
		require.NoError(t, id.Close())
	})
	return p, id
}

func TestPortTellsStrangersApart(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	p, theirs := portOf(t, "n1")
	_, ours := portOf(t, "n2")
	addr, target := p.listener.Addr().String(), theirs.get().NodeID
	home := uuid.New()

	_, err := dialPeer(ctx, ours, uuid.New(), addr, streamCalls)
	require.ErrorIs(t, err, errRefused, "a node that is not the target")
	_, err = dialPeer(ctx, ours, target, addr, streamRaft)
	require.ErrorIs(t, err, errRefused, "raft from a node of no cluster")
	_, err = dialPeer(ctx, ours, target, addr, streamKind(9))
	require.ErrorIs(t, err, errRefused, "an unknown stream")

	require.NoError(t, ours.belongTo(home))
	go func() {
		conn, err := p.raft.Accept()
		if err == nil {
			_, _ = io.Copy(conn, conn)
		}
	}()
	conn, err := dialPeer(ctx, ours, target, addr, streamRaft)
	require.NoError(t, err)
	_, err = conn.Write([]byte("hello"))
	require.NoError(t, err)
	var echo [5]byte
	_, err = io.ReadFull(conn, echo[:])
	require.NoError(t, err)
	require.Equal(t, "hello", string(echo[:]))
	require.NoError(t, conn.Close())
	require.Equal(t, home, theirs.get().ClusterID, "the first raft stream binds a new node")

	_, stranger := portOf(t, "n3")
	require.NoError(t, stranger.belongTo(uuid.New()))
	_, err = dialPeer(ctx, stranger, target, addr, streamRaft)
	require.ErrorIs(t, err, errRefused, "raft of another cluster")
	_, err = dialPeer(ctx, stranger, target, addr, streamCalls)
	require.ErrorIs(t, err, errRefused, "calls of another cluster")
	require.Equal(t, home, theirs.get().ClusterID)
}

func TestPortRefusesJunk(t *testing.T) {
	t.Parallel()
	p, _ := portOf(t, "n1")
	conn, err := net.Dial("tcp", p.listener.Addr().String())
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	_, err = conn.Write(append([]byte("GET / HTTP/1.1\r\n\r\n"), make([]byte, preambleSize)...))
	require.NoError(t, err)
	reply, err := io.ReadAll(conn)
	if err == nil && len(reply) > 0 {
		require.Equal(t, byte(badPreamble), reply[5])
	}
}
