package store

// unflushed holds every dedup key that the tables may not hold yet, so that a
// look-up need not search the memtables. It is exact: what it does not hold, and
// the tables do not, was never stored.
//
// Keys are kept in generations, in the order of their commits, and leave a
// generation at a time. The number of generations is bounded by the memtables.
//
// Invariant: a key leaves only when the durable position covers the commit that
// brought it, and that position was read before the tables are.
type unflushed struct {
	generations []keyGeneration
	// spare is an emptied map to be filled again.
	spare map[dedupKey]stored
}

type keyGeneration struct {
	keys map[dedupKey]stored
	// last is the index of the newest commit with keys in here.
	last uint64
	// bytes is what its commits take in a memtable, about.
	bytes int
}

func (u *unflushed) find(k dedupKey) (stored, bool) {
	for i := range u.generations {
		if v, ok := u.generations[i].keys[k]; ok {
			return v, true
		}
	}
	return stored{}, false
}

// generation returns the one that the commit at index adds its keys to. It
// accounts for the commit's bytes, and begins another one when it is full.
func (u *unflushed) generation(index uint64, bytes, full int) map[dedupKey]stored {
	n := len(u.generations)
	if n == 0 || u.generations[n-1].bytes >= full {
		keys := u.spare
		if u.spare = nil; keys == nil {
			keys = make(map[dedupKey]stored)
		}
		u.generations = append(u.generations, keyGeneration{keys: keys})
		n++
	}
	g := &u.generations[n-1]
	g.last = index
	g.bytes += bytes
	return g.keys
}

// drop forgets the generations that the durable index covers.
func (u *unflushed) drop(durable uint64) {
	n := 0
	for n < len(u.generations) && u.generations[n].last <= durable {
		u.spare = u.generations[n].keys
		clear(u.spare)
		n++
	}
	u.generations = append(u.generations[:0], u.generations[n:]...)
}
