package store

import (
	"fmt"
	"log/slog"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Options says where and how a store keeps its data. The zero Options is a store
// on disk with the defaults.
type Options struct {
	// FS is the file system; nil is the disk.
	FS vfs.FS
	// CacheBytes is the memory for blocks read from tables, 1 MiB or more; 0 is
	// 16 MiB. It holds the tables' filters, 1.25 MB a million events, and the hot
	// part of the dedup index.
	CacheBytes int64
	// MemTableBytes is the size of one memtable, 1 MiB to 1 GiB; 0 is 16 MiB. Up
	// to three exist at once. What they do not use is lent to the cache.
	MemTableBytes int64
	// FilterBytes is the memory of a filter that knows new events as new, 64 KiB or
	// more; 0 is 16 MiB. It serves well up to a million events a MiB, and somewhat
	// beyond. It is filled from the tables in the background at each Open.
	FilterBytes int64
	// RecentKeys is how many of the newest events are known without a look at the
	// tables, at some 60 bytes each, 1,024 or more; 0 is 131,072. Those that are
	// not flushed yet are known beyond it.
	RecentKeys int
	// Logger takes what the store and Pebble have to say; nil is nowhere.
	Logger *slog.Logger
	// OnError is told of the first failure in the background: a failed flush or
	// compaction, or corrupt data. The node must stop. It is called at most once,
	// from any goroutine, and must not block.
	OnError func(error)
}

// withDefaults fills in what is not set and refuses what is out of range.
func (o Options) withDefaults() (Options, error) {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = 16 << 20
	}
	if o.MemTableBytes == 0 {
		o.MemTableBytes = 16 << 20
	}
	if o.FilterBytes == 0 {
		o.FilterBytes = 16 << 20
	}
	if o.RecentKeys == 0 {
		o.RecentKeys = 1 << 17
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.OnError == nil {
		o.OnError = func(error) {}
	}
	if o.CacheBytes < 1<<20 {
		return o, fmt.Errorf("%w: cache of %d bytes; at least 1 MiB is needed", errOption, o.CacheBytes)
	}
	if o.MemTableBytes < 1<<20 || o.MemTableBytes > 1<<30 {
		return o, fmt.Errorf("%w: memtable of %d bytes; 1 MiB to 1 GiB is allowed", errOption, o.MemTableBytes)
	}
	if o.FilterBytes < 64<<10 {
		return o, fmt.Errorf("%w: filter of %d bytes; at least 64 KiB is needed", errOption, o.FilterBytes)
	}
	if o.RecentKeys < 1<<10 {
		return o, fmt.Errorf("%w: %d recent keys; at least 1,024 are needed", errOption, o.RecentKeys)
	}
	return o, nil
}
