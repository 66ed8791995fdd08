// Package store is the database of one replica: the events, the index that finds
// duplicates, the counters and the state machine's own metadata, in Pebble.
//
// There is one write path, [Txn]: it takes batches of records in log order, drops
// what is stored already, and puts all that follows from them, with the position
// in the log that they came from, into one Pebble batch.
//
// Invariants:
//   - What the disk holds is the state after some log position, whole: Pebble runs
//     without a write-ahead log and its memtables reach the disk in order. The log
//     above the store replays the rest.
//   - Ids are 1, 2, 3 and so on without gaps, and a key (topic, event id) has one
//     id for ever.
//   - The same batches in the same order give the same keys, values and digest,
//     however they are spread over transactions. No clock, chance, environment or
//     map order takes part.
//   - After a failure in the background nothing more is written and no position is
//     called durable.
//
// It does not order batches, keep a log, know Raft, validate events or ask the
// time.
//
// # Keys
//
// All integers are big endian. Every key begins with the letter of its kind.
//
//	key                                         value
//	b  first id u64                             block: the new events of one batch, or a part of them
//	d  topic id u32, SHA-256(event id)[:16]     id u64, SHA-256(payload)[:8]
//	t  topic id u32, first id of a block u64    events of the topic in that block u32
//	ms                                          ledger: position, counters, digest chain
//	mt topic id u32                             count u64, last id u64, name
//	mx name                                     the state machine's own metadata
//
// Topic ids count from 0 in the order in which the topics were first seen. A block
// holds at most about 64 KiB of records and never events of two batches.
//
// # Files
//
//	CURRENT         names the live generation and the position it must hold
//	LOCK            held while the store is open
//	gen-000001      a Pebble database: the live generation, or one left by a crash
//	checkpoint-1    transient: hard links being sent to a follower
//	incoming-1      transient: a snapshot being received
//
// Whatever is transient or not named by CURRENT is removed at [Open].
package store
