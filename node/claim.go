package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/oncelog/oncelog/gossip"
)

// The errors of a node that must not take part because another one is there.
var (
	// ErrNameTaken is an alive node of the cluster that has the name.
	ErrNameTaken = errors.New("the name is taken")
	// ErrCloned is an alive node that has this node's id: one of the two data
	// directories is a copy of the other, and its votes would count twice.
	ErrCloned = errors.New("the data directory is a copy of a running node's")
)

// claimTimeout bounds the wait for the join addresses, and that for an answer.
const claimTimeout = 5 * time.Second

// claim makes sure, before Raft starts, that nobody else is who this node is, and
// that it is a member still.
// Gossip may be old, so whoever it names is asked in person.
func (n *Node) claim() error {
	select {
	case <-n.gossip.Asked():
	case <-time.After(claimTimeout):
	}
	if twin, ok := n.gossip.Twin(); ok && twin.RaftAddr != n.raftAddr() && n.answers(twin) {
		return fmt.Errorf("%w: node %s runs at %s; start with a directory of its own", ErrCloned, twin.ID, twin.RaftAddr)
	}
	if err := n.standing.claim(context.Background(), n.config.DataDir); err != nil {
		return err
	}
	if holder, ok := n.gossip.NameTaken(n.config.Name); ok && n.answers(holder) {
		return fmt.Errorf("%w: %q is node %s at %s; choose another", ErrNameTaken, holder.Name, holder.ID, holder.RaftAddr)
	}
	return nil
}

// answers tells whether a node lives at the address that gossip has of it.
func (n *Node) answers(m gossip.Member) bool {
	ctx, cancel := context.WithTimeout(context.Background(), claimTimeout)
	defer cancel()
	id, err := uuid.Parse(m.ID)
	if err != nil {
		return false
	}
	conn, err := dialPeer(ctx, n.identity, id, m.RaftAddr, streamCalls)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}
