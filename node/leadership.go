package node

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/raftfsm"
)

// errNotLeader is the answer of a node that was taken for the leader.
var errNotLeader = fmt.Errorf("%w: this node is not the leader", oncelog.ErrNotApplied)

// leadership follows who leads, and opens the log when this node does.
type leadership struct {
	group    *group
	caller   *caller
	identity *identity
	self     uuid.UUID
	logger   *slog.Logger

	// mu guards what follows.
	mu sync.Mutex
	// moved is closed when the leader changes, and then replaced.
	moved chan struct{}
	// opened is the term in which this node, as leader, has applied a command of
	// its own. Raft's own first entry of a term never reaches the state machine,
	// so only then is it known to hold all of the terms before.
	opened uint64
}

func newLeadership(g *group, c *caller, id *identity, logger *slog.Logger) *leadership {
	return &leadership{group: g, caller: c, identity: id, self: id.get().NodeID, logger: logger, moved: make(chan struct{})}
}

// run follows the leader until ctx ends.
func (l *leadership) run(ctx context.Context) {
	changes := make(chan raft.Observation, 16)
	observer := raft.NewObserver(changes, false, func(o *raft.Observation) bool {
		_, ok := o.Data.(raft.LeaderObservation)
		return ok
	})
	l.group.RegisterObserver(observer)
	defer l.group.DeregisterObserver(observer)
	l.announce()
	for {
		select {
		case <-changes:
			l.announce()
		case elected := <-l.group.LeaderCh():
			if elected {
				l.open(ctx)
			}
			l.announce()
		case <-ctx.Done():
			return
		}
	}
}

// open applies this leader's first command, and tries again for as long as it
// leads: a transfer of leadership that comes to nothing refuses commands, too.
func (l *leadership) open(ctx context.Context) {
	for l.group.State() == raft.Leader && ctx.Err() == nil {
		term := l.group.CurrentTerm()
		_, err := l.group.propose(raftfsm.EncodeOpen(l.identity.get().ClusterID))
		if err == nil && l.group.CurrentTerm() == term {
			l.mu.Lock()
			l.opened = term
			l.mu.Unlock()
			l.logger.Info("leading", "term", term)
			return
		}
		l.logger.Warn("could not open the term", "term", term, "error", err)
		select {
		case <-time.After(retryPause):
		case <-ctx.Done():
		}
	}
}

// announce wakes all who wait for another leader.
func (l *leadership) announce() {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.moved)
	l.moved = make(chan struct{})
}

// leader returns the leader's id, false where none is known, and a channel that
// is closed at the next change.
func (l *leadership) leader() (id uuid.UUID, known bool, moved <-chan struct{}) {
	l.mu.Lock()
	moved = l.moved
	l.mu.Unlock()
	_, server := l.group.LeaderWithID()
	id, err := uuid.Parse(string(server))
	return id, err == nil, moved
}

// leads returns the term in which this node leads and has opened the log.
func (l *leadership) leads() (term uint64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	term = l.group.CurrentTerm()
	if l.group.State() != raft.Leader {
		return 0, errNotLeader
	}
	if l.opened != term {
		return 0, fmt.Errorf("%w: it has yet to open term %d", errNotLeader, term)
	}
	return term, nil
}

// await waits until the leader moves, or ctx ends.
func await(ctx context.Context, moved <-chan struct{}) error {
	select {
	case <-moved:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
