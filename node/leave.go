package node

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/gossip"
)

// leavePatience is for how long a node may be silent before it counts as dead, when
// somebody waits for the answer.
const leavePatience = 4 * time.Second

// leaveRequest asks the leader to remove a node.
type leaveRequest struct {
	// Node is a name or an id.
	Node  string `json:"node"`
	Force bool   `json:"force"`
}

// leaveReply is the leader's answer. One of its members says something.
type leaveReply struct {
	Departed oncelog.Departure `json:"departed"`
	// Leads says that the node is the leader itself, which has to hand its part on
	// before.
	Leads bool `json:"leads"`
	// Unknown and Refused are reasons for which nothing was done.
	Unknown string `json:"unknown"`
	Refused string `json:"refused"`
}

func (r leaveReply) err() error {
	switch {
	case r.Unknown != "":
		return fmt.Errorf("%w: %s", oncelog.ErrNotFound, r.Unknown)
	case r.Refused != "":
		return fmt.Errorf("%w: %s", oncelog.ErrRefused, r.Refused)
	}
	return nil
}

// Leave removes a node, by its name or id, from the cluster for good. It stops once
// it knows, and can not be started again. With force a node is removed that does not
// answer and has no successor.
//
// The error is an oncelog.ErrNotFound, an oncelog.ErrRefused where the voters that
// are left would have no majority, or an oncelog.ErrUnavailable where there is no
// leader in time; the node may then be removed yet.
func (n *Node) Leave(ctx context.Context, node string, force bool) (oncelog.Departure, error) {
	ctx, cancel := n.bound(ctx)
	defer cancel()
	for {
		leader, known, moved := n.leadership.leader()
		reply, err := leaveReply{}, fmt.Errorf("%w: no leader is known", oncelog.ErrNotApplied)
		if known {
			reply, err = n.askToLeave(ctx, leader, leaveRequest{Node: node, Force: force})
		}
		if err == nil && reply.Leads {
			err = n.transferFrom(ctx, leader, uuid.Nil)
		} else if err == nil {
			return reply.Departed, reply.err()
		}
		select {
		case <-moved:
		case <-time.After(retryPause):
		case <-ctx.Done():
			return oncelog.Departure{}, fmt.Errorf("%w: node %s may or may not have left: %w", oncelog.ErrUnavailable, node, errors.Join(err, context.Cause(ctx)))
		}
	}
}

func (n *Node) askToLeave(ctx context.Context, leader uuid.UUID, r leaveRequest) (reply leaveReply, err error) {
	if leader == n.identity.get().NodeID {
		return n.membership.serveLeave(ctx, r)
	}
	err = n.caller.call(ctx, leader, methodLeave, r, &reply)
	return reply, err
}

// serveLeave serves methodLeave, as leader.
func (m *membership) serveLeave(ctx context.Context, r leaveRequest) (leaveReply, error) {
	if _, err := m.leadership.leads(); err != nil {
		return leaveReply{}, err
	}
	servers, at := m.configuration()
	target, err := m.findServer(servers, r.Node)
	switch {
	case errors.Is(err, errHasLeft):
		return leaveReply{Departed: departure(target, m.countAnswering(ctx, servers, target.ID))}, nil
	case err != nil:
		return leaveReply{Unknown: err.Error()}, nil
	}
	_, err = m.status(ctx, string(target.ID), leavePatience)
	b := m.countAnswering(ctx, servers, target.ID)
	leads := string(target.ID) == m.leadership.self.String()
	if reason := mayLeave(target, b, leads || err == nil, r.Force); reason != "" {
		return leaveReply{Refused: reason}, nil
	}
	if leads {
		return leaveReply{Leads: true}, nil
	}
	if err := m.group.RemoveServer(target.ID, at, changeTimeout).Error(); err != nil {
		return leaveReply{}, fmt.Errorf("%w: %w", oncelog.ErrOutcomeUnknown, err)
	}
	m.logger.Warn("a node was told to leave the cluster", "node", nameIn(target.Address), "id", string(target.ID), "force", r.Force, "voters", b.voters)
	m.dismiss(ctx, target.ID)
	return leaveReply{Departed: departure(target, b)}, nil
}

// mayLeave returns why a node may not leave, or "". The ballot is of the voters
// that would be left.
func mayLeave(target raft.Server, left ballot, answers, force bool) string {
	name := nameIn(target.Address)
	switch {
	case target.Suffrage == raft.Voter && left.voters == 0:
		return fmt.Sprintf("%s is the last voter, and all events are on it: to end the cluster, stop it", name)
	case target.Suffrage == raft.Voter && left.answering < left.majority():
		return fmt.Sprintf("without %s, %d voters would be left, %d of them alive and level, where %d are needed: start the others, or let them catch up, first",
			name, left.voters, left.answering, left.majority())
	case !answers && !force:
		return fmt.Sprintf("%s does not answer: if it only is down, start it and try again; if it is gone for good, start a new node of that name, which replaces it, or remove it by force (--force)", name)
	}
	return ""
}

// countAnswering asks the voters, but one, whether they are level.
func (m *membership) countAnswering(ctx context.Context, servers []raft.Server, without raft.ServerID) ballot {
	var asking sync.WaitGroup
	level := make(map[raft.ServerID]*bool, len(servers))
	for _, s := range servers {
		answers := new(bool)
		level[s.ID] = answers
		asking.Go(func() {
			*answers = string(s.ID) == m.leadership.self.String() || m.level(ctx, string(s.ID), leavePatience)
		})
	}
	asking.Wait()
	return countBallot(servers, without, func(s raft.Server) bool { return *level[s.ID] })
}

// errHasLeft is a node that is in the configuration no more.
var errHasLeft = errors.New("it has left already")

// findServer finds a node of the configuration by its name or id. Where it is there
// no more, an errHasLeft comes with what is known of it.
func (m *membership) findServer(servers []raft.Server, node string) (raft.Server, error) {
	is := func(s raft.Server) bool { return string(s.ID) == node || nameIn(s.Address) == node }
	var found []raft.Server
	for _, s := range servers {
		if is(s) {
			found = append(found, s)
		}
	}
	switch len(found) {
	case 0:
		return m.findLeft(node, is)
	case 1:
		return found[0], nil
	}
	var ids []string
	for _, s := range found {
		ids = append(ids, string(s.ID))
	}
	return raft.Server{}, fmt.Errorf("%d nodes are named %s; name one by its id: %s", len(found), node, strings.Join(ids, ", "))
}

// findLeft finds a node that has left. The state machine knows at once who was
// removed, and nothing of the time before this node started; gossip may.
func (m *membership) findLeft(node string, is func(raft.Server) bool) (raft.Server, error) {
	if s, ok := m.group.fsm.Departed(is); ok {
		return s, errHasLeft
	}
	for _, g := range m.gossip.Members() {
		s := raft.Server{ID: raft.ServerID(g.ID), Address: raftAddress(g.ID, g.RaftAddr, g.Name)}
		if g.Status == gossip.Left && is(s) {
			return s, errHasLeft
		}
	}
	return raft.Server{}, fmt.Errorf("no node of the cluster has the name or the id %s", node)
}

// dismiss tells a node that it was removed. One that does not hear it will ask.
func (m *membership) dismiss(ctx context.Context, target raft.ServerID) {
	ctx, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	if id, err := uuid.Parse(string(target)); err == nil {
		var done struct{}
		_ = m.caller.call(ctx, id, methodDismissed, done, &done)
	}
}

func departure(s raft.Server, left ballot) oncelog.Departure {
	return oncelog.Departure{Name: nameIn(s.Address), ID: string(s.ID), Voters: left.voters, FailureTolerance: left.tolerance()}
}
