package client

import (
	"context"
	"errors"
	"fmt"
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

func silentFor(patience time.Duration) error {
	return fmt.Errorf("%w for %s", errSilent, patience.Round(time.Millisecond))
}

// patienceOf is how long a node may be silent in an attempt that begins now. As long
// as there is another node to try, an attempt gets half of the time that is
// left, so that one silent node never costs a request its whole deadline.
func (c *Client) patienceOf(ctx context.Context, trial bool) time.Duration {
	patience := c.patience
	others := c.retry && len(c.rotation.nodes) > 1
	if trial && others {
		patience = min(patience, trialPatience)
	}
	if deadline, ok := ctx.Deadline(); ok {
		left := time.Until(deadline)
		if others {
			left = min(left, max(left/2, leastPatience))
		}
		patience = min(patience, left)
	}
	return patience
}
