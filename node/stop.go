package node

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
)

// stopTimeout bounds the wait for requests under way when the node stops.
const stopTimeout = 5 * time.Second

// failTimeout bounds the stop of a node that has failed.
const failTimeout = 4 * time.Second

// callsTimeout bounds the wait for the calls of other nodes under way.
const callsTimeout = time.Second

// depart ends a node that has left its cluster. Nothing that it has under way can
// be answered by it any more; others will.
func (n *Node) depart() {
	n.proposer.giveUp()
	close(n.departed)
}

// Run works until ctx ends, and returns nil after an orderly stop, or until the
// node has to stop, and returns the reason. A node that has left its cluster stops
// in order, too.
func (n *Node) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return n.Close()
	case <-n.departed:
		return n.Close()
	case reason := <-n.failure:
		n.config.Logger.Error("the node must stop", "reason", reason)
		n.stop.Do(func() { n.err = n.abandon(reason) })
		return n.err
	}
}

// Close stops the node in order, as a restart does: it stays a member. It returns
// the reason if the node had to stop. It is safe to call it again.
//
// After a failure it waits for a few seconds only: what it waits for may hang,
// such as the disk, and a part of the node's goroutines is then left behind.
func (n *Node) Close() error {
	n.stop.Do(func() {
		if reason := n.failed(); reason != nil {
			n.err = n.abandon(reason)
			return
		}
		closed := make(chan error, 1)
		go func() { closed <- n.shutdown() }()
		select {
		case err := <-closed:
			n.err = errors.Join(n.failed(), err)
		case reason := <-n.failure:
			n.err = n.wait(closed, reason)
		}
	})
	return n.err
}

// abandon stops a node that has failed. First of all it must no longer lead: its
// heartbeats would hold the others.
func (n *Node) abandon(reason error) error {
	closed := make(chan error, 1)
	go func() { closed <- errors.Join(n.port.Close(), n.shutdown()) }()
	return n.wait(closed, reason)
}

// wait is for a node that has failed and is being stopped.
func (n *Node) wait(closed <-chan error, reason error) error {
	select {
	case err := <-closed:
		return errors.Join(reason, err)
	case <-time.After(failTimeout):
		return errors.Join(reason, errors.New("the node could not be stopped in order"))
	}
}

// failed returns the reason for which the node must stop, or nil.
func (n *Node) failed() error {
	select {
	case err := <-n.failure:
		return err
	default:
		return nil
	}
}

// shutdown is in this order: no new requests, then those under way, then the
// leadership and what keeps the cluster going, then what they stood on.
func (n *Node) shutdown() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := n.api.Shutdown(ctx); err != nil {
		n.config.Logger.Warn("requests were cut off", "error", err)
	}
	n.proposer.close(ctx)
	// It has its own time, also where the requests have used up theirs.
	if terr := n.leadership.transfer(context.Background(), uuid.Nil); terr != nil && !errors.Is(terr, errNotLeader) {
		n.config.Logger.Info("stopping as leader", "reason", terr)
	}
	n.stopBackground()
	err := n.stopCalls()
	err = errors.Join(err, n.caller.Close())
	n.reader.tasks.close()
	n.sequencer.close()
	n.background.Wait()
	if n.identity.get().Left {
		if err := n.gossip.Leave(ctx); err != nil {
			n.config.Logger.Info("the others will take this node for failed, though it has left", "error", err)
		}
	}
	return errors.Join(err, n.unwind())
}

// stopCalls lets the calls of other nodes that are under way end, if they are
// quick about it.
func (n *Node) stopCalls() error {
	ctx, cancel := context.WithTimeout(context.Background(), callsTimeout)
	defer cancel()
	if err := n.calls.Shutdown(ctx); err != nil {
		n.config.Logger.Info("calls of other nodes were cut off", "error", err)
	}
	return n.port.Close()
}

// unwind closes what New opened, last first.
func (n *Node) unwind() (err error) {
	for i := len(n.undo) - 1; i >= 0; i-- {
		err = errors.Join(err, n.undo[i]())
	}
	n.undo = nil
	return err
}
