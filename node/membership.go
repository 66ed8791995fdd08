package node

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
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
		future := m.group.GetConfiguration()
		c := decide(future.Configuration().Servers, m.gossip.Members(), m.identity.get().ClusterID.String(), func(id string) bool {
			return m.level(ctx, id)
		})
		if c.what != nothing {
			err := m.do(c, future.Index())
			m.logger.Info("membership changed", "node", c.name, "id", c.id, "change", string(c.what), "error", err)
		}
	}
}

// change is one step of the configuration.
type change struct {
	what step
	id   string
	// name and addr are for joins and promotion.
	name, addr string
}

// step is what can be done with a node.
type step string

const (
	nothing step = ""
	joins   step = "joins without a vote"
	votes   step = "is level and gets a vote"
	goes    step = "is gone and replaced"
)

// decide returns the one change that is due. It depends on its arguments alone;
// level is asked of a node without a vote. Servers stand in the configuration in
// the order in which they came.
func decide(servers []raft.Server, members []gossip.Member, cluster string, level func(id string) bool) change {
	alive := make(map[string]gossip.Member)
	for _, m := range members {
		if m.Status == gossip.Alive {
			alive[m.ID] = m
		}
	}
	for _, s := range servers {
		node, ok := alive[string(s.ID)]
		if ok && s.Suffrage != raft.Voter && level(node.ID) {
			return change{votes, node.ID, node.Name, node.RaftAddr}
		}
	}
	for i, s := range servers {
		if _, ok := alive[string(s.ID)]; !ok && succeeded(servers[i+1:], alive, nameIn(s.Address)) {
			return change{what: goes, id: string(s.ID), name: nameIn(s.Address)}
		}
	}
	for _, m := range members {
		if alive[m.ID].ID != "" && (m.ClusterID == "" || m.ClusterID == cluster) && mayJoin(m, servers, alive) {
			return change{joins, m.ID, m.Name, m.RaftAddr}
		}
	}
	return change{}
}

// succeeded tells whether an alive voter came later under the name.
func succeeded(later []raft.Server, alive map[string]gossip.Member, name string) bool {
	return name != "" && slices.ContainsFunc(later, func(s raft.Server) bool {
		return alive[string(s.ID)].ID != "" && s.Suffrage == raft.Voter && nameIn(s.Address) == name
	})
}

// mayJoin tells whether a node is new, and no alive member has its name: two
// nodes of one name are a mistake, and the newcomer is the one that stays out.
func mayJoin(m gossip.Member, servers []raft.Server, alive map[string]gossip.Member) bool {
	return !slices.ContainsFunc(servers, func(s raft.Server) bool {
		return string(s.ID) == m.ID || alive[string(s.ID)].ID != "" && nameIn(s.Address) == m.Name
	})
}

// level asks a node how far it is.
func (m *membership) level(ctx context.Context, node string) bool {
	id, err := uuid.Parse(node)
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

// do makes a change, unless the configuration has moved on since it was decided.
func (m *membership) do(c change, at uint64) error {
	id, addr := raft.ServerID(c.id), raftAddress(c.id, c.addr, c.name)
	switch c.what {
	case joins:
		return m.group.AddNonvoter(id, addr, at, changeTimeout).Error()
	case votes:
		return m.group.AddVoter(id, addr, at, changeTimeout).Error()
	case goes:
		return m.group.RemoveServer(id, at, changeTimeout).Error()
	case nothing:
		return nil
	}
	return fmt.Errorf("no such change: %s", c.what)
}
