package client

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	dialTimeout = 5 * time.Second
	keepAlive   = 15 * time.Second
	// idleTime is how long an unused connection is kept: less than a node does.
	idleTime = time.Minute
)

// transport makes requests to one node over connections that it keeps. The
// goroutine that makes a request writes it and reads the answer: [http.Transport]
// has two more goroutines for each connection and hands every request from one to
// the other, which for small events costs more than all that the node does.
type transport struct {
	// address is dialled, host is what requests say of it.
	address, host string
	secure        bool
	// most is how many idle connections are kept.
	most int

	// mu guards idle: the last used last.
	mu   sync.Mutex
	idle []*conn
}

// newTransport makes a transport to the node at a base URL. Nothing is sent yet.
func newTransport(base *url.URL, most int) *transport {
	t := &transport{secure: base.Scheme == "https", most: most}
	port := base.Port()
	switch {
	case port == "" && t.secure:
		port = "443"
	case port == "":
		port = "80"
	}
	t.address = net.JoinHostPort(base.Hostname(), port)
	// The zone of an IPv6 address means something on this machine only (RFC 6874,
	// section 4).
	_, zone, _ := strings.Cut(base.Hostname(), "%")
	t.host = strings.Replace(base.Host, "%"+zone, "", 1)
	return t
}

// roundTrip sends a request and returns its answer. The body is the caller's to
// read and close; read to its end, it leaves the connection to the next request.
// It ends with ctx, and when the node is silent for longer than the patience.
func (t *transport) roundTrip(ctx context.Context, r request, patience time.Duration) (*http.Response, error) {
	c, err := t.take(ctx, patience)
	if err != nil {
		return nil, err
	}
	c.patience = patience
	stop := context.AfterFunc(ctx, c.cut)
	res, err := c.exchange(r, t.host)
	if err != nil {
		stop()
		_ = c.Close()
		return nil, errors.Join(ctx.Err(), err)
	}
	res.Body = &answer{body: res.Body, finish: func(whole bool) {
		// Whoever ends a request ends its connection.
		if inTime := stop(); whole && inTime && !res.Close && c.r.Buffered() == 0 {
			t.put(c)
		} else {
			_ = c.Close()
		}
	}}
	return res, nil
}

// answer is a body that knows when its connection is free.
type answer struct {
	body   io.Reader
	finish func(whole bool)
}

func (a *answer) Read(p []byte) (int, error) {
	n, err := a.body.Read(p)
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
func (t *transport) take(ctx context.Context, patience time.Duration) (*conn, error) {
	for c := t.pop(); c != nil; c = t.pop() {
		if c.lapse.Stop() && alive(c.socket) {
			return c, nil
		}
		_ = c.Close()
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience, silentFor(patience))
	defer cancel()
	raw, err := t.dial(ctx)
	if err != nil {
		return nil, errors.Join(context.Cause(ctx), err)
	}
	c := newConn(raw)
	c.lapse = time.AfterFunc(idleTime, func() { t.drop(c) })
	c.lapse.Stop()
	return c, nil
}

func (t *transport) dial(ctx context.Context) (net.Conn, error) {
	dialer := net.Dialer{Timeout: dialTimeout, KeepAlive: keepAlive}
	if t.secure {
		d := tls.Dialer{NetDialer: &dialer}
		return d.DialContext(ctx, "tcp", t.address)
	}
	return dialer.DialContext(ctx, "tcp", t.address)
}

func (t *transport) pop() *conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	last := len(t.idle) - 1
	if last < 0 {
		return nil
	}
	c := t.idle[last]
	t.idle = t.idle[:last]
	return c
}

// put keeps a connection for the next request.
func (t *transport) put(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.idle) >= t.most {
		_ = c.Close()
		return
	}
	t.idle = append(t.idle, c)
	c.lapse.Reset(idleTime)
}

// drop ends a connection that nobody has used for long.
func (t *transport) drop(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := slices.Index(t.idle, c); i >= 0 {
		t.idle = slices.Delete(t.idle, i, i+1)
		_ = c.Close()
	}
}

// close ends the idle connections.
func (t *transport) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.idle {
		c.lapse.Stop()
		_ = c.Close()
	}
	t.idle = nil
}
