// Package gossip lets nodes find each other: it joins the ones it is told of,
// hears of the rest from them, notices who fails, and keeps a directory of
// node id to addresses. It is hashicorp/memberlist (SWIM with Lifeguard) with
// this project's metadata and rules.
//
// Gossip advises, Raft decides. What the directory says may be late or wrong
// for a while; nothing here votes, elects, or makes a member of anybody.
//
// Invariants:
//   - a node's id is its identity; names, addresses and ports may change under it,
//   - a member whose cluster id is known and differs from ours is never listed,
//   - the directory is bounded: beyond [MaxGone] members that failed or left,
//     the one gone longest is forgotten,
//   - no call into memberlist is made from its callbacks, nor with a lock held
//     that they take.
//
// It does not encrypt or authenticate, so it binds to loopback unless told
// otherwise, and what it hears is not to be trusted beyond what Raft's own
// connections verify.
package gossip
