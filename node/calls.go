package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/oncelog/oncelog"
)

// The calls between nodes, HTTP/2 behind the preamble of the node port. A URL's
// host is a node id: addresses are looked up when a connection is made.
const (
	pathForward   = "/forward"
	pathIndex     = "/read-index"
	pathConfirm   = "/confirm-term"
	pathStatus    = "/status"
	pathPledge    = "/pledge"
	pathTransfer  = "/transfer-leadership"
	pathSnapshot  = "/snapshot"
	pathLeave     = "/leave"
	pathDismissed = "/dismissed"
	pathVacancy   = "/vacancy"
)

const (
	// pingAfter and pingTimeout find a peer that is paused or cut off.
	pingAfter   = time.Second
	pingTimeout = 2 * time.Second
	// callBuffer lets a whole forwarded batch travel without waiting for the
	// reader's window.
	callBuffer = 4 << 20
	// maxCallBody bounds what a node reads from another in one call.
	maxCallBody = 8 << 20
)

// caller makes calls to other nodes.
type caller struct {
	client *http.Client
	peers  *peers
	self   uuid.UUID
}

func newCaller(p *peers) *caller {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	return &caller{peers: p, self: p.identity.get().NodeID, client: &http.Client{Transport: &http.Transport{
		Protocols: protocols,
		HTTP2: &http.HTTP2Config{
			SendPingTimeout:               pingAfter,
			PingTimeout:                   pingTimeout,
			MaxReceiveBufferPerStream:     callBuffer,
			MaxReceiveBufferPerConnection: callBuffer,
		},
		DisableCompression: true,
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			host, _, err := net.SplitHostPort(addr)
			if err != nil {
				return nil, err
			}
			id, err := uuid.Parse(host)
			if err != nil {
				return nil, fmt.Errorf("%w %q: %w", errUnknownPeer, host, err)
			}
			conn, err := p.dial(ctx, id, streamCalls)
			if err != nil {
				return nil, &dialError{err}
			}
			return conn, nil
		},
	}}}
}

// dialError marks a call of which the other node has not seen a byte.
type dialError struct{ error }

func (e *dialError) Unwrap() error { return e.error }

// Close drops the idle connections. It is safe to call it again.
func (c *caller) Close() error {
	c.client.CloseIdleConnections()
	return nil
}

// post sends body to a node and returns its answer. An error is an
// oncelog.ErrNotApplied where the node certainly did not act on it, and an
// oncelog.ErrOutcomeUnknown otherwise.
func (c *caller) post(ctx context.Context, to uuid.UUID, path string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+to.String()+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", oncelog.ErrNotApplied, err)
	}
	resp, err := c.client.Do(req)
	if err != nil {
		if dial := (*dialError)(nil); errors.As(err, &dial) {
			return nil, fmt.Errorf("%w: %w", oncelog.ErrNotApplied, err)
		}
		return nil, fmt.Errorf("%w: %w", oncelog.ErrOutcomeUnknown, err)
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxCallBody))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", oncelog.ErrOutcomeUnknown, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, remoteError(resp.StatusCode, data)
	}
	return data, nil
}

// call is post with JSON on both sides.
func (c *caller) call(ctx context.Context, to uuid.UUID, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	data, err := c.post(ctx, to, path, body)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, out)
}

// The statuses that carry an error from node to node. It is read from the top: an
// error goes as the first that it is.
var statusErrors = []struct {
	status int
	err    error
}{
	{http.StatusInsufficientStorage, errDiskLow},
	{http.StatusConflict, oncelog.ErrNotApplied},
	{http.StatusNotFound, oncelog.ErrNotFound},
	{http.StatusServiceUnavailable, oncelog.ErrOutcomeUnknown},
}

func statusOf(err error) int {
	for _, s := range statusErrors {
		if errors.Is(err, s.err) {
			return s.status
		}
	}
	return http.StatusServiceUnavailable
}

func remoteError(status int, text []byte) error {
	cause := oncelog.ErrOutcomeUnknown
	for _, s := range statusErrors {
		if s.status == status {
			cause = s.err
		}
	}
	// The other node's error begins with what it is, as this one does.
	text, _ = bytes.CutPrefix(bytes.TrimSpace(text), []byte(cause.Error()+": "))
	return fmt.Errorf("%w: the other node answered %d: %s", cause, status, text)
}

// handle makes a handler of a call from its function. The function's error goes
// back as the status of its kind.
func handle(f func(ctx context.Context, body []byte) ([]byte, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := readBody(w, r)
		var reply []byte
		if err == nil {
			reply, err = f(r.Context(), body)
		}
		if err == nil {
			_, _ = w.Write(reply)
			return
		}
		http.Error(w, err.Error(), statusOf(err))
	}
}

// readBody reads a call into a buffer of its announced length.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.ContentLength < 0 || r.ContentLength > maxCallBody {
		return nil, fmt.Errorf("%w: a call of %d bytes", oncelog.ErrNotApplied, r.ContentLength)
	}
	body := make([]byte, r.ContentLength)
	if _, err := io.ReadFull(http.MaxBytesReader(w, r.Body, maxCallBody), body); err != nil {
		return nil, fmt.Errorf("%w: %w", oncelog.ErrNotApplied, err)
	}
	return body, nil
}

// handleJSON is handle with JSON on both sides.
func handleJSON[In, Out any](f func(ctx context.Context, in In) (Out, error)) http.HandlerFunc {
	return handle(func(ctx context.Context, body []byte) ([]byte, error) {
		var in In
		if err := json.Unmarshal(body, &in); err != nil {
			return nil, fmt.Errorf("%w: %w", oncelog.ErrNotApplied, err)
		}
		out, err := f(ctx, in)
		if err != nil {
			return nil, err
		}
		return json.Marshal(out)
	})
}

// newCallServer serves the calls of other nodes.
func newCallServer(handler http.Handler) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler:           handler,
		Protocols:         protocols,
		ReadHeaderTimeout: preambleTimeout,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          1024,
			MaxReceiveBufferPerStream:     callBuffer,
			MaxReceiveBufferPerConnection: 2 * callBuffer,
		},
	}
}
