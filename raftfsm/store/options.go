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
	// 32 MiB. It holds the filters, which every new event asks, 1.25 MB a million
	// events, and the hot part of the dedup index.
	CacheBytes int64
	// MemTableBytes is the size of one memtable, 1 MiB to 1 GiB; 0 is 16 MiB. Up
	// to four exist at once. What they do not use is lent to the cache.
	MemTableBytes int64
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
		o.CacheBytes = 32 << 20
	}
	if o.MemTableBytes == 0 {
		o.MemTableBytes = 16 << 20
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
	return o, nil
}
