package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/oncelog/oncelog"
)

// wipe takes a node's data away. It returns as another node of the same name, and
// the fault is over when that one votes in its place.
func wipe(ctx context.Context, m *nemesis, chance *rand.Rand) error {
	n := m.any(chance)
	m.note("wipe %s", n)
	if err := n.Kill(); err != nil {
		return err
	}
	old, err := identityOf(n)
	if err != nil {
		return err
	}
	rest(ctx, between(chance, 0, 2*time.Second))
	if err := errors.Join(os.RemoveAll(n.Dir()), n.Start()); err != nil {
		return err
	}
	return m.awaitVote(context.WithoutCancel(ctx), n, old)
}

// join starts a node that is not there, or not any more.
func join(ctx context.Context, m *nemesis, _ *rand.Rand) error {
	for _, n := range m.cluster.nodes {
		if n.begun() {
			continue
		}
		m.note("join %s", n)
		if err := n.Start(); err != nil {
			return err
		}
		return m.awaitVote(context.WithoutCancel(ctx), n, "")
	}
	return fmt.Errorf("%w: all have joined", errNotNow)
}

// leave removes one of four nodes for good, be it the leader. It has to stop by
// itself, in order; what it kept is of no more use.
func leave(ctx context.Context, m *nemesis, chance *rand.Rand) error {
	if len(m.begun()) < len(m.cluster.nodes) {
		return fmt.Errorf("%w: no more than the founders are there", errNotNow)
	}
	n := m.any(chance)
	by := m.cluster.others(n)[chance.IntN(len(m.cluster.nodes)-1)]
	m.note("leave %s, told to %s", n, by)
	m.setDoomed(n, true)
	defer m.setDoomed(n, false)
	ctx = context.WithoutCancel(ctx)
	asking, cancel := context.WithTimeout(ctx, 5*time.Second)
	_, err := by.Client().Leave(asking, n.Name(), false)
	cancel()
	if err != nil && !errors.Is(err, oncelog.ErrRefused) {
		m.note("leave %s: %v; no link fails until it is clear", n, err)
		m.calm.Lock()
		defer m.calm.Unlock()
		err = m.leaveForSure(ctx, n, by)
	}
	if errors.Is(err, oncelog.ErrRefused) {
		return fmt.Errorf("%w: %w", errNotNow, err)
	}
	if err != nil {
		return err
	}
	return m.bury(ctx, n)
}

// leaveForSure asks until the node has left or may not.
func (m *nemesis) leaveForSure(ctx context.Context, n, by *Node) (refused error) {
	err := m.cluster.Await(ctx, n.Name()+" to leave", func(ctx context.Context) error {
		asking, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		_, err := by.Client().Leave(asking, n.Name(), false)
		if errors.Is(err, oncelog.ErrRefused) {
			refused = err
			return nil
		}
		return err
	})
	return errors.Join(err, refused)
}

// bury waits for the end of a node that has left, and takes away what it has kept.
func (m *nemesis) bury(ctx context.Context, n *Node) error {
	ended := func(context.Context) error {
		if n.up() {
			return fmt.Errorf("%s runs on", n)
		}
		return nil
	}
	if err := m.cluster.Await(ctx, "a node that has left to stop", ended); err != nil {
		return err
	}
	if !n.ended(ctx) {
		return fmt.Errorf("the end of %s was not told", n)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	err := n.life.err()
	n.life = nil
	if err != nil {
		err = fmt.Errorf("%s has left, and did not stop in order: %w", n.spec.name, err)
	}
	return errors.Join(err, os.RemoveAll(n.Dir()))
}

// awaitVote waits until a node is a member with a vote, under another id than old.
// While links fail that may be never, so after a time they do not any more.
func (m *nemesis) awaitVote(ctx context.Context, n *Node, old string) error {
	voted := func(ctx context.Context) error {
		return m.cluster.eachAlive(func(by *Node) error { return by.haveVotes(ctx, []*Node{n}, old) })
	}
	begin := time.Now()
	for time.Since(begin) < 10*time.Second {
		if voted(ctx) == nil {
			m.note("%s votes after %s", n, time.Since(begin).Round(time.Millisecond))
			return nil
		}
		rest(ctx, pollInterval)
	}
	m.note("%s does not vote yet; no link fails until it does", n)
	m.calm.Lock()
	defer m.calm.Unlock()
	return m.cluster.Await(ctx, n.Name()+" to vote", voted)
}
