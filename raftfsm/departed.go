package raftfsm

import (
	"slices"

	"github.com/hashicorp/raft"
)

// departed are servers that were in a configuration and are in none any more, the
// last to go at the end. It tells a server that has left from one that never was, so
// that whoever asks again for a removal, since the answer was lost, learns that it
// is done.
type departed []raft.Server

// departedLimit is how many are remembered.
const departedLimit = 64

// with adds the servers that one configuration has and the next has not.
func (d departed) with(before, after configurationEntry) departed {
	stays := make(map[raft.ServerID]bool)
	for _, s := range after.decode().Servers {
		stays[s.ID] = true
	}
	for _, s := range before.decode().Servers {
		if !stays[s.ID] {
			d = append(d, s)
		}
	}
	return slices.Clone(d[max(0, len(d)-departedLimit):])
}

func (d departed) last(is func(raft.Server) bool) (raft.Server, bool) {
	for _, s := range slices.Backward(d) {
		if is(s) {
			return s, true
		}
	}
	return raft.Server{}, false
}
