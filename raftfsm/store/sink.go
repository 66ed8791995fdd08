package store

import (
	"context"

	"github.com/cockroachdb/pebble/v2"
)

const (
	// sinkBytes is the least size of a table that is moved by itself. Smaller ones
	// are left to the compactions, which join them.
	sinkBytes = 1 << 20
	// sinkQueue is how many flushed tables may wait to be moved; what is beyond is
	// left to the compactions.
	sinkQueue = 64
)

// sinkable are the tables of blocks that a flush has written and that nobody has
// moved yet.
type sinkable chan pebble.TableInfo

// flushed takes the tables of a flush. Pebble calls it with its lock held.
func (q sinkable) flushed(i pebble.FlushInfo) {
	for _, t := range i.Output {
		if t.Smallest.UserKey[0] != kindBlock || t.Size < sinkBytes {
			continue
		}
		select {
		case q <- t:
		default:
		}
	}
}

// sink moves each flushed table of blocks out of L0. No other table has blocks in
// its range, so Pebble moves the file as it is. A table that stays in L0 is written
// once more, together with the flushed dedup keys, whose compactions take in what
// costs them no further table of the level below.
func (s *Store) sink(ctx context.Context, gen *generation) {
	for {
		select {
		case <-ctx.Done():
			return
		case t := <-gen.sinkable:
			end := append(append([]byte(nil), t.Largest.UserKey...), 0)
			if err := gen.db.Compact(context.WithoutCancel(ctx), t.Smallest.UserKey, end, false); err != nil {
				s.log.Warn("a table of blocks was not moved", "table", t.FileNum, "err", err)
			}
		}
	}
}
