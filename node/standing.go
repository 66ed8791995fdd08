package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"

	"github.com/oncelog/oncelog/gossip"
)

// ErrLeft is the data directory of a node that has left its cluster. It keeps what
// the node held, and can not be used to join again.
var ErrLeft = errors.New("the node has left its cluster")

// contactTime is how long a follower may hear nothing of a leader before it asks
// the others whether it still is a member.
const contactTime = 2 * time.Second

// standing is what a node knows of its own membership. A node that was removed may
// never hear of it from Raft, since nobody sends it anything any more. So it asks.
//
// Invariant: a node has left only if it was a member at an applied index, and is none
// by the configuration at a later one, be it its own or another node's. A node that
// has left is never taken in again, so there is no third configuration. The index is
// on disk: after a crash, what a node has applied may be older than it was.
type standing struct {
	identity *identity
	group    *group
	gossip   *gossip.Gossip
	caller   *caller
	logger   *slog.Logger
	// status is this node's own.
	status func() nodeStatus
	// depart stops the node once it has left.
	depart func()
	// fail stops the node with a reason.
	fail func(error)
	// dismissed is poked by the leader that has removed this node.
	dismissed chan struct{}
	// doubt makes the next look ask the others, whatever the leader does.
	doubt bool
}

// ended tells whether the node has left the cluster. The first time, that is put on
// disk and stops the node.
func (s *standing) ended(ctx context.Context) bool {
	left, err := s.hasLeft(ctx)
	if err == nil && left {
		err = s.identity.leave()
	}
	if err != nil {
		s.fail(err)
		return true
	}
	if left {
		s.logger.Warn("this node has left the cluster, and stops; it can join again only as a new node, with an empty data directory")
		s.depart()
	}
	return left
}

func (s *standing) hasLeft(ctx context.Context) (bool, error) {
	own, now := s.identity.get(), s.status()
	switch {
	case own.MemberAt == 0 && slices.Contains(now.Members, own.NodeID):
		at := s.group.store.Applied().Index // not before the members were read
		return false, s.identity.update(func(i *identityState) error {
			i.MemberAt = at
			return nil
		})
	case own.MemberAt == 0:
		return false, nil
	case now.removed(own.NodeID, own.MemberAt):
		return true, nil
	case !s.doubtful():
		return false, nil
	}
	s.doubt = false
	return s.removedSince(ctx, own), nil
}

// doubtful tells whether the node might have been removed without hearing of it.
func (s *standing) doubtful() bool {
	return s.doubt || s.group.State() != raft.Leader && time.Since(s.group.LastContact()) > contactTime
}

// removedSince asks the members of the cluster that gossip sees for their
// configuration, and tells whether a later one is without this node.
func (s *standing) removedSince(ctx context.Context, own identityState) bool {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	var asking sync.WaitGroup
	var removed atomic.Bool
	for _, m := range s.gossip.Members() {
		id, err := uuid.Parse(m.ID)
		if err != nil || id == own.NodeID || m.Status != gossip.Alive {
			continue
		}
		asking.Go(func() {
			other, err := s.caller.status(ctx, id)
			if err == nil && other.Cluster == own.ClusterID && other.removed(own.NodeID, own.MemberAt) {
				removed.Store(true)
			}
		})
	}
	asking.Wait()
	return removed.Load()
}

// claim refuses to start where others know already that this node has left: Raft,
// once it runs, could find a majority among nodes that were given up.
func (s *standing) claim(ctx context.Context, dir string) error {
	own := s.identity.get()
	if own.MemberAt == 0 || !s.removedSince(ctx, own) {
		return nil
	}
	if err := s.identity.leave(); err != nil {
		return err
	}
	return refuseLeft(dir, s.identity.get())
}

// serveDismissed serves methodDismissed: the leader says that it has removed this
// node. The node finds out by itself whether that is so.
func (s *standing) serveDismissed(context.Context, struct{}) (struct{}, error) {
	select {
	case s.dismissed <- struct{}{}:
	default:
	}
	return struct{}{}, nil
}

// memberIDs are the nodes of a configuration.
func memberIDs(c raft.Configuration) []uuid.UUID {
	ids := make([]uuid.UUID, 0, len(c.Servers))
	for _, s := range c.Servers {
		if id, err := uuid.Parse(string(s.ID)); err == nil {
			ids = append(ids, id)
		}
	}
	return ids
}

// leave marks the directory for good.
func (id *identity) leave() error {
	return id.update(func(s *identityState) error {
		s.Left = true
		return nil
	})
}

// refuseLeft refuses the directory of a node that has left.
func refuseLeft(dir string, own identityState) error {
	if !own.Left {
		return nil
	}
	return fmt.Errorf("%w %s: %s can not be used again; to take part, start with an empty data directory", ErrLeft, own.ClusterID, dir)
}
