package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
)

// foundingsVariable says how many clusters are founded.
const foundingsVariable = "ONCELOG_FOUNDINGS"

// Nodes start in any order, with pauses, while one of them is cut off
// from the others, loses its data before it has met them all, or is killed as the
// cluster is founded. There is never more than one cluster.
func TestNeverTwoClusters(t *testing.T) {
	t.Parallel()
	seed := chaosSeed(t)
	t.Logf("seed %d", seed)
	for i := range numberFrom(t, foundingsVariable, 1) {
		t.Run(fmt.Sprint(i), func(t *testing.T) { testFounding(t, rand.New(rand.NewPCG(seed, uint64(i)))) })
	}
}

func testFounding(t *testing.T, chance *rand.Rand) {
	ctx := t.Context()
	c, err := NewProcesses(binary(), Options{Dir: t.TempDir(), Links: true})
	require.NoError(t, err)
	closeLater(t, c)
	order := chance.Perm(len(c.nodes))
	first, wiped, last := c.nodes[order[0]], c.nodes[order[1]], c.nodes[order[2]]

	// The first node is cut off before the others are there.
	require.NoError(t, first.Start())
	links := linksOnDisk(ctx, t, c, first)
	links.Isolate(first)
	for _, n := range []*Node{wiped, last} {
		rest(ctx, between(chance, 0, time.Second))
		require.NoError(t, n.Start())
	}
	requireNoCluster(t, c, links)

	// One of those that wait loses its data.
	require.NoError(t, wiped.Kill())
	require.NoError(t, os.RemoveAll(wiped.Dir()))
	require.NoError(t, wiped.Start())
	requireNoCluster(t, c, links)

	// Now they can meet, and each is killed at some moment of it.
	links.Heal()
	for _, i := range chance.Perm(len(c.nodes)) {
		rest(ctx, between(chance, 0, 500*time.Millisecond))
		require.NoError(t, c.nodes[i].Kill())
		require.NoError(t, c.nodes[i].Start())
	}
	require.NoError(t, c.WaitReady(ctx))
	founded := requireOneCluster(t, c)

	// All start again, and one of them is new: it is taken in.
	require.NoError(t, c.Kill())
	require.NoError(t, os.RemoveAll(last.Dir()))
	for _, i := range chance.Perm(len(c.nodes)) {
		rest(ctx, between(chance, 0, time.Second))
		require.NoError(t, c.nodes[i].Start())
	}
	require.NoError(t, newNemesis(c, func(string) {}).heal(ctx))
	require.Equal(t, founded, requireOneCluster(t, c))
	require.NoError(t, c.Check(ctx))
}

// linksOnDisk are the links of a cluster that has not been founded, of which one
// node has hardly begun.
func linksOnDisk(ctx context.Context, t *testing.T, c *Cluster, n *Node) *Links {
	t.Helper()
	l := &Links{nodes: c.nodes, proxies: c.proxies, ids: make(map[string]uuid.UUID)}
	require.NoError(t, c.Await(ctx, "the node's id", func(context.Context) error {
		text, err := identityOf(n)
		if err != nil {
			return err
		}
		l.ids[n.Name()], err = uuid.Parse(text)
		return err
	}))
	return l
}

// requireNoCluster waits until every node sees all of them and one has tried to
// reach another in vain, and belongs to no cluster.
func requireNoCluster(t *testing.T, c *Cluster, links *Links) {
	t.Helper()
	lost := lostAnywhere(links)
	require.NoError(t, c.Await(t.Context(), "all nodes to see each other", func(ctx context.Context) error {
		if lostAnywhere(links) == lost {
			return errors.New("no connection was refused")
		}
		return c.eachAlive(func(n *Node) error {
			view, err := n.Client().Cluster(ctx)
			if err != nil {
				return err
			}
			require.Empty(t, view.ID, "%s belongs to no cluster", n)
			alive := 0
			for _, m := range view.Nodes {
				if m.Status == oncelog.Alive {
					alive++
				}
			}
			if alive != len(c.nodes) {
				return fmt.Errorf("it sees %d nodes", alive)
			}
			return nil
		})
	}))
}

// requireOneCluster returns the id of the cluster that all nodes belong to, each
// as a voter.
func requireOneCluster(t *testing.T, c *Cluster) (id string) {
	t.Helper()
	for _, n := range c.nodes {
		view, err := n.Client().Cluster(t.Context())
		require.NoError(t, err)
		require.NotEmpty(t, view.ID)
		if id == "" {
			id = view.ID
		}
		require.Equal(t, id, view.ID, "the cluster of %s", n)
		require.Len(t, view.Nodes, len(c.nodes))
		for _, m := range view.Nodes {
			require.NotEqual(t, oncelog.Nonvoter, m.Role, "%s as %s sees it", m.Name, n)
		}
		_, err = n.Client().Publish(t.Context(), anEvent("founded", uuid.NewString()))
		require.NoError(t, err)
	}
	return id
}
