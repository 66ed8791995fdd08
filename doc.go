// Package oncelog is the vocabulary of an event log that stores every event
// exactly once: events and their keys, receipts, queries, statistics, the
// limits, and the errors that callers tell apart.
//
// It holds words only. The log itself is in the packages around it: node puts
// one together, httpapi serves it, raftfsm and raftfsm/store keep it.
//
// Invariants that hold for every value that has passed [Event.Validate]:
//   - a [Key] is compared byte for byte; nothing trims, folds or normalises it,
//   - a timestamp fits 64-bit nanoseconds since 1970, so it is kept exactly,
//   - a payload is one JSON object without white space between its tokens.
package oncelog
