package call

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/google/uuid"
)

var (
	// ErrNotSent is a call of which the other node has not seen a byte.
	ErrNotSent = errors.New("the call was not sent")
	// ErrNoReply is a call that was sent and not answered: it may have been
	// carried out, or may be yet.
	ErrNoReply = errors.New("no reply came")

	errClosed = errors.New("the client is closed")
)

// dialTimeout bounds how long a connection may take to be made.
const dialTimeout = 2 * time.Second

// Client makes calls to other nodes. It keeps one connection to each.
type Client struct {
	dial func(ctx context.Context, to uuid.UUID) (net.Conn, error)
	// closing ends, by close, the dialling.
	closing context.Context
	close   context.CancelFunc

	// mu guards what follows.
	mu     sync.Mutex
	links  map[uuid.UUID]*link
	closed bool

	// tasks are the goroutines of the links.
	tasks sync.WaitGroup
}

// NewClient makes a client that connects by dial, which is called for one
// connection to a node at a time.
func NewClient(dial func(ctx context.Context, to uuid.UUID) (net.Conn, error)) *Client {
	c := &Client{dial: dial, links: make(map[uuid.UUID]*link)}
	c.closing, c.close = context.WithCancel(context.Background())
	return c
}

// Call has a method of another node carried out, and returns its reply. It keeps
// nothing of the body. An error is an ErrNotSent or an ErrNoReply. Where ctx ends
// first the other node goes on: it is told of ctx's deadline only.
func (c *Client) Call(ctx context.Context, to uuid.UUID, m Method, body []byte) (Reply, error) {
	l, err := c.link(to)
	if err != nil {
		return Reply{}, err
	}
	select {
	case <-l.ready:
	case <-ctx.Done():
		return Reply{}, fmt.Errorf("%w: %w", ErrNotSent, context.Cause(ctx))
	}
	if l.err != nil {
		return Reply{}, fmt.Errorf("%w: %w", ErrNotSent, l.err)
	}
	return l.call(ctx, m, body)
}

// Close ends all connections, and the calls on them. It is safe to call it again.
func (c *Client) Close() error {
	c.mu.Lock()
	c.closed = true
	c.close()
	for _, l := range c.links {
		if l.stream != nil {
			l.stream.end(errClosed)
		}
	}
	c.mu.Unlock()
	c.tasks.Wait()
	return nil
}

// link returns the connection to a node, or one that is being made.
func (c *Client) link(to uuid.UUID) (*link, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, fmt.Errorf("%w: %w", ErrNotSent, errClosed)
	}
	l := c.links[to]
	if l == nil {
		l = &link{ready: make(chan struct{}), waiting: make(map[uint64]chan<- Reply)}
		c.links[to] = l
		c.tasks.Go(func() { c.run(to, l) })
	}
	return l, nil
}

// run makes a link's connection and hands out the replies that come, until it ends.
func (c *Client) run(to uuid.UUID, l *link) {
	if l.err = c.connect(to, l); l.err != nil {
		c.drop(to)
		close(l.ready)
		return
	}
	close(l.ready)
	l.run()
	c.drop(to)
}

// connect makes a link's connection, unless the client is closed meanwhile.
func (c *Client) connect(to uuid.UUID, l *link) error {
	ctx, cancel := context.WithTimeout(c.closing, dialTimeout)
	defer cancel()
	conn, err := c.dial(ctx, to)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		_ = conn.Close()
		return errClosed
	}
	l.stream = newStream(conn)
	return nil
}

// drop makes the next call to a node connect anew.
func (c *Client) drop(to uuid.UUID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.links, to)
}
