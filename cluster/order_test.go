package cluster

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/oncelog/oncelog"
)

// The checks here look at the log as a whole, where those of linearizable_test.go
// look at one key. They find no order, but hold what was answered before a
// question against the answer to it.

// sweep goes through all moments at which something was asked or answered, in
// their order. A question comes before an answer of the same moment: the two
// were under way together.
func sweep(ops []operation, asked, answered func(i int)) {
	calls, backs := make([]int, len(ops)), make([]int, len(ops))
	for i := range ops {
		calls[i], backs[i] = i, i
	}
	slices.SortStableFunc(calls, func(a, b int) int { return cmp.Compare(ops[a].call, ops[b].call) })
	slices.SortStableFunc(backs, func(a, b int) int { return cmp.Compare(ops[a].back, ops[b].back) })
	for _, i := range calls {
		for len(backs) > 0 && ops[backs[0]].back < ops[i].call {
			answered(backs[0])
			backs = backs[1:]
		}
		asked(i)
	}
	for _, i := range backs {
		answered(i)
	}
}

// mark is the most that an answer has shown so far, and the operation that it
// was an answer to.
type mark struct {
	most uint64
	by   int
}

func (m *mark) raise(most uint64, by int) {
	if most > m.most {
		*m = mark{most, by}
	}
}

// checkOrder holds the history against one order of all events: an id that is
// given out is greater than any that was known of when it was asked for, and
// whoever counts the log counts all that were.
func checkOrder(ops []operation) (broken *violation) {
	var known mark
	before := make([]mark, len(ops))
	sweep(ops, func(i int) { before[i] = known }, func(i int) {
		o, b := ops[i], before[i]
		switch {
		case o.told == toldStored && o.id <= b.most:
			broken = firstOf(broken, "an id is not greater than one known before", ops[b.by], o)
		case o.told == toldCounted && o.consistency == oncelog.Linearizable && o.stats.Unique < b.most:
			broken = firstOf(broken, "a count leaves out an id known before", ops[b.by], o)
		}
		switch o.told {
		case toldStored, toldDuplicate, toldFound:
			known.raise(o.id, i)
		case toldCounted:
			known.raise(o.stats.Unique, i)
		case toldAbsent, toldUnknown, toldNotApplied, toldNoAnswer:
		}
	})
	return broken
}

func firstOf(first *violation, says string, ops ...operation) *violation {
	if first != nil {
		return first
	}
	return &violation{says: says, ops: ops}
}

// checkCounts holds the counters against the publications: one that was answered
// before the count began is in it, and one that began after its end is not. The
// numbers of one index are the same on all nodes, and on one node the index never
// steps back in one run.
func checkCounts(ops []operation) *violation {
	for _, check := range []func([]operation) *violation{checkReceived, checkMoments, checkStaleReads} {
		if broken := check(ops); broken != nil {
			return broken
		}
	}
	return nil
}

func checkReceived(ops []operation) (broken *violation) {
	var begun, acked uint64
	atLeast := make([]uint64, len(ops))
	asked := func(i int) {
		if o := ops[i]; o.asked == askPublish && o.told != toldNotApplied {
			begun++
		}
		atLeast[i] = acked
	}
	answered := func(i int) {
		switch o := ops[i]; {
		case o.told == toldStored || o.told == toldDuplicate:
			acked++
		case o.told != toldCounted:
		case o.stats.Received > begun:
			broken = firstOf(broken, fmt.Sprintf("%d received of %d sent", o.stats.Received, begun), o)
		case o.consistency == oncelog.Linearizable && o.stats.Received < atLeast[i]:
			broken = firstOf(broken, fmt.Sprintf("%d received after %d were acknowledged", o.stats.Received, atLeast[i]), o)
		}
	}
	sweep(ops, asked, answered)
	return broken
}

// checkMoments holds the numbers of one applied index against each other.
func checkMoments(ops []operation) *violation {
	moments := make(map[uint64]operation)
	for _, o := range ops {
		if o.told != toldCounted {
			continue
		}
		s := o.stats
		if s.Received != s.Unique+s.Duplicates {
			return &violation{says: fmt.Sprintf("received is not unique and %d duplicates", s.Duplicates), ops: []operation{o}}
		}
		first, ok := moments[s.AppliedIndex]
		if !ok {
			moments[s.AppliedIndex] = o
			continue
		}
		if f := first.stats; f.Digest != s.Digest || f.Received != s.Received || f.Unique != s.Unique || f.Conflicts != s.Conflicts {
			return &violation{says: fmt.Sprintf("one index, and the digests %s and %s", f.Digest, s.Digest), ops: []operation{first, o}}
		}
	}
	return nil
}

// checkStaleReads holds each run of each node against itself.
func checkStaleReads(ops []operation) (broken *violation) {
	type run struct {
		node string
		run  int
	}
	known := make(map[run]mark)
	before := make([]mark, len(ops))
	of := func(i int) run { return run{ops[i].node, ops[i].run} }
	sweep(ops, func(i int) { before[i] = known[of(i)] }, func(i int) {
		o, b := ops[i], before[i]
		if o.told != toldCounted {
			return
		}
		if o.stats.AppliedIndex < b.most {
			broken = firstOf(broken, "a node steps back", ops[b.by], o)
		}
		m := known[of(i)]
		m.raise(o.stats.AppliedIndex, i)
		known[of(i)] = m
	})
	return broken
}
