package raftfsm

import (
	"testing"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"
)

func (r *replica) departed(node uuid.UUID) bool {
	s, ok := r.fsm.Departed(func(s raft.Server) bool { return s.ID == raft.ServerID(node.String()) })
	require.Equal(r.t, ok, s.ID != "")
	return ok
}

func TestTheStateMachineKnowsWhoHasLeft(t *testing.T) {
	t.Parallel()
	leader, follower, h := newReplica(t), newReplica(t), &history{}
	defer leader.close()
	defer follower.close()
	first := h.members(nodeA, nodeB)
	leader.apply(first)
	follower.apply(first)
	require.False(t, leader.departed(nodeB), "it is a member")
	leader.apply(h.members(nodeA))
	require.True(t, leader.departed(nodeB))
	require.False(t, leader.departed(nodeA))
	leader.apply(h.publish(batchOf(nodeA, 1, 1, 1, event("t", "x", "{}"))))

	require.False(t, follower.departed(nodeB), "it has not heard of it")
	leader.send(follower)
	require.True(t, follower.departed(nodeB), "a snapshot tells it as well as the log")
}

func TestThoseWhoLeftLastAreRemembered(t *testing.T) {
	t.Parallel()
	r, h := newReplica(t), &history{}
	defer r.close()
	gone := make([]uuid.UUID, departedLimit+1)
	for i := range gone {
		gone[i] = uuid.New()
		r.apply(h.members(nodeA, gone[i]))
	}
	r.apply(h.members(nodeA))
	require.False(t, r.departed(gone[0]), "forgotten for those that came later")
	for _, node := range gone[1:] {
		require.True(t, r.departed(node))
	}
	last, ok := r.fsm.Departed(func(s raft.Server) bool { return s.Address == "127.0.0.1:7000" })
	require.True(t, ok)
	require.Equal(t, raft.ServerID(gone[departedLimit].String()), last.ID, "of several the last")
}
