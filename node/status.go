package node

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/gossip"
)

// statusTimeout bounds the wait for one other node's status.
const statusTimeout = 500 * time.Millisecond

// nodeStatus is what a node tells another of itself.
type nodeStatus struct {
	Cluster uuid.UUID `json:"cluster"`
	Applied uint64    `json:"applied"`
	Commit  uint64    `json:"commit"`
	// DiskLow says that the node takes no events.
	DiskLow bool `json:"disk_low"`
	// Joined says that the node is or was a member.
	Joined bool `json:"joined"`
	// Members are those of the configuration as of Applied, or of a later one.
	Members []uuid.UUID `json:"members"`
}

func (n *Node) status() nodeStatus {
	own := n.identity.get()
	s := nodeStatus{
		Cluster: own.ClusterID,
		Applied: n.group.store.Applied().Index,
		Commit:  n.group.CommitIndex(),
		DiskLow: n.space.err() != nil,
	}
	s.Members = memberIDs(n.group.fsm.Configuration()) // after Applied
	s.Joined = own.MemberAt > 0 || slices.Contains(s.Members, own.NodeID)
	return s
}

func (n *Node) serveStatus(context.Context, struct{}) (nodeStatus, error) { return n.status(), nil }

// status asks a node for its own, for as long as ctx lasts.
func (c *caller) status(ctx context.Context, node uuid.UUID) (s nodeStatus, err error) {
	err = c.call(ctx, node, methodStatus, struct{}{}, &s)
	return s, err
}

// level tells whether a node is near enough to a commit index to vote.
func (s nodeStatus) level(commit uint64) bool { return s.Applied+levelEntries >= commit }

// removed tells whether the node knows for certain that a member is none any more,
// which it was at an index.
func (s nodeStatus) removed(member uuid.UUID, at uint64) bool {
	return s.Applied >= at && len(s.Members) > 0 && !slices.Contains(s.Members, member)
}

// Cluster tells what this node knows of the group, asking the other nodes how
// far they are. It needs no quorum.
func (n *Node) Cluster(ctx context.Context) (oncelog.Cluster, error) {
	leader, known, _ := n.leadership.leader()
	c := oncelog.Cluster{Term: n.group.CurrentTerm()}
	if id := n.identity.get().ClusterID; id != uuid.Nil {
		c.ID = id.String()
	}
	if known {
		c.Leader = n.nameOf(leader)
	}
	servers := n.group.GetConfiguration().Configuration().Servers
	c.Nodes = n.members(servers, leader, known)
	n.measure(ctx, c.Nodes)
	level := make(map[string]bool)
	for _, m := range c.Nodes {
		level[m.ID] = m.Level
	}
	b := countBallot(servers, "", func(s raft.Server) bool { return level[string(s.ID)] })
	c.Voters, c.FailureTolerance = b.voters, b.tolerance()
	return c, nil
}

// measure asks all members at once how far they are.
func (n *Node) measure(ctx context.Context, members []oncelog.Member) {
	var asking sync.WaitGroup
	told := make([]nodeStatus, len(members))
	answered := make([]bool, len(members))
	for i, m := range members {
		asking.Go(func() { told[i], answered[i] = n.progressOf(ctx, m) })
	}
	asking.Wait()
	commit := n.group.CommitIndex()
	for _, s := range told {
		commit = max(commit, s.Commit)
	}
	for i, s := range told {
		m := &members[i]
		m.AppliedIndex = s.Applied
		m.Lag = commit - min(commit, s.Applied)
		m.Level = answered[i] && s.level(commit)
	}
}

// members are the nodes of the configuration and those that gossip knows, in the
// order of their names.
func (n *Node) members(servers []raft.Server, leader uuid.UUID, known bool) []oncelog.Member {
	byID := make(map[string]*oncelog.Member)
	for _, s := range servers {
		m := &oncelog.Member{ID: string(s.ID), Role: oncelog.Follower, Status: oncelog.Failed, RaftAddr: hostPort(s.Address), Name: nameIn(s.Address)}
		if s.Suffrage != raft.Voter {
			m.Role = oncelog.Nonvoter
		}
		if known && m.ID == leader.String() {
			m.Role = oncelog.Leader
		}
		byID[m.ID] = m
	}
	for _, g := range n.gossip.Members() {
		m := byID[g.ID]
		if m == nil && g.Status == gossip.Failed {
			continue // it was replaced
		}
		if m == nil {
			m = &oncelog.Member{ID: g.ID, Role: oncelog.Nonvoter}
			byID[g.ID] = m
		}
		m.Name, m.Version = g.Name, g.Version
		m.HTTPAddr, m.RaftAddr, m.GossipAddr = g.HTTPAddr, g.RaftAddr, g.GossipAddr
		m.Status = livenessOf(g.Status)
	}
	members := make([]oncelog.Member, 0, len(byID))
	for _, m := range byID {
		members = append(members, *m)
	}
	slices.SortFunc(members, func(a, b oncelog.Member) int {
		return strings.Compare(a.Name+"\x00"+a.ID, b.Name+"\x00"+b.ID)
	})
	return members
}

func livenessOf(s gossip.Status) oncelog.Liveness {
	switch s {
	case gossip.Alive:
		return oncelog.Alive
	case gossip.Left:
		return oncelog.Left
	case gossip.Failed:
		return oncelog.Failed
	}
	return oncelog.Failed
}

// progressOf asks a node how far it is, if gossip sees it alive.
func (n *Node) progressOf(ctx context.Context, m oncelog.Member) (s nodeStatus, answered bool) {
	id, err := uuid.Parse(m.ID)
	switch {
	case err != nil || m.Status != oncelog.Alive:
		return s, false
	case id == n.identity.get().NodeID:
		return n.status(), true
	}
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	s, err = n.caller.status(ctx, id)
	return s, err == nil
}

// nameOf is a node's name, or its id where gossip has not told the name.
func (n *Node) nameOf(id uuid.UUID) string {
	if own := n.identity.get(); own.NodeID == id {
		return own.Name
	}
	if m, ok := n.gossip.Lookup(id.String()); ok {
		return m.Name
	}
	return id.String()
}

// Ready returns nil when the node knows a leader, is level with it and has room
// on its disk, and the reason otherwise.
func (n *Node) Ready(ctx context.Context) error {
	if err := n.space.err(); err != nil {
		return err
	}
	if n.identity.get().ClusterID == uuid.Nil {
		return fmt.Errorf("%w: the node is not in a cluster yet", oncelog.ErrUnavailable)
	}
	ctx, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	return n.reader.catchUp(ctx)
}

// TransferLeadership hands leadership to the node named to, or to any other
// where to is "", and returns the new leader's name.
func (n *Node) TransferLeadership(ctx context.Context, to string) (string, error) {
	target := uuid.Nil
	if to != "" {
		var err error
		if target, err = n.idOf(to); err != nil {
			return "", err
		}
	}
	leader, known, _ := n.leadership.leader()
	if !known {
		return "", fmt.Errorf("%w: no leader is known", oncelog.ErrUnavailable)
	}
	if leader == target {
		return to, nil
	}
	if err := n.transferFrom(ctx, leader, target); err != nil {
		return "", err
	}
	return n.awaitLeader(ctx, leader)
}

func (n *Node) transferFrom(ctx context.Context, leader, target uuid.UUID) error {
	if leader == n.identity.get().NodeID {
		return n.leadership.transfer(ctx, target)
	}
	var done transferRequest
	return n.caller.call(ctx, leader, methodTransfer, transferRequest{To: target}, &done)
}

// transferRequest asks the leader to step aside, for any node where To is nil.
type transferRequest struct {
	To uuid.UUID `json:"to"`
}

func (n *Node) serveTransfer(ctx context.Context, r transferRequest) (transferRequest, error) {
	return r, n.leadership.transfer(ctx, r.To)
}

// awaitLeader waits for a leader other than before.
func (n *Node) awaitLeader(ctx context.Context, before uuid.UUID) (string, error) {
	for {
		leader, known, moved := n.leadership.leader()
		if known && leader != before {
			return n.nameOf(leader), nil
		}
		if err := await(ctx, moved); err != nil {
			return "", fmt.Errorf("%w: leadership was handed over and no new leader is known yet", oncelog.ErrUnavailable)
		}
	}
}

// idOf finds a member of the cluster by its name.
func (n *Node) idOf(name string) (uuid.UUID, error) {
	for _, m := range n.gossip.Members() {
		if m.Name == name && m.Status == gossip.Alive {
			return uuid.Parse(m.ID)
		}
	}
	return uuid.Nil, fmt.Errorf("%w: no node named %q is alive", oncelog.ErrNotFound, name)
}
