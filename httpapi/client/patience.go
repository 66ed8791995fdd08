package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

const (
	// defaultPatience is longer than the 10 s within which a node answers unless
	// it is told another time.
	defaultPatience = 12 * time.Second
	// trialPatience is enough for a node that has come back, and little to lose
	// on one that has not.
	trialPatience = time.Second
	// leastPatience keeps the halves of a short deadline long enough for an answer.
	leastPatience = 250 * time.Millisecond
)

// errSilent is a node that has taken nothing and said nothing for too long. It
// may be paused, or cut off.
var errSilent = errors.New("the node is silent")

// patience ends an attempt whose node is silent. It bounds silence and not the
// attempt: a large body takes as long as it takes, as long as it moves.
type patience struct {
	// ctx is the attempt's; it ends with errSilent where the patience does.
	ctx   context.Context
	end   context.CancelCauseFunc
	limit time.Duration
	timer *time.Timer
}

// newPatience waits from now on.
func newPatience(ctx context.Context, limit time.Duration) *patience {
	p := &patience{limit: limit}
	p.ctx, p.end = context.WithCancelCause(ctx)
	p.timer = time.AfterFunc(limit, func() { p.end(errSilent) })
	return p
}

// wait begins the next silence.
func (p *patience) wait() { p.timer.Reset(p.limit) }

// rest ends a silence.
func (p *patience) rest() { p.timer.Stop() }

// close ends the attempt.
func (p *patience) close() {
	p.timer.Stop()
	p.end(context.Canceled)
}

// explain says of a failure that came of silence that it did.
func (p *patience) explain(err error) error {
	if errors.Is(context.Cause(p.ctx), errSilent) && !errors.Is(err, errSilent) {
		return fmt.Errorf("%w for %s: %w", errSilent, p.limit.Round(time.Millisecond), err)
	}
	return err
}

// limitOf is how long a node may be silent in an attempt that begins now. As long
// as there is another node to try, an attempt gets half of the time that is
// left, so that one silent node never costs a request its whole deadline.
func (c *Client) limitOf(ctx context.Context, trial bool) time.Duration {
	limit := c.patience
	others := c.retry && len(c.rotation.nodes) > 1
	if trial && others {
		limit = min(limit, trialPatience)
	}
	if deadline, ok := ctx.Deadline(); ok {
		left := time.Until(deadline)
		if others {
			left = min(left, max(left/2, leastPatience))
		}
		limit = min(limit, left)
	}
	return limit
}

// outgoing is a request's body: each part that the connection takes is a sign of
// life.
type outgoing struct {
	io.Reader
	patience *patience
}

func (o outgoing) Read(p []byte) (int, error) {
	n, err := o.Reader.Read(p)
	if n > 0 {
		o.patience.wait()
	}
	return n, err
}

// incoming is an answer's body. Only the time spent waiting for the node counts,
// not that in which the caller does something with what came.
type incoming struct {
	io.ReadCloser
	patience *patience
}

func (i incoming) Read(p []byte) (int, error) {
	i.patience.wait()
	defer i.patience.rest()
	n, err := i.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = i.patience.explain(err)
	}
	return n, err
}

// Close ends the attempt.
func (i incoming) Close() error {
	defer i.patience.close()
	return i.ReadCloser.Close()
}
