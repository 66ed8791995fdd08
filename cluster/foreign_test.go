package cluster

import (
	"context"
	"errors"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
)

// Two clusters are told of each other by mistake, and a node of one comes back at
// the addresses of a node of the other. Neither takes anybody of the other in, and
// no vote moves.
func TestAForeignClusterChangesNothing(t *testing.T) {
	ours := processes(t)
	theirs, err := NewProcesses(binary(), Options{Dir: t.TempDir()})
	require.NoError(t, err)
	closeLater(t, theirs)
	ourMembers := membersOf(t, ours)
	for i, n := range theirs.nodes {
		// Their own founding comes first, for else they would join ours.
		require.Greater(t, n.spec.expect, 1)
		require.NoError(t, n.Start(), "node %d", i)
	}
	require.NoError(t, theirs.WaitReady(t.Context()))
	theirMembers := membersOf(t, theirs)
	require.NotEqual(t, ourMembers.ID, theirMembers.ID)

	// They are told to join ours.
	for _, n := range theirs.nodes {
		require.NoError(t, n.Stop(t.Context()))
		for _, other := range ours.nodes {
			n.spec.join = append(n.spec.join, other.spec.addrs.Gossip)
		}
	}
	require.NoError(t, theirs.Start(t.Context()))
	awaitSaid(t, theirs, "another cluster", ours.nodes, theirs.nodes)
	requireMembers(t, ours, ourMembers)
	requireMembers(t, theirs, theirMembers)

	// One of theirs comes back where one of ours was.
	lost, heir := ours.nodes[2], theirs.nodes[2]
	require.NoError(t, lost.Kill())
	require.NoError(t, heir.Stop(t.Context()))
	home := heir.spec.addrs
	heir.spec.addrs.Raft, heir.spec.addrs.Gossip = lost.spec.addrs.Raft, lost.spec.addrs.Gossip
	require.NoError(t, heir.Start())
	require.NoError(t, theirs.WaitReady(t.Context()))
	awaitSaid(t, theirs, "connection refused", []*Node{heir})
	for _, n := range ours.Alive() {
		_, err := n.Client().Publish(t.Context(), anEvent("ours", n.Name()))
		require.NoError(t, err, "%s serves", n)
	}
	require.NoError(t, heir.Stop(t.Context()))
	heir.spec.addrs = home
	require.NoError(t, heir.Start())
	require.NoError(t, lost.Start())
	for _, c := range []*Cluster{ours, theirs} {
		require.NoError(t, c.WaitReady(t.Context()))
		require.NoError(t, c.Check(t.Context()))
	}
	requireMembers(t, ours, ourMembers)
	requireMembers(t, theirs, theirMembers)
}

// awaitSaid waits until one of some nodes has written a text to its log.
func awaitSaid(t *testing.T, c *Cluster, text string, among ...[]*Node) {
	t.Helper()
	require.NoError(t, c.Await(t.Context(), "a node to say "+text, func(context.Context) error {
		for _, n := range slices.Concat(among...) {
			if count, err := n.said(text); err == nil && count > 0 {
				return nil
			}
		}
		return errors.New("nobody has said it")
	}))
}

// membersOf is who belongs to a cluster, by the ids that its first node knows.
func membersOf(t *testing.T, c *Cluster) oncelog.Cluster {
	t.Helper()
	view, err := c.nodes[0].Client().Cluster(t.Context())
	require.NoError(t, err)
	require.Len(t, view.Nodes, len(c.nodes))
	return view
}

// requireMembers requires that all nodes know the same members as before, each
// with a vote.
func requireMembers(t *testing.T, c *Cluster, before oncelog.Cluster) {
	t.Helper()
	for _, n := range c.Alive() {
		view, err := n.Client().Cluster(t.Context())
		require.NoError(t, err)
		require.Equal(t, before.ID, view.ID)
		require.Len(t, view.Nodes, len(before.Nodes))
		for i, m := range view.Nodes {
			require.Equal(t, before.Nodes[i].Name, m.Name)
			require.Equal(t, before.Nodes[i].ID, m.ID)
			require.NotEqual(t, oncelog.Nonvoter, m.Role)
		}
	}
}

// Two nodes are started with each other's directories. Both refuse, change nothing,
// and are themselves again with their own.
func TestSwappedDirectoriesAreRefused(t *testing.T) {
	c := processes(t)
	_, err := c.nodes[0].Client().Publish(t.Context(), anEvent("before", "one"))
	require.NoError(t, err)
	before := membersOf(t, c)
	a, b := c.nodes[0], c.nodes[1]
	swap := func() {
		require.NoError(t, os.Rename(a.Dir(), a.Dir()+".aside"))
		require.NoError(t, os.Rename(b.Dir(), a.Dir()))
		require.NoError(t, os.Rename(a.Dir()+".aside", b.Dir()))
	}
	require.NoError(t, a.Stop(t.Context()))
	require.NoError(t, b.Stop(t.Context()))
	swap()
	for _, n := range []*Node{a, b} {
		require.NoError(t, n.Start())
		require.NoError(t, c.Await(t.Context(), "it to refuse", func(context.Context) error {
			if n.Err() == nil {
				return errors.New("it runs")
			}
			return nil
		}))
		require.ErrorContains(t, n.Err(), "exit status 1")
	}
	require.Equal(t, 1, logged(t, a, `belongs to node \"n2\", not \"n1\"`)+logged(t, a, `belongs to node "n2", not "n1"`))
	require.Equal(t, 1, logged(t, b, `belongs to node \"n1\", not \"n2\"`)+logged(t, b, `belongs to node "n1", not "n2"`))
	swap()
	require.NoError(t, c.Start(t.Context()))
	requireMembers(t, c, before)
	require.NoError(t, c.Check(t.Context()))
}
