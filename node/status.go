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
}

func (n *Node) status() nodeStatus {
	return nodeStatus{
		Cluster: n.identity.get().ClusterID,
		Applied: n.group.store.Applied().Index,
		Commit:  n.group.CommitIndex(),
		DiskLow: n.space.err() != nil,
	}
}

func (n *Node) serveStatus(context.Context, struct{}) (nodeStatus, error) { return n.status(), nil }

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
	c.Nodes = n.members(leader, known)
	var asking sync.WaitGroup
	commits := make([]uint64, len(c.Nodes))
	for i := range c.Nodes {
		asking.Go(func() { c.Nodes[i].AppliedIndex, commits[i] = n.progressOf(ctx, c.Nodes[i]) })
	}
	asking.Wait()
	commit := slices.Max(append(commits, n.group.CommitIndex()))
	for i := range c.Nodes {
		c.Nodes[i].Lag = commit - min(commit, c.Nodes[i].AppliedIndex)
	}
	return c, nil
}

// members are the nodes of the configuration and those that gossip knows, in the
// order of their names.
func (n *Node) members(leader uuid.UUID, known bool) []oncelog.Member {
	byID := make(map[string]*oncelog.Member)
	for _, s := range n.group.GetConfiguration().Configuration().Servers {
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

// progressOf asks a node how far it is; one that does not answer is at 0.
func (n *Node) progressOf(ctx context.Context, m oncelog.Member) (applied, commit uint64) {
	id, err := uuid.Parse(m.ID)
	switch {
	case err != nil || m.Status != oncelog.Alive:
		return 0, 0
	case id == n.identity.get().NodeID:
		s := n.status()
		return s.Applied, s.Commit
	}
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	var s nodeStatus
	if err := n.caller.call(ctx, id, pathStatus, struct{}{}, &s); err != nil {
		return 0, 0
	}
	return s.Applied, s.Commit
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
		return n.leadership.transfer(target)
	}
	var done transferRequest
	return n.caller.call(ctx, leader, pathTransfer, transferRequest{To: target}, &done)
}

// transferRequest asks the leader to step aside, for any node where To is nil.
type transferRequest struct {
	To uuid.UUID `json:"to"`
}

func (n *Node) serveTransfer(_ context.Context, r transferRequest) (transferRequest, error) {
	return r, n.leadership.transfer(r.To)
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
