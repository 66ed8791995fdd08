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
	// stableTime is for how long a node must be level before it gets a vote. A
	// dead voter's successor waits as long, so it is short.
	stableTime = 3 * time.Second
	// changeTimeout bounds one change of the configuration.
	changeTimeout = 10 * time.Second
)

// membership is the leader's care for the configuration: a new node that gossip
// sees is taken in without a vote, gets one when it has been level for a while, and
// then replaces the dead node of the same name.
//
// One change is made at a time: each is bound to the configuration that it was
// decided on, and Raft takes none before the last one is committed.
type membership struct {
	leadership *leadership
	group      *group
	gossip     *gossip.Gossip
	caller     *caller
	identity   *identity
	logger     *slog.Logger
	standing   *standing
	steady     steadiness
}

// run looks for changes until ctx ends, or the node has left the cluster.
func (m *membership) run(ctx context.Context) {
	for {
		select {
		case <-time.After(membershipPause):
		case <-m.gossip.Changed():
		case <-m.standing.dismissed:
			m.standing.doubt = true
		case <-ctx.Done():
			return
		}
		if m.standing.ended(ctx) {
			return
		}
		m.look(ctx)
	}
}

// look makes the one change that is due, where this node leads.
func (m *membership) look(ctx context.Context) {
	if _, err := m.leadership.leads(); err != nil {
		m.steady = nil
		return
	}
	servers, at := m.configuration()
	c := m.gather(ctx, servers).decide()
	if c.what == nothing {
		return
	}
	logger := m.logger.With("node", c.name, "id", c.id, "change", string(c.what))
	if err := m.do(c, at); err != nil {
		logger.Warn("membership could not be changed", "error", err)
		return
	}
	logger.Info("membership changed")
}

// configuration is what changes are decided on, and the index that binds them to it.
// It is the state machine's, since the index of Raft's GetConfiguration is always 0,
// which binds to nothing.
func (m *membership) configuration() (servers []raft.Server, at uint64) {
	c, at := m.group.fsm.ConfigurationEntry()
	return c.Servers, at
}

// gather asks all that decide has to know. Gossip names whom to ask; the nodes
// themselves answer.
func (m *membership) gather(ctx context.Context, servers []raft.Server) view {
	v := newView(servers, m.gossip.Members())
	var level []string
	for _, s := range servers {
		if v.isAlive(s) && s.Suffrage != raft.Voter && m.level(ctx, string(s.ID), roundTimeout) {
			level = append(level, string(s.ID))
		}
	}
	m.steady = m.steady.with(level, time.Now())
	v.stable = m.steady.since(time.Now().Add(-stableTime))
	for _, g := range v.outsiders() {
		if m.isNew(ctx, g.ID) {
			v.joining = append(v.joining, g)
		}
	}
	return v
}

// steadiness is since when nodes without a vote have been level at every look.
type steadiness map[string]time.Time

// with notes the nodes that are level now. All others begin anew.
func (s steadiness) with(level []string, now time.Time) steadiness {
	next := make(steadiness, len(level))
	for _, id := range level {
		next[id] = now
		if before, ok := s[id]; ok {
			next[id] = before
		}
	}
	return next
}

// since returns the nodes that have been level from a moment on.
func (s steadiness) since(moment time.Time) map[string]bool {
	stable := make(map[string]bool)
	for id, from := range s {
		stable[id] = !from.After(moment)
	}
	return stable
}

// status asks a node for its own.
func (m *membership) status(ctx context.Context, node string, patience time.Duration) (s nodeStatus, err error) {
	id, err := uuid.Parse(node)
	if err != nil {
		return s, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return m.caller.status(ctx, id)
}

// level asks a node how far it is.
func (m *membership) level(ctx context.Context, node string, patience time.Duration) bool {
	s, err := m.status(ctx, node, patience)
	return err == nil && s.level(m.group.CommitIndex())
}

// isNew asks a node whether it has never been a member. One that has was removed,
// and stays so.
func (m *membership) isNew(ctx context.Context, node string) bool {
	s, err := m.status(ctx, node, roundTimeout)
	own := m.identity.get().ClusterID
	return err == nil && !s.Joined && (s.Cluster == uuid.Nil || s.Cluster == own)
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
