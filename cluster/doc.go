// Package cluster runs several nodes of oncelog on one machine, in this process
// or each as a process of its own, brings faults upon them, waits for
// conditions, and checks what must hold whatever happened.
//
// Invariants:
//   - A [Node] keeps its name, its addresses and its directory across restarts.
//   - Nothing is left behind: [Cluster.Close] ends every node, and on Linux a
//     process ends too when this process dies without closing anything.
//   - A [Link] without a fault changes nothing of what it carries.
//   - A wait polls its condition, and one that is in vain says what every node
//     answered last and what is at the end of its log.
//
// It knows the nodes by their API, their addresses and the preamble of their
// connections only, and fails no gossip. It starts no cluster over several
// machines and supervises nothing: a node that dies stays dead until it is
// started again.
package cluster
