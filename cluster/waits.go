package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/oncelog/oncelog"
)

const (
	// pollInterval is the pause between two looks at a condition.
	pollInterval = 20 * time.Millisecond
	// askTimeout bounds one question to one node. It is longer than a node
	// itself takes to find out that it is not ready.
	askTimeout = 3 * time.Second
)

var (
	// ErrInVain is a wait that came to its end without its condition.
	ErrInVain = errors.New("waited in vain")
	errNone   = errors.New("no node is alive")
)

// hopeless is a condition's answer when waiting longer is of no use.
type hopeless struct{ error }

func (h hopeless) Unwrap() error { return h.error }

// Await polls condition until it returns nil, and otherwise until ctx or the
// cluster's patience ends. The error then is an [ErrInVain] that says what was
// waited for, why it was not so at last, and how each node is.
func (c *Cluster) Await(ctx context.Context, what string, condition func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, c.patience)
	defer cancel()
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	var last error
	for {
		err := condition(ctx)
		if err == nil {
			return nil
		}
		// What is cut off by the end of the wait is no answer.
		if last == nil || ctx.Err() == nil {
			last = err
		}
		if errors.As(err, new(hopeless)) {
			return c.inVain(ctx, what, err)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return c.inVain(ctx, what, last)
		}
	}
}

func (c *Cluster) inVain(ctx context.Context, what string, last error) error {
	return fmt.Errorf("%w for %s: %w\n%s", ErrInVain, what, last, c.Diagnose(context.WithoutCancel(ctx)))
}

// WaitReady waits until every node that runs is ready. It gives up at once when
// a node has ended that was not told to.
func (c *Cluster) WaitReady(ctx context.Context) error {
	return c.Await(ctx, "all nodes to be ready", func(ctx context.Context) error {
		for _, n := range c.nodes {
			if err := n.Err(); err != nil {
				return hopeless{fmt.Errorf("%s has ended: %w", n, err)}
			}
		}
		return c.eachAlive(func(n *Node) error { return n.ready(ctx) })
	})
}

func (n *Node) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return n.client.Ready(ctx)
}

// eachAlive asks the nodes that are alive.
func (c *Cluster) eachAlive(ask func(*Node) error) error { return each(c.Alive(), ask) }

// each asks some nodes, up to the first error. That there are none is one too.
func each(nodes []*Node, ask func(*Node) error) error {
	if len(nodes) == 0 {
		return errNone
	}
	for _, n := range nodes {
		if err := ask(n); err != nil {
			return fmt.Errorf("%s: %w", n, err)
		}
	}
	return nil
}

// Leader waits until all nodes that are alive name the same leader, and it is
// one of them.
func (c *Cluster) Leader(ctx context.Context) (*Node, error) {
	return c.leader(ctx, "one leader", c.Alive)
}

// LeaderAmong is Leader for some of the nodes, such as those on one side of a
// partition.
func (c *Cluster) LeaderAmong(ctx context.Context, nodes ...*Node) (*Node, error) {
	return c.leader(ctx, "one leader on one side", func() []*Node { return nodes })
}

func (c *Cluster) leader(ctx context.Context, what string, among func() []*Node) (*Node, error) {
	var leader *Node
	err := c.Await(ctx, what, func(ctx context.Context) error {
		leader = nil
		side := among()
		return each(side, func(n *Node) error {
			named, err := c.leaderBy(ctx, n)
			switch {
			case err != nil:
				return err
			case !slices.Contains(side, named):
				return fmt.Errorf("it follows %s, which is not among them", named.Name())
			case leader != nil && named != leader:
				return fmt.Errorf("it follows %s, and another follows %s", named.Name(), leader.Name())
			}
			leader = named
			return nil
		})
	})
	return leader, err
}

// leaderBy is the leader that a node follows.
func (c *Cluster) leaderBy(ctx context.Context, n *Node) (*Node, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	view, err := n.client.Cluster(ctx)
	if err != nil {
		return nil, err
	}
	leader := c.Node(view.Leader)
	if leader == nil || !leader.Alive() {
		return nil, fmt.Errorf("it follows %q, which is not alive", view.Leader)
	}
	return leader, nil
}

// WaitLevel waits until all nodes that are alive have applied one index, which
// covers all that was acknowledged before the call, and returns their numbers as
// of then, in the order of [Cluster.Alive]. While a load runs, that may be never.
func (c *Cluster) WaitLevel(ctx context.Context) (level []oncelog.Stats, err error) {
	var least uint64
	err = c.Await(ctx, "all nodes to be at one applied index", func(ctx context.Context) error {
		level = level[:0]
		return c.eachAlive(func(n *Node) error {
			consistency := oncelog.Stale
			if least == 0 {
				consistency = oncelog.Linearizable
			}
			s, err := n.stats(ctx, consistency)
			if err != nil {
				return err
			}
			least = max(least, s.AppliedIndex)
			level = append(level, s)
			if s.AppliedIndex != least {
				return fmt.Errorf("it is at index %d and not at %d", s.AppliedIndex, least)
			}
			return nil
		})
	})
	return level, err
}

func (n *Node) stats(ctx context.Context, consistency oncelog.Consistency) (oncelog.Stats, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return n.client.Stats(ctx, consistency)
}
