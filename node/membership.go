package node

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"

	"github.com/oncelog/oncelog/gossip"
)

const (
	// membershipPause is how often the leader looks for something to change.
	membershipPause = time.Second
	// levelEntries is how many log entries a node may be behind and yet vote.
	levelEntries = 128
	// changeTimeout bounds one change of the configuration.
	changeTimeout = 10 * time.Second
)

// membership is the leader's care for the configuration: a new node that gossip
// sees is taken in without a vote, gets one when it is level, and then replaces
// the dead node of the same name.
type membership struct {
	leadership *leadership
	group      *group
	gossip     *gossip.Gossip
	caller     *caller
	identity   *identity
	logger     *slog.Logger
}

// run looks for changes until ctx ends.
func (m *membership) run(ctx context.Context) {
	for {
		select {
		case <-time.After(membershipPause):
		case <-m.gossip.Changed():
		case <-ctx.Done():
			return
		}
		if _, err := m.leadership.leads(); err != nil {
			continue
		}
		if c := m.next(ctx); c.do != nil {
			err := c.do()
			m.logger.Info("membership changed", "change", c.what, "error", err)
		}
	}
}

// change is one step of the configuration.
type change struct {
	what string
	do   func() error
}

// next gathers what there is to know and decides on at most one change.
func (m *membership) next(ctx context.Context) change {
	future := m.group.GetConfiguration()
	servers := make(map[string]raft.Server)
	for _, s := range future.Configuration().Servers {
		servers[string(s.ID)] = s
	}
	at := future.Index()
	own := m.identity.get().ClusterID.String()
	for _, node := range m.gossip.Members() {
		s, member := servers[node.ID]
		switch {
		case node.Status == gossip.Alive && !member && (node.ClusterID == "" || node.ClusterID == own) && !m.nameHeld(node, servers):
			return m.add(node, at)
		case node.Status == gossip.Alive && member && s.Suffrage == raft.Nonvoter && m.level(ctx, node):
			return m.promote(node, at)
		case node.Status != gossip.Alive && member && m.replaced(node, servers):
			return m.remove(node, at)
		}
	}
	return change{}
}

// nameHeld tells whether an alive member has the node's name: two nodes of one
// name are a mistake, and the newcomer is the one that stays out.
func (m *membership) nameHeld(node gossip.Member, servers map[string]raft.Server) bool {
	for _, other := range m.gossip.Members() {
		_, member := servers[other.ID]
		if member && other.ID != node.ID && other.Name == node.Name && other.Status == gossip.Alive {
			return true
		}
	}
	return false
}

// replaced tells whether an alive voter has taken over a dead member's name.
func (m *membership) replaced(dead gossip.Member, servers map[string]raft.Server) bool {
	for _, other := range m.gossip.Members() {
		s, member := servers[other.ID]
		if member && s.Suffrage == raft.Voter && other.ID != dead.ID && other.Name == dead.Name && other.Status == gossip.Alive {
			return true
		}
	}
	return false
}

// level asks a node how far it is.
func (m *membership) level(ctx context.Context, node gossip.Member) bool {
	id, err := uuid.Parse(node.ID)
	if err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	var s nodeStatus
	if err := m.caller.call(ctx, id, pathStatus, struct{}{}, &s); err != nil {
		return false
	}
	return s.Applied+levelEntries >= m.group.CommitIndex()
}

func (m *membership) add(node gossip.Member, at uint64) change {
	return change{fmt.Sprintf("node %s (%s) joins without a vote", node.Name, node.ID), func() error {
		return m.group.AddNonvoter(raft.ServerID(node.ID), raftAddress(node.ID, node.RaftAddr), at, changeTimeout).Error()
	}}
}

func (m *membership) promote(node gossip.Member, at uint64) change {
	return change{fmt.Sprintf("node %s (%s) is level and gets a vote", node.Name, node.ID), func() error {
		return m.group.AddVoter(raft.ServerID(node.ID), raftAddress(node.ID, node.RaftAddr), at, changeTimeout).Error()
	}}
}

func (m *membership) remove(node gossip.Member, at uint64) change {
	return change{fmt.Sprintf("node %s (%s) is gone and replaced", node.Name, node.ID), func() error {
		return m.group.RemoveServer(raft.ServerID(node.ID), at, changeTimeout).Error()
	}}
}
