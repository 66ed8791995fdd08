// Package raftfsm is the replicated state machine: what every node does with
// each committed entry of the Raft log, in the log's order, so that all nodes
// hold the same events under the same ids.
//
// Invariants:
//   - The state after an entry depends on the entries alone: no clock, chance,
//     environment or map order reaches it. Time rides in the entry, stamped by
//     the leader.
//   - Everything that one ApplyBatch does, the applied index included, is one
//     batch in the store. Entries at or below the applied index are skipped.
//   - A batch of events that a node proposes again is applied once, counted once
//     and answered as the first time: see sessions.
//   - The first entry that cannot be applied ends the state machine. Raft would
//     carry on with the next one, and the replicas would part ways.
//
// It does not know who is leader, how proposals get there or how many nodes
// there are; package node does. It does not lay out the store; raftfsm/store
// does.
package raftfsm
