package loadgen

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/oncelog/oncelog"
)

// Agree holds the nodes of a cluster against each other, whatever they hold: it
// waits until all have applied the same index, for as long as patience, compares
// their digests and counters, and then reads all events from all of them in step,
// in bounded memory. Nothing may publish meanwhile, or they are never level.
func Agree(ctx context.Context, nodes []Node, patience time.Duration) Verdict {
	v := Verdict{OK: true}
	settled := settle(ctx, nodes, patience)
	checkLevel(&v, settled)
	var readable []settledNode
	for _, s := range settled {
		if s.err != nil {
			v.add(s.Name+" readable", false, "%v", s.err)
			continue
		}
		st := s.stats
		v.add(s.Name+" counters", st.Received == st.Unique+st.Duplicates && st.Conflicts <= st.Duplicates,
			"received %d = unique %d + duplicates %d, with %d conflicts", st.Received, st.Unique, st.Duplicates, st.Conflicts)
		readable = append(readable, s)
	}
	if len(readable) > 0 {
		checkInStep(ctx, &v, readable)
	}
	return v
}

// checkInStep reads the events that all nodes have, side by side.
func checkInStep(ctx context.Context, v *Verdict, nodes []settledNode) {
	common := nodes[0].stats.Unique
	for _, s := range nodes {
		common = min(common, s.stats.Unique)
	}
	streams := make([]func() (oncelog.Record, error, bool), len(nodes))
	for i, s := range nodes {
		next, stop := iter.Pull2(s.Reader.Events(ctx, oncelog.Query{Before: common + 1}, oncelog.Stale))
		defer stop()
		streams[i] = next
	}
	for id := uint64(1); id <= common; id++ {
		if fault := stepFault(nodes, streams, id); fault != "" {
			v.add("events", false, "event %d: %s", id, fault)
			return
		}
	}
	for i, next := range streams {
		if r, err, more := next(); more {
			v.add("events", false, "%s goes on with event %d, which it does not count: %v", nodes[i].Name, r.ID, err)
			return
		}
	}
	v.add("events", true, "%d, ids gapless, equal on %d nodes", common, len(nodes))
}

// stepFault reads the next event of each node and says what is wrong, or "".
func stepFault(nodes []settledNode, streams []func() (oncelog.Record, error, bool), id uint64) string {
	var first oncelog.Record
	for i, next := range streams {
		r, err, ok := next()
		switch {
		case !ok:
			return nodes[i].Name + " ends before it"
		case err != nil:
			return fmt.Sprintf("%s: %v", nodes[i].Name, err)
		case r.ID != id:
			return fmt.Sprintf("%s has event %d in its place", nodes[i].Name, r.ID)
		case i == 0:
			first = r
			first.Payload = bytes.Clone(r.Payload)
		case !sameRecord(first, r):
			return fmt.Sprintf("%s and %s differ", nodes[0].Name, nodes[i].Name)
		}
	}
	return ""
}

func sameRecord(a, b oncelog.Record) bool {
	return a.Key() == b.Key() && a.Source == b.Source && bytes.Equal(a.Payload, b.Payload) &&
		a.Timestamp.Equal(b.Timestamp) && a.ProcessedAt.Equal(b.ProcessedAt)
}
