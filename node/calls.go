package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"

	"github.com/google/uuid"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/node/call"
)

// The calls between nodes, behind the preamble of the node port.
const (
	methodForward   call.Method = 1
	methodIndex     call.Method = 2
	methodConfirm   call.Method = 3
	methodStatus    call.Method = 4
	methodPledge    call.Method = 5
	methodTransfer  call.Method = 6
	methodSnapshot  call.Method = 7
	methodLeave     call.Method = 8
	methodDismissed call.Method = 9
	methodVacancy   call.Method = 10
)

// callClient carries calls to other nodes; it is a call.Client but in simulations.
type callClient interface {
	Call(ctx context.Context, to uuid.UUID, m call.Method, body []byte) (call.Reply, error)
	Close() error
}

// caller makes calls to other nodes.
type caller struct {
	callClient
	peers *peers
	self  uuid.UUID
}

func newCaller(p *peers) *caller {
	dial := func(ctx context.Context, to uuid.UUID) (net.Conn, error) { return p.dial(ctx, to, streamCalls) }
	return &caller{callClient: call.NewClient(dial), peers: p, self: p.identity.get().NodeID}
}

// post sends body to a node and returns its answer. An error is an
// oncelog.ErrNotApplied where the node certainly did not act on it, and an
// oncelog.ErrOutcomeUnknown otherwise.
func (c *caller) post(ctx context.Context, to uuid.UUID, m call.Method, body []byte) ([]byte, error) {
	reply, err := c.Call(ctx, to, m, body)
	switch {
	case errors.Is(err, call.ErrNotSent):
		return nil, fmt.Errorf("%w: %w", oncelog.ErrNotApplied, err)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", oncelog.ErrOutcomeUnknown, err)
	case reply.Status != statusOK:
		return nil, remoteError(reply)
	}
	return reply.Body, nil
}

// call is post with JSON on both sides.
func (c *caller) call(ctx context.Context, to uuid.UUID, m call.Method, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	data, err := c.post(ctx, to, m, body)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, out)
}

const (
	statusOK      call.Status = 0
	statusUnknown call.Status = 1
)

// The statuses that carry an error from node to node. It is read from the top: an
// error goes as the first that it is.
var statusErrors = []struct {
	status call.Status
	err    error
}{
	{2, errDiskLow},
	{3, oncelog.ErrNotApplied},
	{4, oncelog.ErrNotFound},
	{statusUnknown, oncelog.ErrOutcomeUnknown},
}

func statusOf(err error) call.Status {
	for _, s := range statusErrors {
		if errors.Is(err, s.err) {
			return s.status
		}
	}
	return statusUnknown
}

func remoteError(reply call.Reply) error {
	cause := oncelog.ErrOutcomeUnknown
	for _, s := range statusErrors {
		if s.status == reply.Status {
			cause = s.err
		}
	}
	// The other node's error begins with what it is, as this one does.
	text, _ := bytes.CutPrefix(bytes.TrimSpace(reply.Body), []byte(cause.Error()+": "))
	return fmt.Errorf("%w: the other node answered: %s", cause, text)
}

func errorReply(err error) call.Reply {
	return call.Reply{Status: statusOf(err), Body: []byte(err.Error())}
}

// handle makes a handler of a call from its function. The function's error goes
// back as the status of its kind.
func handle(f func(ctx context.Context, body []byte) ([]byte, error)) call.Handler {
	return func(ctx context.Context, body []byte) call.Reply {
		reply, err := f(ctx, body)
		if err != nil {
			return errorReply(err)
		}
		return call.Reply{Body: reply}
	}
}

// handleJSON is handle with JSON on both sides.
func handleJSON[In, Out any](f func(ctx context.Context, in In) (Out, error)) call.Handler {
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

// errNotServed is the answer of a node that stops, or does not know a call.
var errNotServed = fmt.Errorf("%w: the node does not take this call, or not any more", oncelog.ErrNotApplied)

// newCallServer serves the calls of other nodes.
func newCallServer(handlers map[call.Method]call.Handler) *call.Server {
	return call.NewServer(handlers, errorReply(errNotServed))
}
