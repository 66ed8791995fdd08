package store

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/oncelog/oncelog"
)

var errOption = errors.New("bad option")

// Store is one replica's database. Its methods may be called from any goroutine,
// but for Begin, what a [Txn] does, and Swap: those belong to one goroutine, the
// state machine's.
type Store struct {
	dir   string
	fs    vfs.FS
	opts  Options
	log   *slog.Logger
	cache *pebble.Cache
	lock  io.Closer

	// failed is closed at the first failure in the background; failure says why
	// and is written before that.
	failed   chan struct{}
	failOnce sync.Once
	failure  error
	// halted: a goroutine of Pebble's is held for ever, maybe with its locks.
	halted atomic.Bool

	// admin serialises what handles whole databases: Flush, Checkpoint, Swap and
	// Close. It guards durable, the position in CURRENT. It is taken before life.
	admin   sync.Mutex
	durable Position

	// life guards gen: readers keep it for as long as they use the database, Swap
	// and Close replace it. Nobody keeps it across a yield.
	life sync.RWMutex
	// gen is nil once the store is closed.
	gen *generation

	// view guards the state as of the last commit, so that a reader sees all of
	// one moment. Only the Txn's owner writes it, and it alone reads without view.
	view sync.RWMutex
	contents

	// txn, recent, replay and filter belong to the Txn's owner.
	txn    Txn
	recent recentKeys
	replay replay
	filter *keyFilter
	// filling is the work on filter, sinking that on flushed tables. Who opens,
	// swaps or closes has them.
	filling, sinking background
	// flushed is set after each flush: recent may have keys to drop.
	flushed atomic.Bool
	// serial numbers the transient directories.
	serial atomic.Uint64
}

// generation is one Pebble database under the store's directory.
type generation struct {
	number uint64
	dir    string
	db     *pebble.DB
	// hot is what small reads ask for again and again.
	hot hotBlocks
	// sinkable is what sink has to do.
	sinkable sinkable
	// refs counts the store itself, its work in the background and the calls into db
	// that await waits for or has given up on.
	refs atomic.Int64
}

// Open opens the store in dir, or makes an empty one. Errors name the path;
// damaged data is an [oncelog.ErrCorrupt], and then nothing has been changed.
func Open(dir string, o Options) (*Store, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Store{
		dir: dir, fs: o.FS, opts: o, log: o.Logger,
		cache:  newCache(o),
		failed: make(chan struct{}),
	}
	if err := s.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("open the store in %s: %w", dir, err), s.release())
	}
	return s, nil
}

func (s *Store) open() error {
	if err := s.fs.MkdirAll(s.dir, 0o755); err != nil {
		return err
	}
	if err := syncDir(s.fs, s.fs.PathDir(s.dir)); err != nil {
		return err
	}
	lock, err := s.fs.Lock(s.fs.PathJoin(s.dir, lockName))
	if err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	s.lock = lock
	p, found, err := readPointer(s.fs, s.dir)
	if err == nil && !found {
		p, err = s.initialise()
	}
	if err != nil {
		return err
	}
	gen, c, err := s.openGeneration(p.generation, p.durable)
	if err != nil {
		return err
	}
	if err := s.sweep(generationName(p.generation)); err != nil {
		return errors.Join(err, gen.db.Close())
	}
	s.gen, s.contents, s.durable = gen, c, p.durable
	s.startBackground()
	return nil
}

// initialise makes the first generation. A crash may have left an unfinished one;
// one with tables in it has lost its pointer and is not ours to remove.
func (s *Store) initialise() (pointer, error) {
	names, err := s.fs.List(s.dir)
	if err != nil {
		return pointer{}, err
	}
	for _, name := range names {
		if !strings.HasPrefix(name, generationPrefix) {
			continue
		}
		path := s.fs.PathJoin(s.dir, name)
		files, err := s.fs.List(path)
		if err != nil {
			return pointer{}, err
		}
		if slices.ContainsFunc(files, func(f string) bool { return strings.HasSuffix(f, ".sst") }) {
			return pointer{}, fmt.Errorf("%w: %s is missing, but %s holds data", oncelog.ErrCorrupt, pointerName, name)
		}
		if err := s.fs.RemoveAll(path); err != nil {
			return pointer{}, err
		}
	}
	o := s.writable(nil)
	o.ErrorIfNotExists = false
	p := pointer{generation: 1}
	db, err := s.openPebble(s.generationDir(p.generation), o)
	if err != nil {
		return pointer{}, err
	}
	if err := db.Close(); err != nil {
		return pointer{}, err
	}
	return p, writePointer(s.fs, s.dir, p)
}

// sweep removes what a crash left: transient directories and generations other
// than the live one. What it does not know it leaves alone.
func (s *Store) sweep(live string) error {
	names, err := s.fs.List(s.dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		leftover := name == pointerTemp ||
			strings.HasPrefix(name, checkpointPrefix) ||
			strings.HasPrefix(name, incomingPrefix) ||
			strings.HasPrefix(name, generationPrefix) && name != live
		if !leftover {
			continue
		}
		s.log.Info("removing what a crash left", "name", name)
		if err := s.fs.RemoveAll(s.fs.PathJoin(s.dir, name)); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) generationDir(number uint64) string {
	return s.fs.PathJoin(s.dir, generationName(number))
}

// transientDir is the path of a new directory that nothing outlives.
func (s *Store) transientDir(prefix string) string {
	return s.fs.PathJoin(s.dir, fmt.Sprintf("%s%d", prefix, s.serial.Add(1)))
}

// openGeneration opens a generation that must hold at least the position durable.
// It looks before it opens for writing, since Pebble would remove the tables that
// a damaged manifest no longer names.
func (s *Store) openGeneration(number uint64, durable Position) (*generation, contents, error) {
	dir := s.generationDir(number)
	c, err := s.inspect(dir)
	if err != nil {
		return nil, contents{}, err
	}
	if c.ledger.applied.Index < durable.Index {
		return nil, contents{}, fmt.Errorf("%s: %w: holds the log up to index %d; it has held index %d",
			dir, oncelog.ErrCorrupt, c.ledger.applied.Index, durable.Index)
	}
	gen := &generation{number: number, dir: dir, sinkable: make(sinkable, sinkQueue)}
	if gen.db, err = s.openPebble(dir, s.writable(gen.sinkable)); err != nil {
		return nil, contents{}, err
	}
	gen.refs.Store(1)
	return gen, c, nil
}

// inspect reads the contents of a database without changing it.
func (s *Store) inspect(dir string) (contents, error) {
	db, err := s.openPebble(dir, s.readOnly())
	if err != nil {
		return contents{}, err
	}
	c, err := loadContents(db)
	if err = errors.Join(err, db.Close()); err != nil {
		return contents{}, fmt.Errorf("%s: %w", dir, err)
	}
	return c, nil
}

// Close flushes and closes the store, so that the next Open has nothing to
// replay. The Txn's owner has ended before. After a failure it flushes nothing and
// returns the failure; a call into Pebble that is still stuck closes the database
// when it returns, if ever.
func (s *Store) Close() error {
	s.admin.Lock()
	defer s.admin.Unlock()
	_, err := s.flush()
	if errors.Is(err, oncelog.ErrClosed) {
		return err
	}
	s.stopBackground()
	s.life.Lock()
	gen := s.gen
	s.gen = nil
	s.life.Unlock()
	if err = errors.Join(err, s.unref(gen)); err != nil {
		return fmt.Errorf("close the store in %s: %w", s.dir, err)
	}
	return nil
}

// release gives back what does not depend on an open database.
func (s *Store) release() error {
	if s.halted.Load() {
		return nil
	}
	s.cache.Unref()
	if s.lock == nil {
		return nil
	}
	return s.lock.Close()
}
