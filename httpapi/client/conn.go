package client

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"time"
)

const (
	// connBuffer holds a small request or answer, so that it is one system call.
	connBuffer = 4 << 10
	// pieceBytes is how much of a large body a node must take to show that it is
	// alive.
	pieceBytes = 64 << 10
)

// conn is one connection to a node. It belongs to one request, or is idle.
//
// It bounds how long the node is silent, and not how long a request takes: a large
// body takes as long as it takes, as long as it moves. What the caller does between
// two parts of an answer does not count.
type conn struct {
	net.Conn
	// socket is what Conn is made of: Conn itself but for TLS.
	socket net.Conn
	// patience is how long the node may be silent in the request under way.
	patience time.Duration
	r        *bufio.Reader
	// first is the memory of what is written first of a request.
	first []byte
	// lapse ends the connection when it has been idle for long.
	lapse *time.Timer
}

func newConn(raw net.Conn) *conn {
	c := &conn{Conn: raw, socket: raw}
	if secured, ok := raw.(interface{ NetConn() net.Conn }); ok {
		c.socket = secured.NetConn()
	}
	c.r = bufio.NewReaderSize(c, connBuffer)
	return c
}

// cut ends the connection at once, whatever is done with it.
func (c *conn) cut() { _ = c.socket.Close() }

// Read waits for what the node says next.
func (c *conn) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.patience)); err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(p)
	return n, c.explain(err)
}

// Write waits until the node has taken p.
func (c *conn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.patience)); err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(p)
	return n, c.explain(err)
}

// explain says of a failure that came of silence that it did.
func (c *conn) explain(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("%w: %w", silentFor(c.patience), err)
	}
	return err
}

// exchange writes a request to a host and reads the head of the answer. A node
// may refuse a long body before it has read it all: its answer counts then.
func (c *conn) exchange(r request, host string) (*http.Response, error) {
	werr := c.send(r, host)
	if errors.Is(werr, errSilent) {
		return nil, werr
	}
	res, err := c.answer()
	switch {
	case err != nil && werr != nil:
		return nil, werr
	case err != nil:
		return nil, err
	}
	res.Close = res.Close || werr != nil
	return res, nil
}

// send writes a request. A small one is one write: two would be two system calls
// on each side.
func (c *conn) send(r request, host string) error {
	c.first = appendHead(c.first[:0], r, host, c.patience)
	joined := min(len(r.body), max(connBuffer-len(c.first), 0))
	c.first = append(c.first, r.body[:joined]...)
	_, err := c.Write(c.first)
	for piece := range slices.Chunk(r.body[joined:], pieceBytes) {
		if err != nil {
			break
		}
		_, err = c.Write(piece)
	}
	return err
}

// appendHead appends the head of a request (RFC 9112, section 3).
func appendHead(dst []byte, r request, host string, patience time.Duration) []byte {
	dst = append(dst, r.method...)
	dst = append(dst, ' ')
	dst = append(dst, r.path...)
	dst = append(dst, " HTTP/1.1\r\nHost: "...)
	dst = append(dst, host...)
	dst = append(dst, "\r\nUser-Agent: oncelog-client\r\nRequest-Timeout: "...)
	// A little less than there is, so that the node's answer to that still comes
	// in time.
	dst = strconv.AppendFloat(dst, max(0.95*patience.Seconds(), 0.001), 'f', 3, 64)
	if r.accept != "" {
		dst = append(dst, "\r\nAccept: "...)
		dst = append(dst, r.accept...)
	}
	if r.method == http.MethodPost {
		dst = append(dst, "\r\nContent-Type: application/json\r\nContent-Length: "...)
		dst = strconv.AppendInt(dst, int64(len(r.body)), 10)
	}
	return append(dst, "\r\n\r\n"...)
}

// answer reads the head of the final answer.
func (c *conn) answer() (*http.Response, error) {
	for {
		res, err := http.ReadResponse(c.r, nil)
		if err != nil || res.StatusCode >= http.StatusOK {
			return res, err
		}
	}
}
