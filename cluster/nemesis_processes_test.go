package cluster

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// processFaults are those of whole nodes.
var processFaults = []fault{
	{"kill leader", func(ctx context.Context, m *nemesis, chance *rand.Rand) error {
		return m.kill(ctx, chance, m.leader(ctx, chance))
	}},
	{"kill follower", func(ctx context.Context, m *nemesis, chance *rand.Rand) error {
		return m.kill(ctx, chance, m.follower(ctx, chance))
	}},
	{"kill leader after leader", killTwoLeaders},
	{"kill all", killAll},
	{"kill at the start", killAtTheStart},
	{"pause leader", func(ctx context.Context, m *nemesis, chance *rand.Rand) error {
		return m.pause(ctx, chance, m.leader(ctx, chance))
	}},
	{"pause follower", func(ctx context.Context, m *nemesis, chance *rand.Rand) error {
		return m.pause(ctx, chance, m.follower(ctx, chance))
	}},
	{"stutter", stutter},
	{"slow disk", slowDisk},
	{"failing disk", failingDisk},
	{"full disk", fullDisk},
	{"hung disk", hungDisk},
	{"clock", clock},
	{"restart", restart},
	{"transfer", transfer},
	{"wipe", wipe},
	{"join", join},
	{"leave", leave},
}

// kill kills a node and starts it again later.
func (m *nemesis) kill(ctx context.Context, chance *rand.Rand, n *Node) error {
	d := between(chance, 0, 3*time.Second)
	m.note("kill %s for %s", n, d.Round(time.Millisecond))
	if err := n.Kill(); err != nil {
		return err
	}
	rest(ctx, d)
	err := n.Start()
	m.settle(ctx, chance)
	return err
}

// killTwoLeaders kills the leader and then the next one, so that those that are
// left have no majority for a while.
func killTwoLeaders(ctx context.Context, m *nemesis, chance *rand.Rand) error {
	first := m.leader(ctx, chance)
	m.note("kill leader after leader, first %s", first)
	err := first.Kill()
	rest(ctx, between(chance, 300*time.Millisecond, 2*time.Second))
	second := m.leader(ctx, chance)
	if second == first {
		return errors.Join(err, first.Start())
	}
	m.note("kill leader after leader, second %s", second)
	err = errors.Join(err, second.Kill())
	rest(ctx, between(chance, 0, 2*time.Second))
	err = errors.Join(err, first.Start())
	rest(ctx, between(chance, 0, 2*time.Second))
	err = errors.Join(err, second.Start())
	m.settle(ctx, chance)
	return err
}

// killAll kills all nodes at once and starts them in any order, with pauses.
func killAll(ctx context.Context, m *nemesis, chance *rand.Rand) error {
	m.note("kill all")
	err := m.cluster.Kill()
	rest(ctx, between(chance, 0, time.Second))
	nodes := m.begun()
	for _, i := range chance.Perm(len(nodes)) {
		err = errors.Join(err, nodes[i].Start())
		rest(ctx, between(chance, 0, time.Second))
	}
	m.settle(ctx, chance)
	return err
}

// killAtTheStart kills a node again and again while it starts.
func killAtTheStart(ctx context.Context, m *nemesis, chance *rand.Rand) error {
	n := m.any(chance)
	m.note("kill %s at the start", n)
	for range 3 {
		if err := n.Kill(); err != nil {
			return err
		}
		if err := n.Start(); err != nil {
			return err
		}
		rest(ctx, between(chance, 0, 700*time.Millisecond))
	}
	m.settle(ctx, chance)
	return nil
}

// pause stops a node in its tracks and lets it go on later, as if nothing had been.
// Some pauses are longer than any time-out of a node.
func (m *nemesis) pause(ctx context.Context, chance *rand.Rand, n *Node) error {
	d := between(chance, time.Second, 5*time.Second)
	if chance.IntN(4) == 0 {
		d += 9 * time.Second
	}
	m.note("pause %s for %s", n, d.Round(time.Millisecond))
	if err := n.Pause(); err != nil {
		return err
	}
	rest(ctx, d)
	err := n.Continue()
	m.settle(ctx, chance)
	return err
}

// stutter has a node run for some of the time only, in short turns.
func stutter(ctx context.Context, m *nemesis, chance *rand.Rand) (err error) {
	n, d := m.any(chance), between(chance, time.Second, 4*time.Second)
	m.note("stutter of %s for %s", n, d.Round(time.Millisecond))
	for end := time.Now().Add(d); time.Now().Before(end) && err == nil; {
		err = n.Pause()
		rest(ctx, between(chance, 10*time.Millisecond, 300*time.Millisecond))
		err = errors.Join(err, n.Continue())
		if !rest(ctx, between(chance, 10*time.Millisecond, 100*time.Millisecond)) {
			break
		}
	}
	return err
}

// restart stops a node in order and starts it again.
func restart(ctx context.Context, m *nemesis, chance *rand.Rand) error {
	n := m.any(chance)
	m.note("restart %s", n)
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), closePatience)
	defer cancel()
	err := n.Stop(stopping)
	rest(ctx, between(chance, 0, time.Second))
	err = errors.Join(err, n.Start())
	m.settle(ctx, chance)
	return err
}

// transfer asks any node to hand the leadership over, which may fail.
func transfer(ctx context.Context, m *nemesis, chance *rand.Rand) error {
	n, to := m.any(chance), ""
	if chance.IntN(2) == 0 {
		to = m.any(chance).Name()
	}
	asking, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	name, err := n.Client().TransferLeadership(asking, to)
	m.note("transfer by %s to %q: %q leads, error %v", n, to, name, err)
	return nil
}
