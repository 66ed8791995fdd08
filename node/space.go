package node

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"

	"github.com/oncelog/oncelog"
)

// spaceInterval is how often a node looks how much room its disk has.
const spaceInterval = time.Second

// errDiskLow is the answer of a node whose disk is nearly full.
var errDiskLow = fmt.Errorf("%w: no events are taken until there is room", oncelog.ErrDiskFull)

// space keeps a reserve on the disk. A node that has come down to it takes no
// events and leads no longer, while it can: what others commit it has to write
// all the same, and compactions need room before they make any.
type space struct {
	reserve    uint64
	free       func() (uint64, error)
	leadership *leadership
	logger     *slog.Logger

	low atomic.Bool
}

// err is errDiskLow or nil.
func (s *space) err() error {
	if s.low.Load() {
		return errDiskLow
	}
	return nil
}

// run watches until ctx ends.
func (s *space) run(ctx context.Context) {
	tick := time.NewTicker(spaceInterval)
	defer tick.Stop()
	for {
		s.look(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// look decides anew. There must be a quarter more than the reserve before events
// are taken again, so that the node does not go to and fro.
func (s *space) look(ctx context.Context) {
	free, err := s.free()
	if err != nil {
		s.logger.Warn("can not tell how much room the disk has", "error", err)
		return
	}
	switch low := s.low.Load(); {
	case !low && free < s.reserve:
		s.low.Store(true)
		s.logger.Error("the disk is nearly full: no events are taken until there is room", "free", free, "reserve", s.reserve)
	case low && free >= s.reserve+s.reserve/4:
		s.low.Store(false)
		s.logger.Info("the disk has room again", "free", free)
	}
	if s.low.Load() && s.leadership.group.State() == raft.Leader {
		s.stepAside(ctx)
	}
}

// stepAside hands leadership to a voter with room.
func (s *space) stepAside(ctx context.Context) {
	best, err := s.leadership.heir(ctx, uuid.Nil)
	if err != nil || best.DiskLow {
		return
	}
	if err := s.leadership.handTo(best); err != nil {
		s.logger.Warn("leadership could not be handed to a node with room", "to", string(best.ID), "error", err)
	}
}
