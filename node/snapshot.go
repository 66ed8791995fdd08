package node

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"

	"github.com/oncelog/oncelog"
)

// askForSnapshot asks the leader to take a snapshot, which will be newer than the
// one it has sent.
func (n *Node) askForSnapshot() {
	ctx, cancel := context.WithTimeout(context.Background(), roundTimeout)
	defer cancel()
	_, server := n.group.LeaderWithID()
	leader, err := uuid.Parse(string(server))
	if err == nil {
		_, err = n.caller.post(ctx, leader, methodSnapshot, nil)
	}
	if err != nil {
		n.config.Logger.Warn("the leader could not be asked for a newer snapshot", "error", err)
	}
}

// serveSnapshot serves methodSnapshot.
func (n *Node) serveSnapshot(context.Context, []byte) ([]byte, error) {
	err := n.group.Snapshot().Error()
	if err != nil && !errors.Is(err, raft.ErrNothingNewToSnapshot) {
		return nil, fmt.Errorf("%w: %w", oncelog.ErrNotApplied, err)
	}
	return nil, nil
}
