package main

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"

	"github.com/spf13/pflag"

	"github.com/oncelog/oncelog/node"
)

const mebibyte = 1 << 20

// memoryOptions size what the store keeps in memory, in MiB.
type memoryOptions struct {
	cache, filter, memTable int64
}

// defaultMemory is what the store takes if nothing is said.
var defaultMemory = memoryOptions{cache: 16, filter: 16, memTable: 16}

func (o *memoryOptions) declare(flags *pflag.FlagSet) {
	flags.Int64Var(&o.cache, "cache-mib", defaultMemory.cache, "memory for blocks of the store's tables, 1 to 65536: more of it answers late duplicates and reads sooner")
	flags.Int64Var(&o.filter, "filter-mib", defaultMemory.filter, "memory of the filter of known events, 1 to 65536: one for each million events in the log")
	flags.Int64Var(&o.memTable, "memtable-mib", defaultMemory.memTable, "memory of a memtable, 1 to 1024; there are up to three")
}

func (o *memoryOptions) check() error {
	for _, size := range []struct {
		flag       string
		mib, limit int64
	}{{"cache-mib", o.cache, 1 << 16}, {"filter-mib", o.filter, 1 << 16}, {"memtable-mib", o.memTable, 1 << 10}} {
		if size.mib < 1 || size.mib > size.limit {
			return usage("--%s %d: must be 1 to %d", size.flag, size.mib, size.limit)
		}
	}
	return nil
}

func (o *memoryOptions) apply(c *node.Config) {
	c.CacheBytes, c.FilterBytes, c.MemTableBytes = o.cache*mebibyte, o.filter*mebibyte, o.memTable*mebibyte
}

const (
	// gcPercent lets the heap grow by three quarters of what lives, not by all of it,
	// before garbage is collected: about 25 MiB less under load for about 3 % of the
	// processor.
	gcPercent = 75
	// defaultHeap is the size that the heap tries to stay under with the default
	// sizes, in MiB: some 110 of it live when all is in use, and the mapped Raft log,
	// up to 105 MiB, comes on top.
	defaultHeap = 200
	memTables   = 3
	// loadGCPercent is for a process that makes load: little of its heap lives, so
	// with Go's own 100 it would collect garbage every 4 MiB, in the time of the
	// processor that it shares with what it measures.
	loadGCPercent = 400
)

// limitHeap has garbage collected in time for the process to stay small, until end is
// called. What GOGC and GOMEMLIMIT say counts more.
func (o *memoryOptions) limitHeap() (end func()) {
	collectAt(gcPercent)
	if os.Getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	least := o.heap() * mebibyte
	debug.SetMemoryLimit(least)
	ctx, cancel := context.WithCancel(context.Background())
	var following sync.WaitGroup
	following.Go(func() { followHeap(ctx, least) })
	return func() {
		cancel()
		following.Wait()
	}
}

// collectAt has garbage collected when the heap has grown by so many percent of
// what lives. What GOGC says counts more.
func collectAt(percent int) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(percent)
	}
}

// heap is the size to stay under, in MiB.
func (o *memoryOptions) heap() int64 {
	d := defaultMemory
	return defaultHeap + o.cache - d.cache + o.filter - d.filter + memTables*(o.memTable-d.memTable)
}

const (
	// headroom is what a heap of any size may grow by between two collections, besides
	// a quarter of what lives.
	headroom = 32 * mebibyte
	// limitStep is what limits are rounded up to: to set one stops the process for a moment.
	limitStep = 8 * mebibyte
	// heapInterval is how often it is looked at what lives.
	heapInterval = 100 * time.Millisecond
)

// heapLimit is the limit for a heap of which so many bytes live. Just above them the
// runtime would collect garbage without end, with half of the processor: a node that is
// behind, and holds more for that, would fall back further.
func heapLimit(least, live int64) int64 {
	limit := live + live/4 + headroom
	return max(least, (limit+limitStep-1)/limitStep*limitStep)
}

// followHeap keeps the limit at that of what lives, until ctx ends.
func followHeap(ctx context.Context, least int64) {
	look := time.NewTicker(heapInterval)
	defer look.Stop()
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	limit := least
	for {
		select {
		case <-look.C:
		case <-ctx.Done():
			return
		}
		metrics.Read(live)
		if now := heapLimit(least, int64(live[0].Value.Uint64())); now != limit {
			limit = now
			debug.SetMemoryLimit(limit)
		}
	}
}
