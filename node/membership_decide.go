package node

import (
	"slices"

	"github.com/hashicorp/raft"

	"github.com/oncelog/oncelog/gossip"
)

// view is all that a change of the configuration is decided on. Servers stand in
// the configuration in the order in which they came.
type view struct {
	servers []raft.Server
	// alive are the nodes that gossip sees alive, by id.
	alive map[string]gossip.Member
	// members are the same, in the order of their ids.
	members []gossip.Member
	// stable are the nodes without a vote that have been level for long enough.
	stable map[string]bool
	// joining are those outsiders that have never been members.
	joining []gossip.Member
}

func newView(servers []raft.Server, members []gossip.Member) view {
	v := view{servers: servers, alive: make(map[string]gossip.Member)}
	for _, m := range members {
		if m.Status == gossip.Alive {
			v.alive[m.ID] = m
			v.members = append(v.members, m)
		}
	}
	return v
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

// decide returns the one change that is due. It depends on the view alone.
func (v view) decide() change {
	for _, s := range v.servers {
		if node, ok := v.alive[string(s.ID)]; ok && s.Suffrage != raft.Voter && v.stable[node.ID] {
			return change{votes, node.ID, node.Name, node.RaftAddr}
		}
	}
	for i, s := range v.servers {
		if !v.isAlive(s) && v.succeeded(i) && v.majorityWithout(s.ID) {
			return change{what: goes, id: string(s.ID), name: nameIn(s.Address)}
		}
	}
	for _, m := range v.joining {
		return change{joins, m.ID, m.Name, m.RaftAddr}
	}
	return change{}
}

func (v view) isAlive(s raft.Server) bool {
	_, ok := v.alive[string(s.ID)]
	return ok
}

// succeeded tells whether an alive voter came later under a server's name.
func (v view) succeeded(server int) bool {
	name := nameIn(v.servers[server].Address)
	return name != "" && slices.ContainsFunc(v.servers[server+1:], func(s raft.Server) bool {
		return v.isAlive(s) && s.Suffrage == raft.Voter && nameIn(s.Address) == name
	})
}

// majorityWithout tells whether the voters that are left without one have a
// majority that is alive.
func (v view) majorityWithout(id raft.ServerID) bool {
	b := countBallot(v.servers, id, v.isAlive)
	return b.answering >= b.majority()
}

// outsiders are the nodes that are in no configuration, and whose name no alive
// member has: two nodes of one name are a mistake, and the newcomer is the one that
// stays out.
func (v view) outsiders() (out []gossip.Member) {
	for _, m := range v.members {
		if !slices.ContainsFunc(v.servers, func(s raft.Server) bool {
			return string(s.ID) == m.ID || v.isAlive(s) && nameIn(s.Address) == m.Name
		}) {
			out = append(out, m)
		}
	}
	return out
}

// ballot is the voters of a configuration, and those of them that answer.
type ballot struct{ voters, answering int }

// countBallot counts the voters, without one of them.
func countBallot(servers []raft.Server, without raft.ServerID, answers func(raft.Server) bool) (b ballot) {
	for _, s := range servers {
		if s.Suffrage != raft.Voter || s.ID == without {
			continue
		}
		b.voters++
		if answers(s) {
			b.answering++
		}
	}
	return b
}

// majority is how many voters it takes.
func (b ballot) majority() int { return b.voters/2 + 1 }

// tolerance is how many more of the voters may fail.
func (b ballot) tolerance() int { return max(0, b.answering-b.majority()) }
