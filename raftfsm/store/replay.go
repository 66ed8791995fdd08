package store

const (
	// replayKeys bounds how many events are kept, at some 80 bytes each.
	replayKeys = 1 << 15
	// replayMarks is how many neighbourhoods are remembered as asked for; a
	// neighbourhood is replaySpan ids in a row.
	replayMarks = 1 << 6
	replaySpan  = 1 << 6
	// replayAsked is how many look-ups have to lead to a neighbourhood before its block
	// is read. Two do so by chance too often while the store is small.
	replayAsked = 3
	// replayWorth is how many look-ups in vain one good one is worth.
	replayWorth = 1 << 4
)

// replay knows the events beside old ones that were sent again. Who repeats old
// events mostly does so in the order in which they were stored: once some look-ups
// have led to ids that are close together, one read of the block there answers the
// next hundreds, each of which would cost a block of a table.
//
// Zhu, Li and Patterson, "Avoiding the Disk Bottleneck in the Data Domain
// Deduplication File System" (FAST 2008), call this locality preserved caching.
//
// What it knows never changes in one database, and may be forgotten at any time.
type replay struct {
	// young takes what is read; when it is full, old is forgotten and young is old.
	young, old map[dedupKey]stored
	// marks has the neighbourhoods that look-ups in the tables led to, each in the
	// place that is its remainder.
	marks [replayMarks]replayMark
	// credit is how many look-ups may still be in vain. Without it all is forgotten,
	// so that events that come in no such order do not pay for it.
	credit int
}

type replayMark struct {
	// neighbourhood is its number, from 1.
	neighbourhood uint64
	// asked is how many look-ups led there.
	asked int
}

func (r *replay) find(k dedupKey) (stored, bool) {
	if r.credit == 0 {
		return stored{}, false
	}
	v, ok := r.young[k]
	if !ok {
		v, ok = r.old[k]
	}
	if ok {
		r.credit = min(r.credit+replayWorth, replayKeys)
	} else if r.credit--; r.credit == 0 {
		r.young, r.old = nil, nil
	}
	return v, ok
}

// worth tells of a look-up in the tables that led to an id, and reports whether the
// block that holds it is worth its read: others led close to it.
func (r *replay) worth(id uint64) bool {
	n := id/replaySpan + 1
	mark := &r.marks[n%replayMarks]
	if mark.neighbourhood != n {
		*mark = replayMark{neighbourhood: n}
	}
	mark.asked++
	if mark.asked < replayAsked {
		return false
	}
	*mark = replayMark{}
	return true
}

// learn keeps the events of a block.
func (r *replay) learn(b block, topicIDs map[string]uint32) {
	if len(r.young)+b.len() > replayKeys/2 {
		r.young, r.old = r.old, r.young
		clear(r.young)
	}
	if r.young == nil {
		r.young = make(map[dedupKey]stored)
	}
	for i := range b.len() {
		e := b.record(i)
		k := newDedupKey(topicIDs[string(e.topic())], e.eventID())
		r.young[k] = stored{id: b.first + uint64(i), payload: e.payloadHash()}
	}
	r.credit = min(r.credit+b.len(), replayKeys)
}
