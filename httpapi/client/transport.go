package client

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

const (
	dialTimeout = 5 * time.Second
	keepAlive   = 15 * time.Second
	// idleTime is how long an unused connection is kept: less than a node does.
	idleTime = time.Minute
	// connBuffer holds a small request or answer, so that it is one system call.
	connBuffer = 4 << 10
)

// transport makes requests over connections that it keeps. The goroutine that
// makes a request writes it and reads the answer: [http.Transport] has two more
// goroutines for each connection and hands every request from one to the other,
// which for small events costs more than all that the node does.
type transport struct {
	dialer net.Dialer
	// perNode is how many idle connections are kept to each node.
	perNode int

	// mu guards idle: by node, the last used last.
	mu   sync.Mutex
	idle map[string][]*conn
}

// conn is one connection. It belongs to one request, or is idle.
type conn struct {
	net.Conn
	node string
	r    *bufio.Reader
	w    *bufio.Writer
	// lapse ends the connection when it has been idle for long.
	lapse *time.Timer
}

func newTransport(perNode int) *transport {
	return &transport{
		dialer:  net.Dialer{Timeout: dialTimeout, KeepAlive: keepAlive},
		perNode: perNode,
		idle:    make(map[string][]*conn),
	}
}

// roundTrip sends a request and returns its answer. The body is the caller's to
// read and close; read to its end, it leaves the connection to the next request.
func (t *transport) roundTrip(r *http.Request) (*http.Response, error) {
	ctx := r.Context()
	c, err := t.take(ctx, r.URL)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", r.Method, r.URL, err)
	}
	// A deadline in the past ends what the connection is doing.
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	res, err := c.exchange(r)
	if err != nil {
		stop()
		_ = c.Close()
		return nil, fmt.Errorf("%s %s: %w", r.Method, r.URL, errors.Join(ctx.Err(), err))
	}
	res.Body = &answer{ReadCloser: res.Body, finish: func(whole bool) {
		// A deadline that was set counts for the next request too.
		if inTime := stop(); whole && inTime && !res.Close && c.r.Buffered() == 0 {
			t.put(c)
		} else {
			_ = c.Close()
		}
	}}
	return res, nil
}

// exchange writes a request and reads the head of the answer. A node may refuse
// a long body before it has read it all: its answer counts then.
func (c *conn) exchange(r *http.Request) (*http.Response, error) {
	werr := r.Write(c.w)
	if werr == nil {
		werr = c.w.Flush()
	}
	res, err := c.answer(r)
	switch {
	case err != nil && werr != nil:
		return nil, werr
	case err != nil:
		return nil, err
	}
	res.Close = res.Close || werr != nil
	return res, nil
}

// answer reads the head of the final answer.
func (c *conn) answer(r *http.Request) (*http.Response, error) {
	for {
		res, err := http.ReadResponse(c.r, r)
		if err != nil || res.StatusCode >= http.StatusOK {
			return res, err
		}
	}
}

// answer is a body that knows when its connection is free.
type answer struct {
	io.ReadCloser
	finish func(whole bool)
}

func (a *answer) Read(p []byte) (int, error) {
	n, err := a.ReadCloser.Read(p)
	if err != nil {
		a.end(errors.Is(err, io.EOF))
	}
	return n, err
}

// Close ends the connection too where something of the answer is left.
func (a *answer) Close() error {
	a.end(false)
	return nil
}

func (a *answer) end(whole bool) {
	if a.finish != nil {
		a.finish(whole)
		a.finish = nil
	}
}

// take returns an idle connection that still stands, or a new one.
func (t *transport) take(ctx context.Context, u *url.URL) (*conn, error) {
	node := u.Scheme + "://" + u.Host
	for {
		c := t.pop(node)
		if c == nil {
			break
		}
		if c.lapse.Stop() && alive(c.Conn) {
			return c, nil
		}
		_ = c.Close()
	}
	raw, err := t.dial(ctx, u)
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: raw, node: node, r: bufio.NewReaderSize(raw, connBuffer), w: bufio.NewWriterSize(raw, connBuffer)}
	c.lapse = time.AfterFunc(idleTime, func() { t.drop(c) })
	c.lapse.Stop()
	return c, nil
}

func (t *transport) dial(ctx context.Context, u *url.URL) (net.Conn, error) {
	if u.Scheme == "https" {
		d := tls.Dialer{NetDialer: &t.dialer}
		return d.DialContext(ctx, "tcp", hostPort(u, "443"))
	}
	return t.dialer.DialContext(ctx, "tcp", hostPort(u, "80"))
}

func hostPort(u *url.URL, port string) string {
	if u.Port() != "" {
		port = u.Port()
	}
	return net.JoinHostPort(u.Hostname(), port)
}

func (t *transport) pop(node string) *conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	idle := t.idle[node]
	if len(idle) == 0 {
		return nil
	}
	c := idle[len(idle)-1]
	t.idle[node] = idle[:len(idle)-1]
	return c
}

// put keeps a connection for the next request.
func (t *transport) put(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.idle[c.node]) >= t.perNode {
		_ = c.Close()
		return
	}
	t.idle[c.node] = append(t.idle[c.node], c)
	c.lapse.Reset(idleTime)
}

// drop ends a connection that nobody has used for long.
func (t *transport) drop(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, other := range t.idle[c.node] {
		if other == c {
			t.idle[c.node] = append(t.idle[c.node][:i], t.idle[c.node][i+1:]...)
			_ = c.Close()
			return
		}
	}
}

// close ends the idle connections.
func (t *transport) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, idle := range t.idle {
		for _, c := range idle {
			c.lapse.Stop()
			_ = c.Close()
		}
	}
	clear(t.idle)
}
