package loadgen

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/oncelog/oncelog"
)

// Check is one thing that must be true, and what was found.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

// Verdict is what reading back proved. It is OK if every check is.
type Verdict struct {
	OK     bool    `json:"ok"`
	Checks []Check `json:"checks"`
}

func (v *Verdict) add(name string, ok bool, format string, args ...any) {
	v.Checks = append(v.Checks, Check{Name: name, OK: ok, Detail: fmt.Sprintf(format, args...)})
	v.OK = v.OK && ok
}

// errNotKept: the load was made without Config.Verify.
var errNotKept = errors.New("loadgen: nothing to verify against: Config.Verify was not set")

// Baseline returns what the log holds before a run, from the first node that
// answers.
func Baseline(ctx context.Context, nodes []Node) (oncelog.Stats, error) {
	var failures []error
	for _, n := range nodes {
		stats, err := n.stats(ctx, oncelog.Linearizable)
		if err == nil {
			return stats, nil
		}
		failures = append(failures, fmt.Errorf("%s: %w", n.Name, err))
	}
	return oncelog.Stats{}, fmt.Errorf("loadgen: no baseline: %w", errors.Join(failures...))
}

// stats asks a node for its numbers, but not for long: it may be down, and
// there are others to ask.
func (n Node) stats(ctx context.Context, c oncelog.Consistency) (oncelog.Stats, error) {
	const patience = 3 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return n.Reader.Stats(ctx, c)
}

// Verify reads everything back from every node and holds it against the
// receipts of a run that is over. A node that cannot be read fails its checks;
// how long its events may take to read is for ctx to say.
//
// What others publish from the baseline on is told apart by its ids, and only
// makes the upper bound on received events untestable.
func (l *Load) Verify(ctx context.Context, nodes []Node, baseline oncelog.Stats, r Report) (Verdict, error) {
	if l.ledger == nil {
		return Verdict{}, errNotKept
	}
	l.ledger.mu.Lock()
	defer l.ledger.mu.Unlock()
	v := Verdict{OK: true}
	l.checkReceipts(&v, baseline, r)
	settled := settle(ctx, nodes, l.cfg.Settle)
	checkLevel(&v, settled)
	for _, s := range settled {
		l.checkNode(ctx, &v, s, baseline, r)
	}
	return v, nil
}

// checkReceipts holds the receipts against each other.
func (l *Load) checkReceipts(v *Verdict, baseline oncelog.Stats, r Report) {
	acked := r.Stored + r.Duplicates
	v.add("every event acknowledged", r.Unacked == 0 || r.Ended == Canceled,
		"%d of %d sent; run %s", acked, r.Sent, r.Ended)
	v.add("no conflict", r.Conflicts == 0, "%d duplicates were said to differ from what is stored", r.Conflicts)

	var keys, twice, never, otherID int64
	var examples examples
	for index, e := range l.ledger.entries {
		if e.id == 0 {
			continue
		}
		keys++
		switch {
		case e.stored > 1:
			twice++
			examples.add("%s stored %d times", l.catalogue.eventID(int64(index)), e.stored)
		case e.stored == 0 && e.id > baseline.Unique:
			never++
		case e.stored == 1 && e.id <= baseline.Unique:
			otherID++
			examples.add("%s stored at the old id %d", l.catalogue.eventID(int64(index)), e.id)
		}
		if e.otherID {
			otherID++
			examples.add("%s has several ids", l.catalogue.eventID(int64(index)))
		}
	}
	// A key that nobody was told is stored had that answer lost, so its request
	// was sent again or given up.
	mayBeLost := r.ResentEvents + r.Unacked
	v.add("each key stored once, under one id", twice == 0 && otherID == 0 && never <= mayBeLost,
		"%d keys; %d stored twice, %d with a wrong id, %d with the answer lost (at most %d)%s",
		keys, twice, otherID, never, mayBeLost, examples)
}

// settledNode is a node with its final numbers, or the reason why it has none.
type settledNode struct {
	Node
	stats oncelog.Stats
	err   error
}

// settle polls until all nodes have applied the same index, or until the time
// is over, and returns their numbers as of then.
func settle(ctx context.Context, nodes []Node, patience time.Duration) []settledNode {
	const interval = 50 * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	settled := make([]settledNode, len(nodes))
	for i, n := range nodes {
		settled[i] = settledNode{Node: n, err: context.DeadlineExceeded}
	}
	for {
		for i, n := range nodes {
			stats, err := n.stats(ctx, oncelog.Stale)
			if err == nil {
				settled[i].stats, settled[i].err = stats, nil
			} else if ctx.Err() == nil {
				settled[i].err = err
			}
		}
		if level(settled) || pause(ctx, interval) != nil {
			return settled
		}
	}
}

// level reports whether all nodes answer at one applied index.
func level(nodes []settledNode) bool {
	return !slices.ContainsFunc(nodes, func(s settledNode) bool {
		return s.err != nil || s.stats.AppliedIndex != nodes[0].stats.AppliedIndex
	})
}

// checkLevel holds the nodes against each other.
func checkLevel(v *Verdict, nodes []settledNode) {
	var indexes []string
	digests := make(map[uint64]string)
	agree := true
	for _, s := range nodes {
		if s.err != nil {
			indexes = append(indexes, fmt.Sprintf("%s: %v", s.Name, s.err))
			continue
		}
		indexes = append(indexes, fmt.Sprintf("%s at %d", s.Name, s.stats.AppliedIndex))
		if d, ok := digests[s.stats.AppliedIndex]; ok && d != s.stats.Digest {
			agree = false
		}
		digests[s.stats.AppliedIndex] = s.stats.Digest
	}
	v.add("nodes level", len(nodes) > 0 && level(nodes), "%s", strings.Join(indexes, ", "))
	detail := "differ at an equal index"
	if agree {
		detail = "equal wherever the index is"
	}
	v.add("digests", agree, "%s", detail)
}

// checkNode holds one node's numbers and events against the receipts.
func (l *Load) checkNode(ctx context.Context, v *Verdict, s settledNode, baseline oncelog.Stats, r Report) {
	if s.err != nil {
		v.add(s.Name+" readable", false, "%v", s.err)
		return
	}
	a := l.newAudit(baseline)
	if err := a.read(ctx, s.Reader); err != nil {
		v.add(s.Name+" readable", false, "%v", err)
		return
	}
	a.finish()
	v.add(s.Name+" events", a.faults == 0, "%d found, %d lost, %d found twice, %d with a wrong id, %d altered%s",
		a.found, a.lost, a.twice, a.wrongID, a.altered, a.examples)
	v.add(s.Name+" ids gapless", a.gaps == 0 && a.last == s.stats.Unique, "%d to %d in %d records, %d gaps; unique is %d%s",
		a.first, a.last, a.records, a.gaps, s.stats.Unique, a.gapExamples)
	l.checkCounters(v, s, a, baseline, r)
}

// checkCounters holds one node's counters against the events sent.
func (l *Load) checkCounters(v *Verdict, s settledNode, a *audit, baseline oncelog.Stats, r Report) {
	st := s.stats
	v.add(s.Name+" counters", st.Received == st.Unique+st.Duplicates, "received %d = unique %d + duplicates %d",
		st.Received, st.Unique, st.Duplicates)

	// Unsigned numbers that step back wrap around and fail the bounds.
	received := st.Received - baseline.Received
	least, most := uint64(r.Stored+r.Duplicates), uint64(r.Sent+r.ResentEvents)
	bound := fmt.Sprintf("at most %d", most)
	if a.others > 0 {
		bound = fmt.Sprintf("with %d of other publishers", a.others)
		most = st.Received
	}
	v.add(s.Name+" received", st.Received >= baseline.Received && received >= least && received <= most,
		"%d since the baseline; at least the %d acknowledged, %s", received, least, bound)
	news := st.Unique - baseline.Unique
	v.add(s.Name+" unique", st.Unique >= baseline.Unique && news == a.news+a.others,
		"%d since the baseline; %d of the load, %d of others", news, a.news, a.others)
}
