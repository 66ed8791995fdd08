package store

// recentKeys holds the dedup keys of the latest commits: all that the tables may
// not hold yet, so that a look-up need not search the memtables, and some more,
// since what is sent twice is mostly sent again soon. It is exact: what neither it
// holds nor the tables do was never stored.
//
// Keys are kept in generations, in the order of their commits, and leave a
// generation at a time. What is not flushed yet is bounded by the memtables.
//
// Invariant: a key leaves only when the durable position covers the commit that
// brought it, and that position was read before the tables are.
type recentKeys struct {
	generations []keyGeneration
	// spare is an emptied map to be filled again.
	spare map[dedupKey]stored
}

type keyGeneration struct {
	keys map[dedupKey]stored
	// last is the index of the newest commit with keys in here.
	last uint64
}

// keptGenerations is how many full generations stay though they are flushed.
const keptGenerations = 3

// find looks in the newest generation first.
func (r *recentKeys) find(k dedupKey) (stored, bool) {
	for i := len(r.generations) - 1; i >= 0; i-- {
		if v, ok := r.generations[i].keys[k]; ok {
			return v, true
		}
	}
	return stored{}, false
}

// generation returns the one that the commit at index adds its keys to, or begins
// another one if it is full.
func (r *recentKeys) generation(index uint64, full int) map[dedupKey]stored {
	n := len(r.generations)
	if n == 0 || len(r.generations[n-1].keys) >= full {
		keys := r.spare
		if r.spare = nil; keys == nil {
			keys = make(map[dedupKey]stored)
		}
		r.generations = append(r.generations, keyGeneration{keys: keys})
		n++
	}
	g := &r.generations[n-1]
	g.last = index
	return g.keys
}

// drop forgets the generations that the durable index covers, but for the newest.
func (r *recentKeys) drop(durable uint64) {
	n := 0
	for n < len(r.generations)-1-keptGenerations && r.generations[n].last <= durable {
		r.spare = r.generations[n].keys
		clear(r.spare)
		n++
	}
	r.generations = append(r.generations[:0], r.generations[n:]...)
}
