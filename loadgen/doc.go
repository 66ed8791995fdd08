// Package loadgen publishes a workload to a log, measures how it is taken, and
// afterwards proves what the log holds against what was acknowledged.
//
// A [Load] is used in three steps: [Baseline] notes what the log holds before,
// [Load.Run] publishes, [Load.Verify] reads everything back from every node.
// [Read] and [Scan] measure reading, by many small requests and by one large one.
//
// Invariants:
//   - an event is a function of the workload and its index: a second run of the
//     same workload publishes the very same events, and against the same log
//     every one of them is a duplicate,
//   - of n events exactly round(n × Duplicates) repeat an earlier one,
//   - events are made when they are sent; beyond them, memory is a few counters,
//     and 16 bytes a unique event if the run is to be verified.
//
// It sees the log as any client does and knows nothing of how it is kept. It
// brings about no faults itself, and expects failures to be retried: an event
// counts as lost only by the verdict, never because a request failed.
package loadgen
