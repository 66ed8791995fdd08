package cluster

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// linkPatience bounds each step of a test of links.
const linkPatience = 30 * time.Second

// lane is a proxy before a target that answers a preamble and then sends back
// what it gets.
type lane struct {
	*proxy
	target net.Listener
}

func newLane(t *testing.T) *lane {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var serving sync.WaitGroup
	serving.Go(func() { serveEcho(l, &serving) })
	p, err := openProxy("127.0.0.1:0", l.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, p.Close())
		_ = l.Close()
		serving.Wait()
	})
	return &lane{p, l}
}

func serveEcho(l net.Listener, serving *sync.WaitGroup) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		serving.Go(func() {
			defer func() { _ = conn.Close() }()
			if _, err := io.CopyN(io.Discard, conn, preambleBytes); err != nil {
				return
			}
			_, _ = conn.Write(make([]byte, preambleAnswerBytes))
			_, _ = io.Copy(conn, conn)
		})
	}
}

// dial connects as a node that has said who it is, and not yet read an answer.
func (l *lane) dial(t *testing.T, dialler uuid.UUID, kind byte) net.Conn {
	t.Helper()
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "tcp", l.listener.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(linkPatience)))
	preamble := make([]byte, preambleBytes)
	preamble[preambleKind] = kind
	copy(preamble[preambleDialler:], dialler[:])
	_, err = conn.Write(preamble)
	require.NoError(t, err)
	return conn
}

// connect is dial for a connection that is taken.
func (l *lane) connect(t *testing.T, dialler uuid.UUID, kind byte) net.Conn {
	t.Helper()
	conn := l.dial(t, dialler, kind)
	_, err := io.CopyN(io.Discard, conn, preambleAnswerBytes)
	require.NoError(t, err)
	return conn
}

// echo sends bytes and takes them back.
func echo(conn net.Conn, data []byte) error {
	if _, err := conn.Write(data); err != nil {
		return err
	}
	back := make([]byte, len(data))
	if _, err := io.ReadFull(conn, back); err != nil {
		return err
	}
	if !bytes.Equal(data, back) {
		return errors.New("other bytes came back")
	}
	return nil
}

func requireReset(t *testing.T, conn net.Conn) {
	t.Helper()
	_, err := conn.Read(make([]byte, 1))
	require.ErrorIs(t, err, syscall.ECONNRESET)
}

const kindRaft = 1

func TestLinkCarriesEverything(t *testing.T) {
	t.Parallel()
	l, a := newLane(t), uuid.New()
	conn := l.connect(t, a, kindRaft)
	data := make([]byte, 1<<20)
	for i := range data {
		data[i] = byte(rand.Uint32())
	}
	sent := make(chan error, 1)
	go func() {
		_, err := conn.Write(data)
		sent <- errors.Join(err, conn.(*net.TCPConn).CloseWrite())
	}()
	back, err := io.ReadAll(io.LimitReader(conn, int64(len(data))))
	require.NoError(t, err)
	require.NoError(t, <-sent)
	require.True(t, bytes.Equal(data, back))
	traffic := l.link(a).Traffic()
	require.Equal(t, 1, traffic.Streams)
	require.Equal(t, [2]int64{preambleBytes + 1<<20, preambleAnswerBytes + 1<<20}, traffic.Passed)
}

func TestCutLinkResetsAndRefuses(t *testing.T) {
	t.Parallel()
	l, a, b := newLane(t), uuid.New(), uuid.New()
	cut, other := l.connect(t, a, kindRaft), l.connect(t, b, kindRaft)
	l.link(a).Cut()
	requireReset(t, cut)
	requireReset(t, l.dial(t, a, kindRaft))
	require.NoError(t, echo(other, []byte("another dialler's link is whole")))
	require.Equal(t, 1, l.link(a).Traffic().Refused)
	l.link(a).Heal()
	require.NoError(t, echo(l.connect(t, a, kindRaft), []byte("healed")))
}

func TestSilentLinkLosesOneWay(t *testing.T) {
	t.Parallel()
	for w, name := range map[Way]string{There: "there", Back: "back"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, a := newLane(t), uuid.New()
			conn, whole := l.connect(t, a, kindRaft), l.connect(t, uuid.New(), kindRaft)
			link := l.link(a)
			link.Silence(w)
			_, err := conn.Write([]byte("lost"))
			require.NoError(t, err)
			require.Eventually(t, func() bool { return link.Traffic().Vanished[w] == 4 }, linkPatience, time.Millisecond)
			require.Zero(t, link.Traffic().Vanished[1-w])
			require.NoError(t, echo(whole, []byte("whole")))
			link.Heal()
			requireReset(t, conn)
			require.NoError(t, echo(l.connect(t, a, kindRaft), []byte("healed")))
		})
	}
}

func TestDelayedLinkIsLateAndWhole(t *testing.T) {
	t.Parallel()
	const delay, messages = 50 * time.Millisecond, 20
	l, a := newLane(t), uuid.New()
	conn := l.connect(t, a, kindRaft)
	l.link(a).Delay(delay)
	start := time.Now()
	for range messages {
		_, err := conn.Write([]byte("x"))
		require.NoError(t, err)
	}
	_, err := io.CopyN(io.Discard, conn, messages)
	require.NoError(t, err)
	require.GreaterOrEqual(t, time.Since(start), 2*delay)
	require.NoError(t, l.proxy.Close(), "nothing that is delayed holds up the end")
}

func TestThrottledLinkIsSlowAndWhole(t *testing.T) {
	t.Parallel()
	l, a := newLane(t), uuid.New()
	conn := l.connect(t, a, kindRaft)
	l.link(a).Throttle(100_000)
	start := time.Now()
	require.NoError(t, echo(conn, bytes.Repeat([]byte("x"), 5000)))
	require.GreaterOrEqual(t, time.Since(start), 2*50*time.Millisecond, "both ways take their time")
	l.link(a).Throttle(1)
	_, err := conn.Write([]byte("more than this test waits for"))
	require.NoError(t, err)
	require.NoError(t, l.proxy.Close(), "nothing that is slow holds up the end")
}

// frame is an empty or longer frame of HTTP/2 with some bytes in it.
func frame(kind byte, length int) []byte {
	return append([]byte{byte(length >> 16), byte(length >> 8), byte(length), kind, 0, 0, 0, 0, 1}, bytes.Repeat([]byte{frameHeaders}, length)...)
}

const (
	frameData   = 0
	frameWindow = 8
)

func TestLostReplies(t *testing.T) {
	t.Parallel()
	answer := append(frame(frameHeaders, 20), frame(frameData, 9)...)
	for name, c := range map[string]struct {
		kind        byte
		other, lost []byte
	}{
		"calls": {kindCalls, frame(frameWindow, 4), answer},
		"raft":  {kindRaft, nil, []byte("an answer")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, a := newLane(t), uuid.New()
			conn := l.connect(t, a, c.kind)
			l.link(a).LoseReplies(3)
			for range 2 {
				require.NoError(t, echo(conn, c.other))
				require.NoError(t, echo(conn, c.lost))
			}
			require.NoError(t, echo(conn, c.other), "what is no reply comes through")
			_, err := conn.Write(c.lost)
			require.NoError(t, err)
			requireReset(t, conn)
			traffic := l.link(a).Traffic()
			require.Equal(t, 1, traffic.LostReplies)
			require.Equal(t, int64(preambleBytes+3*len(c.other)+3*len(c.lost)), traffic.Passed[There], "the request went through")
			require.NoError(t, echo(l.connect(t, a, c.kind), c.lost), "the count begins anew")
		})
	}
}

func TestProxyWithoutItsNode(t *testing.T) {
	t.Parallel()
	l := newLane(t)
	require.NoError(t, l.target.Close())
	requireReset(t, l.dial(t, uuid.New(), kindRaft))
	stranger := l.dial(t, uuid.New(), kindRaft)
	_ = stranger.Close()
	_, err := openProxy(l.listener.Addr().String(), "unused")
	require.ErrorIs(t, err, ErrPortInUse)
}

// However the bytes are cut into pieces, the same replies begin in them.
func FuzzReplies(f *testing.F) {
	f.Add(append(make([]byte, preambleAnswerBytes), append(frame(frameHeaders, 300), frame(frameWindow, 4)...)...), uint64(1))
	f.Add(append(make([]byte, preambleAnswerBytes), append(frame(frameData, 0), frame(frameHeaders, 0)...)...), uint64(2))
	f.Fuzz(func(t *testing.T, data []byte, seed uint64) {
		whole := newReplies(kindCalls)
		want := whole.begin(data)
		chance := rand.New(rand.NewPCG(seed, 0))
		pieces, got := newReplies(kindCalls), 0
		for rest := data; len(rest) > 0; {
			n := 1 + chance.IntN(len(rest))
			got += pieces.begin(rest[:n])
			rest = rest[n:]
		}
		require.Equal(t, want, got)
		require.LessOrEqual(t, got, len(data)/frameHeaderBytes)
	})
}
