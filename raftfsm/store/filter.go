package store

import (
	"context"
	"math/bits"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// keyFilter knows most new keys as new, at the cost of one cache line and without
// a look at any table. It is a Bloom filter that keeps a key's bits in one word.
// Its size is fixed: it says "maybe" of more keys as the store grows, and the
// tables, with filters of their own, decide on those.
//
// Invariant: once complete, it has every key that was ever stored. A bit is never
// taken back.
type keyFilter struct {
	words    []atomic.Uint64
	complete atomic.Bool
}

func newKeyFilter(bytes int64) *keyFilter {
	return &keyFilter{words: make([]atomic.Uint64, bytes/8)}
}

// place is where a key has its bits. Keys in ascending order have their words in
// ascending order, but for the step from one topic to the next.
func (f *keyFilter) place(k dedupKey) (word *atomic.Uint64, mask uint64) {
	// An event id may be in many topics: an odd factor parts them.
	at, _ := bits.Mul64(k.hi+uint64(k.topic)*0x9e3779b97f4a7c15, uint64(len(f.words)))
	mask = 1<<(k.lo&63) | 1<<(k.lo>>6&63) | 1<<(k.lo>>12&63) | 1<<(k.lo>>18&63)
	return &f.words[at], mask
}

func (f *keyFilter) add(k dedupKey) {
	word, mask := f.place(k)
	word.Or(mask)
}

// excludes reports that a key was certainly never stored. A bit that is missing
// says so only if the filter was complete before it was looked for.
func (f *keyFilter) excludes(k dedupKey) bool {
	if !f.complete.Load() {
		return false
	}
	word, mask := f.place(k)
	return word.Load()&mask != mask
}

// fillPause is how many keys are read between two looks at the context.
const fillPause = 1 << 12

// fill adds the keys that the tables hold. Whatever is stored from then on is
// added by its commit.
func (f *keyFilter) fill(ctx context.Context, db *pebble.DB) error {
	onDisk := &pebble.IterOptions{LowerBound: []byte{kindDedup}, UpperBound: after(kindDedup), OnlyReadGuaranteedDurable: true}
	_, err := iterate(db, onDisk, func(it *pebble.Iterator) (struct{}, error) {
		n := 0
		for ok := it.First(); ok; ok = it.Next() {
			k, err := parseDedupKey(it.Key())
			if err != nil {
				return struct{}{}, err
			}
			f.add(k)
			if n++; n%fillPause == 0 && ctx.Err() != nil {
				return struct{}{}, context.Cause(ctx)
			}
		}
		return struct{}{}, nil
	})
	if err == nil {
		f.complete.Store(true)
	}
	return err
}
