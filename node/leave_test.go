package node

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
)

// awaitEnd waits until a node that has left can be closed in order.
func awaitEnd(t *testing.T, n *restartable) {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- n.Run(context.Background()) }()
	select {
	case err := <-ended:
		require.NoError(t, err, "it stops in order")
	case <-time.After(20 * time.Second):
		require.NoError(t, n.Close())
		require.Fail(t, "the node goes on", "%s", n.c.Name)
	}
}

// awaitVoters waits until a node sees so many voters, all of them alive and level.
func awaitVoters(t *testing.T, by *Node, want int) oncelog.Cluster {
	t.Helper()
	var c oncelog.Cluster
	require.Eventually(t, func() bool {
		var err error
		c, err = by.Cluster(t.Context())
		return err == nil && c.Voters == want && c.FailureTolerance == (want-1)/2
	}, 30*time.Second, 50*time.Millisecond, "%d voters: %+v", want, &c)
	return c
}

// Nodes leave one after the other, the leader too, whoever is asked, until one is
// left that has everything.
func TestNodesLeaveUntilOneIsLeft(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t, func(c *Config) { c.Timing = patientTiming })
	_, err := nodes[0].publish(t.Context(), bulky(0, 100))
	require.NoError(t, err)
	leader, others := leaderOf(t, nodes)
	first, last := others[0], others[1]

	_, err = last.Leave(t.Context(), "n9", false)
	require.ErrorIs(t, err, oncelog.ErrNotFound)
	d, err := last.Leave(t.Context(), first.c.Name, false)
	require.NoError(t, err)
	require.Equal(t, oncelog.Departure{Name: first.c.Name, ID: first.ID(), Voters: 2}, d)
	awaitEnd(t, first)
	again, err := last.Leave(t.Context(), first.ID(), false)
	require.NoError(t, err, "asked twice")
	require.Equal(t, d, again)

	d, err = leader.Leave(t.Context(), leader.ID(), false)
	require.NoError(t, err)
	require.Equal(t, oncelog.Departure{Name: leader.c.Name, ID: leader.ID(), Voters: 1}, d)
	awaitEnd(t, leader)
	awaitReady(t, last.Node)

	for _, force := range []bool{false, true} {
		_, err = last.Leave(t.Context(), last.c.Name, force)
		require.ErrorIs(t, err, oncelog.ErrRefused)
		require.ErrorContains(t, err, "last voter")
	}
	receipts, err := last.publish(t.Context(), bulky(0, 100))
	require.NoError(t, err)
	require.Equal(t, oncelog.Duplicate, receipts[99].Status)
	require.Equal(t, uint64(100), receipts[99].ID)
	for _, gone := range []*restartable{first, leader} {
		_, err := New(gone.c)
		require.ErrorIs(t, err, ErrLeft)
		require.ErrorContains(t, err, gone.c.DataDir)
	}
	c, err := last.Cluster(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, c.Voters)
	for _, m := range c.Nodes {
		if m.ID != last.ID() {
			require.Equal(t, oncelog.Left, m.Status, "it was told to the others: %+v", m)
		}
	}
}

// While one of three is dead, none of the others may leave. The dead one may, by
// force. When it returns, it finds out.
func TestALeaveThatWouldCostTheMajorityIsRefused(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t, func(c *Config) { c.Timing = patientTiming })
	leader, others := leaderOf(t, nodes)
	dead, alive := others[0], others[1]
	require.Eventually(t, func() bool { return dead.identity.get().MemberAt > 0 }, 10*time.Second, 10*time.Millisecond)
	require.NoError(t, dead.Close())
	for _, n := range []*restartable{leader, alive} {
		for _, force := range []bool{false, true} {
			_, err := alive.Leave(t.Context(), n.c.Name, force)
			require.ErrorIs(t, err, oncelog.ErrRefused)
			require.ErrorContains(t, err, "2 voters would be left")
			require.ErrorContains(t, err, "where 2 are needed")
		}
	}
	before, _ := leaderOf(t, []*restartable{leader, alive, dead})
	require.Equal(t, leader, before, "nothing was handed on")
	_, err := alive.Leave(t.Context(), dead.c.Name, false)
	require.ErrorIs(t, err, oncelog.ErrRefused)
	require.ErrorContains(t, err, "does not answer")
	d, err := alive.Leave(t.Context(), dead.c.Name, true)
	require.NoError(t, err)
	require.Equal(t, oncelog.Departure{Name: dead.c.Name, ID: dead.ID(), Voters: 2}, d)
	requireHasLeft := func() {
		t.Helper()
		for _, name := range []string{dead.c.Name, dead.ID()} {
			again, err := alive.Leave(t.Context(), name, false)
			require.NoError(t, err, "asked again, since the answer may have been lost")
			require.Equal(t, d, again)
		}
	}
	requireHasLeft()
	_, err = leader.TransferLeadership(t.Context(), alive.c.Name)
	require.NoError(t, err)
	requireHasLeft()

	again, err := New(dead.c)
	if err == nil { // it could not ask in time, and finds out soon
		dead.Node = again
		awaitEnd(t, dead)
		_, err = New(dead.c)
	}
	require.ErrorIs(t, err, ErrLeft)
	require.Equal(t, 2, awaitVoters(t, alive.Node, 2).Voters, "it was not taken in again")
}

func TestWithoutALeaderNobodyLeaves(t *testing.T) {
	t.Parallel()
	c := testNode(t, "n1")
	c.BootstrapExpect = 3
	n := start(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := n.Leave(ctx, "n1", true)
	require.ErrorIs(t, err, oncelog.ErrUnavailable)
}

// Two servers of one name, as a dead node and its successor for a while, are told
// apart by their ids.
func TestANameThatTwoHaveIsNoAnswer(t *testing.T) {
	t.Parallel()
	m := &membership{}
	servers := []raft.Server{voterOf("a", "n1"), voterOf("b", "n1"), voterOf("c", "n2")}
	_, err := m.findServer(servers, "n1")
	require.ErrorContains(t, err, "2 nodes are named n1; name one by its id: a, b")
	s, err := m.findServer(servers, "b")
	require.NoError(t, err)
	require.Equal(t, servers[1], s)
}

// What a node says of its members counts only where it has applied what made us one.
// After a crash, a node has applied less than before, and that goes for our own, too.
func TestOnlyALaterConfigurationTellsWhoHasLeft(t *testing.T) {
	t.Parallel()
	self, other := uuid.New(), uuid.New()
	for name, test := range map[string]struct {
		status nodeStatus
		left   bool
	}{
		"it is behind":          {nodeStatus{Applied: 9, Members: []uuid.UUID{other}}, false},
		"it is as far":          {nodeStatus{Applied: 10, Members: []uuid.UUID{other}}, true},
		"it is further":         {nodeStatus{Applied: 11, Members: []uuid.UUID{other}}, true},
		"it has us":             {nodeStatus{Applied: 11, Members: []uuid.UUID{other, self}}, false},
		"it says nothing of it": {nodeStatus{Applied: 11}, false},
		"it has lost it all":    {nodeStatus{}, false},
	} {
		require.Equal(t, test.left, test.status.removed(self, 10), name)
	}
}
