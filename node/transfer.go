package node

import (
	"context"
	"fmt"
	"sync"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"

	"github.com/oncelog/oncelog"
)

// transfer hands leadership to the node to, or to the best heir where to is uuid.Nil.
// It is an oncelog.ErrUnavailable where nobody takes it in time.
func (l *leadership) transfer(ctx context.Context, to uuid.UUID) error {
	if l.group.State() != raft.Leader {
		return errNotLeader
	}
	if to == l.self {
		return nil
	}
	h, err := l.heir(ctx, to)
	if err != nil {
		return err
	}
	return l.handTo(h)
}

// heir is a voter that may take over from this leader, as it says of itself.
type heir struct {
	raft.Server
	nodeStatus
}

// before tells whether an heir is to be preferred: it has room, or else is further.
func (h heir) before(other heir) bool {
	if h.DiskLow != other.DiskLow {
		return other.DiskLow
	}
	return h.Applied > other.Applied
}

// heir returns the node to, or the best of the other voters where to is uuid.Nil. It
// has answered just now: a leader that hands over takes no events, and Raft would
// knock at a dead node's port for as long as a dial may take.
func (l *leadership) heir(ctx context.Context, to uuid.UUID) (best heir, err error) {
	asked := l.others(to)
	if len(asked) == 0 && to != uuid.Nil {
		return best, fmt.Errorf("%w: no voter has the id %s", oncelog.ErrNotFound, to)
	}
	ctx, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	found := false
	for _, h := range l.answering(ctx, asked) {
		if !found || h.before(best) {
			best, found = h, true
		}
	}
	if !found {
		return best, fmt.Errorf("%w: leadership was not handed over: of %d voters none answers", oncelog.ErrUnavailable, len(asked))
	}
	return best, nil
}

// others are the voters but this node, or only one of them unless that is uuid.Nil.
func (l *leadership) others(only uuid.UUID) (servers []raft.Server) {
	for _, s := range l.group.fsm.Configuration().Servers {
		if id := string(s.ID); s.Suffrage == raft.Voter && id != l.self.String() && (only == uuid.Nil || id == only.String()) {
			servers = append(servers, s)
		}
	}
	return servers
}

// answering asks all at once for their status.
func (l *leadership) answering(ctx context.Context, asked []raft.Server) (heirs []heir) {
	var asking sync.WaitGroup
	var mu sync.Mutex // guards heirs
	for _, s := range asked {
		asking.Go(func() {
			id, err := uuid.Parse(string(s.ID))
			if err != nil {
				return
			}
			status, err := l.caller.status(ctx, id)
			if err != nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			heirs = append(heirs, heir{s, status})
		})
	}
	asking.Wait()
	return heirs
}

// handTo hands leadership to an heir. It is an oncelog.ErrUnavailable where it is not
// taken in time.
func (l *leadership) handTo(h heir) error {
	if err := l.group.LeadershipTransferToServer(h.ID, h.Address).Error(); err != nil {
		return fmt.Errorf("%w: leadership was not handed over: %w", oncelog.ErrUnavailable, err)
	}
	return nil
}
