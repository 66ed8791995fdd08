package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/httpapi/client"
	"github.com/oncelog/oncelog/loadgen"
)

// errElection: the cluster has not had one leader for the whole of a trial.
var errElection = errors.New("there was an election")

// benchTrial is one run of one case.
type benchTrial struct {
	// events and seed are the benchmark's.
	events int64
	seed   uint64
	// nodes are those asked, by client.
	nodes  []*Node
	client *client.Client
	leader *Node
	before oncelog.Stats
}

// workload is a share of the benchmark's events. They begin where those in the log
// end, so they are all new to it.
func (t *benchTrial) workload(share int64) loadgen.Workload {
	w := loadgen.DefaultWorkload()
	w.Events, w.Seed = t.events/share, t.seed
	w.Start = w.Start.Add(time.Duration(t.before.Received) * time.Millisecond)
	return w
}

// follower is a node asked that does not lead, or the leader where there is none.
func (t *benchTrial) follower() *Node {
	if i := slices.IndexFunc(t.nodes, func(n *Node) bool { return n != t.leader }); i >= 0 {
		return t.nodes[i]
	}
	return t.leader
}

// measure tries a case until it ran under one leader, a few times at most.
func (b *bench) measure(ctx context.Context, c BenchCase) (r BenchRound, err error) {
	const attempts = 5
	for range attempts {
		if r, err = b.attempt(ctx, c); !errors.Is(err, errElection) {
			return r, err
		}
		b.report.Elections++
		b.say("%s is measured again: %v", c.Name, err)
	}
	return r, err
}

// attempt measures a case, from a state in which all nodes are level to the next.
func (b *bench) attempt(ctx context.Context, c BenchCase) (BenchRound, error) {
	t, err := b.prepare(ctx, c.audience)
	if err != nil {
		return BenchRound{}, err
	}
	if c.ByName {
		if err := b.settle(ctx); err != nil {
			return BenchRound{}, err
		}
	}
	before, err := b.use()
	if err != nil {
		return BenchRound{}, err
	}
	m, err := c.run(ctx, t)
	if err != nil {
		return BenchRound{}, err
	}
	level, err := b.WaitLevel(ctx)
	if err != nil {
		return BenchRound{}, err
	}
	after, err := b.use()
	if err != nil {
		return BenchRound{}, err
	}
	if err := t.check(m, level); err != nil {
		return BenchRound{}, err
	}
	r := BenchRound{
		LogEvents: t.before.Unique, Count: m.count, Seconds: m.seconds, PerSecond: cmp.Or(m.perSecond, float64(m.count)/m.seconds),
		Latency: m.latency, Resent: m.resent, Refused: m.refused,
	}
	r.addUse(t.leader.Name(), before, after)
	return r, nil
}

// prepare finds the leader and, by it, whom to ask.
func (b *bench) prepare(ctx context.Context, whom audience) (*benchTrial, error) {
	lead, err := b.Leader(ctx)
	if err != nil {
		return nil, err
	}
	t := &benchTrial{events: b.options.Events, seed: b.options.Seed, leader: lead}
	for _, n := range b.Nodes() {
		if whom == askAll || (whom == askLeader) == (n == lead) {
			t.nodes = append(t.nodes, n)
		}
	}
	if t.client, err = b.clientOf(t.nodes); err != nil {
		return nil, err
	}
	t.before, err = lead.stats(ctx, oncelog.Linearizable)
	return t, err
}

// clientOf returns a client of some nodes, the same each time, so that it has its
// connections.
func (b *bench) clientOf(nodes []*Node) (*client.Client, error) {
	targets := make([]string, len(nodes))
	for i, n := range nodes {
		targets[i] = n.URL()
	}
	key := strings.Join(targets, " ")
	if c, ok := b.clients[key]; ok {
		return c, nil
	}
	c, err := client.New(targets, client.WithConcurrency(crowd))
	if err == nil {
		b.clients[key] = c
	}
	return c, err
}

// check holds the log against what was done to it.
func (t *benchTrial) check(m measured, level []oncelog.Stats) error {
	contents := make([]Contents, len(level))
	for i, s := range level {
		if s.Term != t.before.Term {
			return fmt.Errorf("%w: %s is in term %d, after term %d", errElection, s.Node, s.Term, t.before.Term)
		}
		if s.Digest != level[0].Digest {
			return fmt.Errorf("I3 %w: at index %d, %s and %s have different digests", ErrBroken, s.AppliedIndex, level[0].Node, s.Node)
		}
		contents[i] = Contents{Node: s.Node, Stats: s}
	}
	if err := CheckCounters(contents); err != nil {
		return err
	}
	unique, received := int64(level[0].Unique-t.before.Unique), int64(level[0].Received-t.before.Received)
	if unique != m.published.Unique() || received < m.published.Events || received > m.published.Events+m.resentEvents {
		return fmt.Errorf("%w: the log has taken in %d events, %d of them new; sent were %d, %d of them new, and %d again",
			errIncomplete, received, unique, m.published.Events, m.published.Unique(), m.resentEvents)
	}
	return nil
}

// settle waits until the nodes have hardly anything to do, for a while at most: the
// compactions that one case leaves behind are not the next one's.
func (b *bench) settle(ctx context.Context) error {
	const (
		interval = 500 * time.Millisecond
		quiet    = interval / 10
		most     = time.Minute
	)
	before, err := b.use()
	for range most / interval {
		if err != nil || before == nil {
			return err
		}
		select {
		case <-time.After(interval):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		var after map[string]processUse
		if after, err = b.use(); err != nil {
			return err
		}
		var spent time.Duration
		for name, u := range after {
			spent += u.cpu - before[name].cpu
		}
		if spent < quiet {
			return nil
		}
		before = after
	}
	return nil
}

// use is what each process has taken so far, this one, which makes the load, under
// the name "". It is nil on a system that does not tell.
func (b *bench) use() (map[string]processUse, error) {
	all := make(map[string]processUse)
	pids := map[string]int{"": os.Getpid()}
	for _, n := range b.Nodes() {
		pids[n.Name()] = n.PID()
	}
	for name, pid := range pids {
		u, err := useOf(pid)
		if errors.Is(err, errors.ErrUnsupported) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all[name] = u
	}
	return all, nil
}
