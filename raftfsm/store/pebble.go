package store

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"

	"github.com/oncelog/oncelog"
)

// formatVersion is Pebble's on-disk format: the newest one of Pebble v2.1. It is a
// wire format too, since checkpoints are streamed to followers as they are, so it
// may only be raised once every node of a cluster runs a Pebble that reads it.
const formatVersion = pebble.FormatValueSeparation

const (
	// memTables bounds the memtables that exist at once: writes wait for a flush
	// beyond them. One is being filled, one written out, and one may wait behind
	// that.
	memTables = 3
	// tableBlockBytes is the size of a table's blocks: what a dedup look-up that
	// hits has to read. Event blocks are larger and stand alone.
	tableBlockBytes = 4 << 10
	// indexBlockBytes keeps a table's index in one block, which spares each
	// look-up a second level.
	indexBlockBytes = 256 << 10
	// sublevels is Pebble's measure of how many flushes may lie over each other: it
	// compacts them from half as many on. The more there are, the fewer times is a
	// dedup key rewritten, and the more filters does the look-up of an old duplicate
	// ask. New events are known without them.
	sublevels = 48
	// stopSublevels is how many make writes wait for the compactions.
	stopSublevels = 96
	// flushedTableBytes is the size of the tables that a flush writes: a memtable's
	// blocks are one or two.
	flushedTableBytes = 8 << 20
	// maxTableBytes bounds a table, and with it its filter, which the cache holds
	// or drops whole.
	maxTableBytes = 16 << 20
	// baseBytes is what the first level below the flushes holds. With less, a dedup
	// key is rewritten once more on its way down; with more, each rewrite of the
	// level is longer.
	baseBytes = 64 << 20
)

// newCache makes the cache of blocks. Pebble takes the memtables' memory out of
// the cache's: without a share for them a cache no larger than they are holds
// nothing, and each look-up reads a whole filter from the disk.
func newCache(o Options) *pebble.Cache {
	return pebble.NewCache(o.CacheBytes + memTables*o.MemTableBytes)
}

// readOnlyCache is the memory of a database that is opened to be looked at once.
const readOnlyCache = 4 << 20

// writable are the options of a live generation, which tells of the tables of
// blocks that it flushes.
func (s *Store) writable(blocks sinkable) *pebble.Options {
	o := s.readOnly()
	o.ReadOnly = false
	o.Cache = s.cache
	o.MemTableSize = uint64(s.opts.MemTableBytes)
	o.MemTableStopWritesThreshold = memTables
	o.FormatMajorVersion = formatVersion
	o.CompactionConcurrencyRange = func() (int, int) { return 1, 2 }
	o.EventListener = &pebble.EventListener{
		BackgroundError: func(err error) { s.fail(readError(err)) },
		DataCorruption:  func(i pebble.DataCorruptionInfo) { s.fail(corruption(i)) },
		FlushEnd: func(i pebble.FlushInfo) {
			s.flushed.Store(true)
			blocks.flushed(i)
		},
		WriteStallBegin: func(i pebble.WriteStallBeginInfo) { s.log.Warn("writes wait for the disk", "reason", i.Reason) },
		WriteStallEnd:   func() { s.log.Info("writes go on") },
	}
	o.L0CompactionThreshold = sublevels
	o.L0StopWritesThreshold = stopSublevels
	o.LBaseMaxBytes = baseBytes
	o.Experimental.SpanPolicyFunc = span
	for i := range o.Levels {
		o.Levels[i] = pebble.LevelOptions{
			BlockSize:      tableBlockBytes,
			IndexBlockSize: indexBlockBytes,
			FilterPolicy:   filter(),
		}
		o.TargetFileSizes[i] = int64(min(flushedTableBytes<<i, maxTableBytes))
	}
	o.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionFastest })
	return o
}

// span parts the blocks from all other keys: Pebble ends a table where a span
// ends. Blocks are written in the order of their keys and so their tables can move
// down the levels as they are, where they share none with the dedup index, whose
// keys come in no order.
func span(start []byte) (policy pebble.SpanPolicy, end []byte, err error) {
	if start[0] <= kindBlock {
		end = after(kindBlock)
	}
	return policy, end, nil
}

// readOnly are the options of a database that nobody writes. What is wrong with
// it is told to who reads it, and does not fail the store.
func (s *Store) readOnly() *pebble.Options {
	return &pebble.Options{
		FS:               markerFS{s.fs},
		ReadOnly:         true,
		ErrorIfNotExists: true,
		DisableWAL:       true,
		CacheSize:        readOnlyCache,
		Logger:           pebbleLogger{s},
		EventListener: &pebble.EventListener{
			BackgroundError: func(err error) { s.log.Warn("pebble", "err", err) },
			DataCorruption:  func(i pebble.DataCorruptionInfo) { s.log.Warn("pebble", "err", corruption(i)) },
		},
		Filters: map[string]pebble.FilterPolicy{filter().Name(): filter()},
	}
}

// filter is the Bloom filter of every level: 10 bits a key let one of a hundred
// keys that are not there through.
func filter() pebble.FilterPolicy { return bloom.FilterPolicy(10) }

// openPebble opens a database. An error that does not come from the operating
// system is about what the files hold.
func (s *Store) openPebble(dir string, o *pebble.Options) (*pebble.DB, error) {
	db, err := await(s, func() (*pebble.DB, error) { return pebble.Open(dir, o) }, s.closeLate)
	if err == nil {
		return db, nil
	}
	var path *fs.PathError
	var errno syscall.Errno
	system := errors.As(err, &path) || errors.As(err, &errno)
	if s.failedAlready() || system && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return nil, fmt.Errorf("%s: %w: %w", dir, oncelog.ErrCorrupt, err)
}

// closeLate closes a database that was opened when nobody waited for it any more.
func (s *Store) closeLate(db *pebble.DB) {
	if err := db.Close(); err != nil {
		s.log.Warn("pebble", "err", err)
	}
}

// corruption is what Pebble knows of a damaged file, as an error.
func corruption(i pebble.DataCorruptionInfo) error {
	return fmt.Errorf("%s: %w: %w", i.Path, oncelog.ErrCorrupt, i.Details)
}

// readError marks an error of Pebble's that means damaged data.
func readError(err error) error {
	if i := pebble.ExtractDataCorruptionInfo(err); i != nil {
		return corruption(*i)
	}
	if pebble.IsCorruptionError(err) {
		return fmt.Errorf("%w: %w", oncelog.ErrCorrupt, err)
	}
	return err
}

// pebbleLogger passes on what Pebble says.
type pebbleLogger struct{ store *Store }

// Infof logs at debug level: Pebble speaks of every table.
func (l pebbleLogger) Infof(format string, args ...any) {
	l.store.log.Debug("pebble", "says", lazy{format, args})
}

// Errorf logs a warning: what is fatal comes as a failure as well.
func (l pebbleLogger) Errorf(format string, args ...any) {
	l.store.log.Warn("pebble", "says", lazy{format, args})
}

// Fatalf fails the store and never returns. Pebble calls it where it cannot tell
// whether its manifest was written, and relies on not going on: it would next
// delete tables that the manifest on disk may name. The goroutine is held here
// until the process ends, which the failure asks for; an exit from within a
// library would leave the node no word to say.
func (l pebbleLogger) Fatalf(format string, args ...any) {
	l.store.fail(fmt.Errorf("pebble: "+format, args...))
	l.store.halted.Store(true)
	select {}
}

// lazy formats a message only if it is logged.
type lazy struct {
	format string
	args   []any
}

// LogValue implements [slog.LogValuer].
func (m lazy) LogValue() slog.Value { return slog.StringValue(fmt.Sprintf(m.format, m.args...)) }
