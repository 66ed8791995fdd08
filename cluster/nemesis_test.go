package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/oncelog/oncelog"
)

// nemesis brings faults upon a cluster, in the order that chance gives, one at a
// time upon the processes and one at a time upon the links between them.
//
// Invariant: at most one node is without its data at a time, and nothing else is
// wiped until that one has been replaced and votes.
type nemesis struct {
	cluster *Cluster
	begin   time.Time
	say     func(string)
	// only matches the names of the faults that are brought; nil matches all.
	only *regexp.Regexp
	// clocks says that the nodes have clocks that can be moved.
	clocks bool

	// calm is held while a link fails, or while none may.
	calm sync.Mutex

	// mu guards what follows.
	mu     sync.Mutex
	counts map[string]int
	failed []error
	// doomed are the nodes that have to end by themselves.
	doomed map[*Node]bool
}

// fault is one that a nemesis knows. bring brings it about, for as long as chance
// says or until ctx ends, and takes it away again; a clock stays as it is.
type fault struct {
	name  string
	bring func(ctx context.Context, m *nemesis, chance *rand.Rand) error
}

func newNemesis(c *Cluster, say func(string)) *nemesis {
	return &nemesis{cluster: c, begin: time.Now(), say: say, counts: make(map[string]int), doomed: make(map[*Node]bool)}
}

// errNotNow is a fault that could not be brought about.
var errNotNow = errors.New("not now")

// run brings faults until ctx ends. Nothing is broken by it any more when it
// returns, but nodes may still be on their way.
func (m *nemesis) run(ctx context.Context, seed uint64) {
	var lanes sync.WaitGroup
	lanes.Go(func() { m.lane(ctx, rand.New(rand.NewPCG(seed, 1)), m.chosen(processFaults)) })
	lanes.Go(func() { m.lane(ctx, rand.New(rand.NewPCG(seed, 2)), m.chosen(linkFaultKinds)) })
	lanes.Wait()
}

// chosen are the faults whose names match only.
func (m *nemesis) chosen(all []fault) []fault {
	return slices.DeleteFunc(slices.Clone(all), func(f fault) bool { return m.only != nil && !m.only.MatchString(f.name) })
}

// lane brings one fault after the other. Each has come as often as any other
// before it comes again.
func (m *nemesis) lane(ctx context.Context, chance *rand.Rand, kinds []fault) {
	for len(kinds) > 0 {
		for _, i := range chance.Perm(len(kinds)) {
			if !rest(ctx, between(chance, 200*time.Millisecond, 1500*time.Millisecond)) {
				return
			}
			m.bring(ctx, chance, kinds[i])
		}
	}
}

func (m *nemesis) bring(ctx context.Context, chance *rand.Rand, f fault) {
	err := f.bring(ctx, m, rand.New(rand.NewPCG(chance.Uint64(), 0)))
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case errors.Is(err, errNotNow):
		m.note("%s: %v", f.name, err)
	case err != nil:
		m.failed = append(m.failed, fmt.Errorf("%s: %w", f.name, err))
		m.note("%s FAILED: %v", f.name, err)
	default:
		m.counts[f.name]++
	}
}

// note tells of what happens.
func (m *nemesis) note(format string, args ...any) {
	m.say(fmt.Sprintf("%8.2f s  ", time.Since(m.begin).Seconds()) + fmt.Sprintf(format, args...))
}

// err is what went wrong with the faults themselves.
func (m *nemesis) err() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return errors.Join(m.failed...)
}

// total is the number of faults, of kinds kinds.
func (m *nemesis) total() (total, kinds int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, count := range m.counts {
		total += count
	}
	return total, len(m.counts)
}

// String lists how often each fault was brought about.
func (m *nemesis) String() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []string
	for _, name := range slices.Sorted(maps.Keys(m.counts)) {
		list = append(list, fmt.Sprintf("%s %d", name, m.counts[name]))
	}
	return strings.Join(list, ", ")
}

// begun are the nodes that were ever started.
func (m *nemesis) begun() []*Node {
	return slices.DeleteFunc(slices.Clone(m.cluster.nodes), func(n *Node) bool { return !n.begun() })
}

// any is one of the nodes.
func (m *nemesis) any(chance *rand.Rand) *Node {
	nodes := m.begun()
	return nodes[chance.IntN(len(nodes))]
}

// leader is the node that most likely leads, or any where none is known.
func (m *nemesis) leader(ctx context.Context, chance *rand.Rand) *Node {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var best oncelog.Cluster
	for _, n := range m.cluster.Alive() {
		view, err := n.Client().Cluster(ctx)
		if err == nil && view.Leader != "" && view.Term >= best.Term {
			best = view
		}
	}
	if n := m.cluster.Node(best.Leader); n != nil {
		return n
	}
	return m.any(chance)
}

// follower is a node that most likely does not lead.
func (m *nemesis) follower(ctx context.Context, chance *rand.Rand) *Node {
	leader := m.leader(ctx, chance)
	others := slices.DeleteFunc(m.begun(), func(n *Node) bool { return n == leader })
	return others[chance.IntN(len(others))]
}

// pair is two different nodes.
func (m *nemesis) pair(chance *rand.Rand) (a, b *Node) {
	nodes := m.begun()
	chance.Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
	return nodes[0], nodes[1]
}

// settle waits, more often than not, until the cluster is whole again or it has
// taken too long: the next fault may well come upon one that is not.
func (m *nemesis) settle(ctx context.Context, chance *rand.Rand) {
	if chance.IntN(3) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for _, n := range m.cluster.Alive() {
		for n.ready(ctx) != nil && rest(ctx, pollInterval) {
		}
	}
}

// heal starts what is down and waits until all nodes are ready and vote.
func (m *nemesis) heal(ctx context.Context) error {
	if err := m.cluster.Start(ctx); err != nil {
		return err
	}
	return m.cluster.Await(ctx, "every node to be a member once, with a vote", func(ctx context.Context) error {
		return m.cluster.eachAlive(func(n *Node) error { return n.haveVotes(ctx, m.begun(), "") })
	})
}

// haveVotes asks a node whether some nodes are members, each once and with a vote,
// and none of them under the id old.
func (n *Node) haveVotes(ctx context.Context, wanted []*Node, old string) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	view, err := n.Client().Cluster(ctx)
	if err != nil {
		return err
	}
	for _, w := range wanted {
		found := 0
		for _, member := range view.Nodes {
			if member.Name != w.Name() || member.Status == oncelog.Left {
				continue
			}
			if found++; member.Role == oncelog.Nonvoter || member.ID == old {
				return fmt.Errorf("%s is a %s, id %s", w.Name(), member.Role, member.ID)
			}
		}
		if found != 1 {
			return fmt.Errorf("%s is a member %d times", w.Name(), found)
		}
	}
	return nil
}

// identityOf reads a node's id from its data directory.
func identityOf(n *Node) (string, error) {
	data, err := os.ReadFile(filepath.Join(n.Dir(), "node.json"))
	if err != nil {
		return "", err
	}
	var identity struct {
		NodeID string `json:"node_id"`
	}
	return identity.NodeID, json.Unmarshal(data, &identity)
}
