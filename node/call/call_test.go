package call

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	echo  Method = 1
	block Method = 2
	fault Method = 3
)

var (
	peer        = uuid.UUID{7}
	unavailable = Reply{Status: 9, Body: []byte("not here")}
)

// pipes is a network of connections in memory, which virtual time goes well with.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
	dialed atomic.Int32
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) dial(ctx context.Context, _ uuid.UUID) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.conns <- far:
		p.dialed.Add(1)
		return near, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{} }

// serving runs a test against a server in virtual time.
func serving(t *testing.T, handlers map[Method]Handler, test func(t *testing.T, c *Client, s *Server, network *pipes)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		network := newPipes()
		s := NewServer(handlers, unavailable)
		served := make(chan error, 1)
		go func() { served <- s.Serve(network) }()
		c := NewClient(network.dial)
		test(t, c, s, network)
		require.NoError(t, c.Close())
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = s.Shutdown(ctx)
		require.NoError(t, <-served)
	})
}

func echoing(_ context.Context, body []byte) Reply { return Reply{Status: 3, Body: body} }

func TestManyCallsAtOnceGetTheirOwnReplies(t *testing.T) {
	t.Parallel()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := NewServer(map[Method]Handler{echo: echoing}, unavailable)
	served := make(chan error, 1)
	go func() { served <- s.Serve(listener) }()
	dialled := 0
	c := NewClient(func(ctx context.Context, to uuid.UUID) (net.Conn, error) {
		require.Equal(t, peer, to)
		dialled++
		return (&net.Dialer{}).DialContext(ctx, "tcp", listener.Addr().String())
	})
	var calls sync.WaitGroup
	for i := range maxConcurrent {
		calls.Go(func() {
			body := bytes.Repeat(binary.BigEndian.AppendUint64(nil, uint64(i)), 1+i%500)
			if i == 77 {
				body = make([]byte, MaxBody)
			}
			reply, err := c.Call(t.Context(), peer, echo, body)
			require.NoError(t, err)
			require.EqualValues(t, 3, reply.Status)
			require.True(t, bytes.Equal(body, reply.Body))
		})
	}
	calls.Wait()
	require.Equal(t, 1, dialled, "over one connection")
	require.NoError(t, c.Close())
	require.NoError(t, s.Shutdown(t.Context()))
	require.NoError(t, <-served)
}

func TestAReplyOvertakesASlowOne(t *testing.T) {
	t.Parallel()
	var hold chan struct{}
	handlers := map[Method]Handler{echo: echoing, block: func(context.Context, []byte) Reply { <-hold; return Reply{Status: 1} }}
	serving(t, handlers, func(t *testing.T, c *Client, _ *Server, _ *pipes) {
		hold = make(chan struct{})
		slow := make(chan Reply, 1)
		go func() {
			reply, _ := c.Call(t.Context(), peer, block, nil)
			slow <- reply
		}()
		synctest.Wait()
		reply, err := c.Call(t.Context(), peer, echo, []byte("quick"))
		require.NoError(t, err)
		require.Equal(t, "quick", string(reply.Body))
		require.Empty(t, slow)
		close(hold)
		require.EqualValues(t, 1, (<-slow).Status)
	})
}

func TestAConnectionHasItsShareOfCallsAtOnce(t *testing.T) {
	t.Parallel()
	var begun, refused atomic.Int32
	var hold chan struct{}
	handlers := map[Method]Handler{block: func(context.Context, []byte) Reply { begun.Add(1); <-hold; return Reply{} }}
	serving(t, handlers, func(t *testing.T, c *Client, _ *Server, _ *pipes) {
		hold = make(chan struct{})
		var calls sync.WaitGroup
		for range maxConcurrent + 10 {
			calls.Go(func() {
				reply, err := c.Call(t.Context(), peer, block, nil)
				require.NoError(t, err)
				if reply.Status == unavailable.Status {
					refused.Add(1)
				}
			})
		}
		synctest.Wait()
		require.EqualValues(t, maxConcurrent, begun.Load())
		require.EqualValues(t, 10, refused.Load())
		close(hold)
		calls.Wait()
		require.EqualValues(t, maxConcurrent, begun.Load())
	})
}

func TestAMethodThatNobodyServesIsAnswered(t *testing.T) {
	t.Parallel()
	serving(t, nil, func(t *testing.T, c *Client, _ *Server, _ *pipes) {
		reply, err := c.Call(t.Context(), peer, fault, nil)
		require.NoError(t, err)
		require.Equal(t, unavailable, reply)
	})
}

// What nobody dialled, nobody can have carried out.
func TestWhatWasNotSentSaysSo(t *testing.T) {
	t.Parallel()
	refused := errors.New("refused")
	c := NewClient(func(context.Context, uuid.UUID) (net.Conn, error) { return nil, refused })
	_, err := c.Call(t.Context(), peer, echo, nil)
	require.ErrorIs(t, err, ErrNotSent)
	require.ErrorIs(t, err, refused)
	require.NoError(t, c.Close())
	_, err = c.Call(t.Context(), peer, echo, nil)
	require.ErrorIs(t, err, ErrNotSent)
	require.NoError(t, c.Close())
}

func TestWhoeverWaitsForAConnectionCanGiveUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := NewClient(func(ctx context.Context, _ uuid.UUID) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		ctx, cancel := context.WithTimeout(t.Context(), dialTimeout/4)
		defer cancel()
		begin := time.Now()
		_, err := c.Call(ctx, peer, echo, nil)
		require.ErrorIs(t, err, ErrNotSent)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, dialTimeout/4, time.Since(begin))
		_, err = c.Call(t.Context(), peer, echo, nil)
		require.ErrorIs(t, err, ErrNotSent)
		require.Equal(t, dialTimeout, time.Since(begin), "the dialling itself is bounded")
		require.NoError(t, c.Close())
	})
}

func TestALostConnectionEndsItsCallsAndIsMadeAnew(t *testing.T) {
	t.Parallel()
	var ended error
	handlers := map[Method]Handler{echo: echoing, block: func(ctx context.Context, _ []byte) Reply {
		<-ctx.Done()
		ended = context.Cause(ctx)
		return Reply{}
	}}
	serving(t, handlers, func(t *testing.T, c *Client, s *Server, network *pipes) {
		lost := make(chan error, 1)
		go func() {
			_, err := c.Call(t.Context(), peer, block, nil)
			lost <- err
		}()
		synctest.Wait()
		s.each(func(stream *stream) { stream.end(io.ErrClosedPipe) })
		err := <-lost
		require.ErrorIs(t, err, ErrNoReply, "it may have been carried out")
		require.NotErrorIs(t, err, ErrNotSent)
		synctest.Wait()
		require.ErrorIs(t, ended, context.Canceled, "a call ends with its connection")
		_, err = c.Call(t.Context(), peer, echo, nil)
		require.NoError(t, err)
		require.EqualValues(t, 2, network.dialed.Load())
	})
}

func TestGivingUpDoesNotWaitForThePeer(t *testing.T) {
	t.Parallel()
	left := make(chan time.Duration, 1)
	handlers := map[Method]Handler{block: func(ctx context.Context, _ []byte) Reply {
		deadline, _ := ctx.Deadline()
		left <- time.Until(deadline)
		<-ctx.Done()
		return Reply{}
	}}
	serving(t, handlers, func(t *testing.T, c *Client, _ *Server, _ *pipes) {
		ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
		defer cancel()
		time.AfterFunc(300*time.Millisecond, cancel)
		begin := time.Now()
		_, err := c.Call(ctx, peer, block, nil)
		require.ErrorIs(t, err, ErrNoReply)
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, 300*time.Millisecond, time.Since(begin))
		require.InDelta(t, 700*time.Millisecond, <-left, float64(time.Millisecond), "the peer knows the deadline")
		require.Empty(t, c.links[peer].waiting, "nothing is kept of it")
	})
}

// talk makes a client's connection to a peer that a test plays itself.
func talk(t *testing.T, play func(t *testing.T, far net.Conn), test func(t *testing.T, c *Client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var playing sync.WaitGroup
		c := NewClient(func(context.Context, uuid.UUID) (net.Conn, error) {
			near, far := net.Pipe()
			playing.Go(func() { play(t, far) })
			return near, nil
		})
		test(t, c)
		require.NoError(t, c.Close())
		playing.Wait()
	})
}

// A peer that is paused takes what its kernel has room for, and says nothing.
func TestASilentPeerLosesItsConnection(t *testing.T) {
	t.Parallel()
	play := func(_ *testing.T, far net.Conn) { _, _ = io.Copy(io.Discard, far) }
	talk(t, play, func(t *testing.T, c *Client) {
		begin := time.Now()
		_, err := c.Call(t.Context(), peer, echo, make([]byte, 1000))
		require.ErrorIs(t, err, ErrNoReply)
		require.ErrorIs(t, err, errSilent)
		require.WithinRange(t, time.Now(), begin.Add(pingAfter+pingTimeout), begin.Add(2*pingAfter+pingTimeout))
	})
}

func TestAPeerThatTakesNothingLosesItsConnection(t *testing.T) {
	t.Parallel()
	var end chan struct{}
	play := func(_ *testing.T, _ net.Conn) { <-end }
	talk(t, play, func(t *testing.T, c *Client) {
		end = make(chan struct{})
		defer func() { close(end) }()
		var calls sync.WaitGroup
		full := atomic.Int32{}
		for range 12 {
			calls.Go(func() {
				_, err := c.Call(t.Context(), peer, echo, make([]byte, MaxBody))
				require.Error(t, err)
				if errors.Is(err, errFull) {
					full.Add(1)
				}
			})
		}
		calls.Wait()
		require.NotZero(t, full.Load(), "not only for its silence")
	})
}

// A long frame takes as long as it takes, as long as it moves.
func TestALongFrameKeepsItsConnection(t *testing.T) {
	t.Parallel()
	play := func(t *testing.T, far net.Conn) {
		got := 0
		piece := make([]byte, pieceBytes)
		for got < headSize+MaxBody {
			time.Sleep(pingAfter + pingTimeout/2)
			n, err := io.ReadAtLeast(far, piece, min(len(piece), headSize+MaxBody-got))
			require.NoError(t, err)
			got += n
		}
		reply := frame{number: 1, kind: kindReply, body: []byte("at last")}
		go func() { _, _ = io.Copy(io.Discard, far) }()
		_, err := far.Write(reply.append(nil))
		require.NoError(t, err)
	}
	talk(t, play, func(t *testing.T, c *Client) {
		reply, err := c.Call(t.Context(), peer, echo, make([]byte, MaxBody))
		require.NoError(t, err)
		require.Equal(t, "at last", string(reply.Body))
	})
}

func TestAnIdleConnectionIsKept(t *testing.T) {
	t.Parallel()
	serving(t, map[Method]Handler{echo: echoing}, func(t *testing.T, c *Client, _ *Server, network *pipes) {
		for range 3 {
			_, err := c.Call(t.Context(), peer, echo, nil)
			require.NoError(t, err)
			time.Sleep(time.Hour)
		}
		require.EqualValues(t, 1, network.dialed.Load())
	})
}

func TestJunkEndsItsConnectionOnly(t *testing.T) {
	t.Parallel()
	serving(t, map[Method]Handler{echo: echoing}, func(t *testing.T, c *Client, _ *Server, network *pipes) {
		_, err := c.Call(t.Context(), peer, echo, nil)
		require.NoError(t, err)
		reply := frame{number: 1, kind: kindReply}
		long := binary.BigEndian.AppendUint32(nil, MaxBody+1)
		begin := time.Now()
		for _, junk := range [][]byte{[]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), reply.append(nil), append(long, make([]byte, 100)...)} {
			conn, err := network.dial(t.Context(), peer)
			require.NoError(t, err)
			go func() { _, _ = conn.Write(junk) }()
			_, err = io.Copy(io.Discard, conn)
			require.NoError(t, err, "it is closed")
			require.NoError(t, conn.Close())
		}
		require.Equal(t, begin, time.Now(), "without waiting for more")
		_, err = c.Call(t.Context(), peer, echo, nil)
		require.NoError(t, err)
		require.EqualValues(t, 4, network.dialed.Load(), "the good connection is the first one")
	})
}

func TestAStopLetsCallsEnd(t *testing.T) {
	t.Parallel()
	handlers := map[Method]Handler{echo: echoing, block: func(context.Context, []byte) Reply {
		time.Sleep(time.Second)
		return Reply{Body: []byte("done")}
	}}
	serving(t, handlers, func(t *testing.T, c *Client, s *Server, network *pipes) {
		replies := make(chan Reply, 1)
		go func() {
			reply, _ := c.Call(t.Context(), peer, block, nil)
			replies <- reply
		}()
		synctest.Wait()
		stopped := make(chan error, 1)
		go func() { stopped <- s.Shutdown(t.Context()) }()
		synctest.Wait()
		late, err := c.Call(t.Context(), peer, echo, nil)
		require.NoError(t, err)
		require.Equal(t, unavailable, late, "no more calls are taken")
		require.Equal(t, "done", string((<-replies).Body))
		require.NoError(t, <-stopped)
		synctest.Wait()
		_, err = c.Call(t.Context(), peer, echo, nil)
		require.ErrorIs(t, err, ErrNotSent)
		require.EqualValues(t, 1, network.dialed.Load())
	})
}

func TestAStopCutsOffWhatTakesTooLong(t *testing.T) {
	t.Parallel()
	handlers := map[Method]Handler{block: func(ctx context.Context, _ []byte) Reply { <-ctx.Done(); return Reply{} }}
	serving(t, handlers, func(t *testing.T, c *Client, s *Server, _ *pipes) {
		failed := make(chan error, 1)
		go func() {
			_, err := c.Call(t.Context(), peer, block, nil)
			failed <- err
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		require.ErrorIs(t, s.Shutdown(ctx), context.DeadlineExceeded)
		require.Equal(t, time.Second, time.Since(begin))
		require.ErrorIs(t, <-failed, ErrNoReply)
	})
}
