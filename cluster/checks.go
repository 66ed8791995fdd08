package cluster

import (
	"context"
	"errors"
	"fmt"

	"github.com/oncelog/oncelog"
)

// ErrBroken marks a promise of the log that does not hold.
var ErrBroken = errors.New("broken")

// Contents are all that one node holds, at one applied index.
type Contents struct {
	Node  string
	Stats oncelog.Stats
	// Entries are in the order in which the node told them.
	Entries []Entry
}

// Entry is the place of a key in the log.
type Entry struct {
	ID uint64
	oncelog.Key
}

// Check waits until all nodes that are alive are level, reads everything back
// from each, and holds it against I2, I3 and I5. Nothing may publish meanwhile.
func (c *Cluster) Check(ctx context.Context) error {
	contents, err := c.Contents(ctx)
	if err != nil {
		return err
	}
	return errors.Join(CheckExactlyOnce(contents), CheckAgreement(contents), CheckCounters(contents))
}

// Contents waits until all nodes that are alive are level and reads everything
// back, which takes about 100 bytes of memory an event and node.
func (c *Cluster) Contents(ctx context.Context) ([]Contents, error) {
	level, err := c.WaitLevel(ctx)
	if err != nil {
		return nil, err
	}
	var contents []Contents
	for i, n := range c.Alive() {
		if i == len(level) || n.Name() != level[i].Node {
			return nil, fmt.Errorf("%s started or ended meanwhile", n)
		}
		held := Contents{Node: n.Name(), Stats: level[i]}
		for r, err := range n.client.Events(ctx, oncelog.Query{}, oncelog.Stale) {
			if err != nil {
				return nil, fmt.Errorf("%s: read back: %w", n, err)
			}
			held.Entries = append(held.Entries, Entry{ID: r.ID, Key: r.Key()})
		}
		contents = append(contents, held)
	}
	return contents, nil
}

// faults collects what is broken, the first few in words.
type faults struct {
	promise string
	count   int
	errs    []error
}

func (f *faults) add(format string, args ...any) {
	const few = 10
	f.count++
	if f.count <= few {
		f.errs = append(f.errs, fmt.Errorf("%s %w: %w", f.promise, ErrBroken, fmt.Errorf(format, args...)))
	}
}

func (f *faults) err() error {
	if f.count > len(f.errs) {
		f.errs = append(f.errs, fmt.Errorf("%s %w: %d times in all", f.promise, ErrBroken, f.count))
	}
	return errors.Join(f.errs...)
}

// CheckExactlyOnce holds nodes against I2: over all of them, a key has one id
// and an id has one key.
func CheckExactlyOnce(nodes []Contents) error {
	f := faults{promise: "I2"}
	type place struct {
		node string
		Entry
	}
	byKey := make(map[oncelog.Key]place)
	byID := make(map[uint64]place)
	for _, n := range nodes {
		seen := make(map[oncelog.Key]bool, len(n.Entries))
		for _, e := range n.Entries {
			if seen[e.Key] {
				f.add("%s holds %s/%s more than once, now at id %d", n.Node, e.Topic, e.EventID, e.ID)
			}
			seen[e.Key] = true
			here := place{n.Node, e}
			if there, ok := byKey[e.Key]; !ok {
				byKey[e.Key] = here
			} else if there.ID != e.ID {
				f.add("%s/%s is id %d on %s and id %d on %s", e.Topic, e.EventID, there.ID, there.node, e.ID, n.Node)
			}
			if there, ok := byID[e.ID]; !ok {
				byID[e.ID] = here
			} else if there.Key != e.Key {
				f.add("id %d is %s/%s on %s and %s/%s on %s",
					e.ID, there.Topic, there.EventID, there.node, e.Topic, e.EventID, n.Node)
			}
		}
	}
	return f.err()
}

// CheckAgreement holds nodes against I3: the ids of each go from 1 to its number
// of unique events without a gap, and digests are equal where the index is.
func CheckAgreement(nodes []Contents) error {
	f := faults{promise: "I3"}
	digests := make(map[uint64]oncelog.Stats)
	for _, n := range nodes {
		for i, e := range n.Entries {
			if want := uint64(i) + 1; e.ID != want {
				f.add("%s has id %d where %d should be", n.Node, e.ID, want)
				break
			}
		}
		if uint64(len(n.Entries)) != n.Stats.Unique {
			f.add("%s holds %d events and counts %d", n.Node, len(n.Entries), n.Stats.Unique)
		}
		other, ok := digests[n.Stats.AppliedIndex]
		if ok && other.Digest != n.Stats.Digest {
			f.add("at index %d, %s has the digest %s and %s %s",
				n.Stats.AppliedIndex, other.Node, other.Digest, n.Node, n.Stats.Digest)
		}
		digests[n.Stats.AppliedIndex] = n.Stats
	}
	return f.err()
}

// CheckCounters holds level nodes against I5: received = unique + duplicates on
// each, and the same numbers on all.
func CheckCounters(nodes []Contents) error {
	f := faults{promise: "I5"}
	for _, n := range nodes {
		s, first := n.Stats, nodes[0].Stats
		if s.Received != s.Unique+s.Duplicates {
			f.add("%s received %d, which is not %d unique and %d duplicates", n.Node, s.Received, s.Unique, s.Duplicates)
		}
		if s.Received != first.Received || s.Unique != first.Unique || s.Duplicates != first.Duplicates || s.Conflicts != first.Conflicts {
			f.add("%s counts %d received, %d unique, %d duplicates, %d conflicts, and %s %d, %d, %d, %d",
				n.Node, s.Received, s.Unique, s.Duplicates, s.Conflicts,
				nodes[0].Node, first.Received, first.Unique, first.Duplicates, first.Conflicts)
		}
	}
	return f.err()
}
