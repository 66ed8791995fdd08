// Package node puts one oncelog node together and runs it: its identity on
// disk, its Raft group and node port, the way of events to the leader, reads,
// membership and the HTTP API in front.
//
// An event comes in through the API or [Node.Publish], joins a batch in the
// proposer, goes to the leader (itself, or one hop over the node port), into the
// Raft log, and out of the state machine on every node. The receipts come back
// the way the batch went.
//
// Invariants:
//   - An answer without an error means that a quorum has fsynced the events.
//   - A batch keeps its session and number however often it is sent, so the
//     state machine applies it once.
//   - Gossip advises, Raft decides: no vote changes on gossip's word alone.
//   - A node that has ever belonged to a cluster never founds another.
//
// [New] opens the directory and binds the ports; [Node.Run] works until its
// context ends or something fails for which the node must stop.
package node
