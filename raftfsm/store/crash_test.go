package store

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
)

// crasher is a file system that can lose power. While armed it keeps, for each
// operation that writes, what a crash just before it may leave.
type crasher struct {
	disk *vfs.MemFS

	// mu guards the rest: Pebble works in the background.
	mu      sync.Mutex
	armed   bool
	random  *rand.Rand
	crashes []crash
}

type crash struct {
	op   string
	disk *vfs.MemFS
}

func newCrasher() (*crasher, vfs.FS) {
	c := &crasher{disk: vfs.NewCrashableMem(), random: rand.New(rand.NewPCG(5, 6))}
	return c, errorfs.Wrap(c.disk, c)
}

// String and MaybeError implement errorfs.Injector.
func (c *crasher) String() string { return "crasher" }

func (c *crasher) MaybeError(op errorfs.Op) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.armed && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
		for _, percent := range []int{0, 50, 100} {
			name := fmt.Sprintf("operation %d, kind %d of %s, %d%% of what was not synced kept", len(c.crashes)/3, op.Kind, op.Path, percent)
			c.crashes = append(c.crashes, crash{name, c.disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: c.random})})
		}
	}
	return nil
}

// during collects the crashes of one step.
func (c *crasher) during(step func()) []crash {
	c.mu.Lock()
	c.armed = true
	c.mu.Unlock()
	step()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.armed = false
	return c.crashes
}

// TestCrashAtEachStepOfSwap: one whole state, and one that goes on working.
func TestCrashAtEachStepOfSwap(t *testing.T) {
	t.Parallel()
	state, stream := sender(t)
	c, fs := newCrasher()
	s := openStore(t, fs)
	publish(t, s, event("old", "1", `{}`), event("old", "2", `{}`))
	_, err := s.Flush()
	require.NoError(t, err)
	old := s.State()
	crashes := c.during(func() {
		incoming, err := s.Receive(bytes.NewReader(stream))
		require.NoError(t, err)
		require.NoError(t, s.Swap(incoming))
	})
	require.NoError(t, s.Close())

	seen := make(map[Position]bool, 2)
	for _, crash := range crashes {
		s, err := Open(testDir, Options{FS: crash.disk, CacheBytes: 1 << 20, MemTableBytes: 1 << 20, FilterBytes: 64 << 10})
		require.NoError(t, err, crash.op)
		got := s.State()
		switch got.Applied {
		case old.Applied:
			require.Equal(t, old, got, crash.op)
		default:
			require.Equal(t, state, got, crash.op)
		}
		onlyLive(t, s)
		_, err = verify(s.gen.db)
		require.NoError(t, err, crash.op)
		require.Equal(t, Outcome{ID: got.Unique + 1}, publish(t, s, event("new", "1", `{}`)).Outcomes[0])
		seen[got.Applied] = true
		require.NoError(t, s.Close())
	}
	require.Len(t, seen, 2, "both states were met")
}

// TestCrashAtEachStepOfOpenAndFlush: what a Flush returned is never lost, from the
// first operation in an empty directory on.
func TestCrashAtEachStepOfOpenAndFlush(t *testing.T) {
	t.Parallel()
	c, fs := newCrasher()
	type promise struct {
		crashes int
		State
	}
	var promises []promise
	crashes := c.during(func() {
		for i := range 4 {
			s, err := Open(testDir, Options{FS: fs, CacheBytes: 1 << 20, MemTableBytes: 1 << 20, FilterBytes: 64 << 10})
			require.NoError(t, err)
			for j := range 3 {
				publish(t, s, event("a", fmt.Sprint(i), `{}`), event("b", fmt.Sprint(i, j), `{}`))
			}
			_, err = s.Flush()
			require.NoError(t, err)
			c.mu.Lock()
			promises = append(promises, promise{len(c.crashes), s.State()})
			c.mu.Unlock()
			require.NoError(t, s.Close())
		}
	})
	for i, crash := range crashes {
		s, err := Open(testDir, Options{FS: crash.disk, CacheBytes: 1 << 20, MemTableBytes: 1 << 20, FilterBytes: 64 << 10})
		require.NoError(t, err, crash.op)
		var least State
		for _, p := range promises {
			if p.crashes <= i {
				least = p.State
			}
		}
		require.GreaterOrEqual(t, s.Applied().Index, least.Applied.Index, crash.op)
		if s.Applied() == least.Applied && least.Applied.Index > 0 {
			require.Equal(t, least, s.State(), crash.op)
		}
		_, err = verify(s.gen.db)
		require.NoError(t, err, crash.op)
		require.NoError(t, s.Close())
	}
}

// TestCrashWithoutFlushIsAPrefix: memtables that reached the disk on their own
// leave a state that the log can be replayed onto.
func TestCrashWithoutFlushIsAPrefix(t *testing.T) {
	t.Parallel()
	disk := vfs.NewCrashableMem()
	s := openStore(t, disk)
	big := fmt.Sprintf(`{"x":"%01000d"}`, 0)
	var log []entry
	for i := range 100 {
		var events []*oncelog.Event
		for j := range 40 {
			events = append(events, event("a", fmt.Sprint(i, j/2), big))
		}
		log = append(log, entry{records(events...), int64(i)})
		apply(t, s, uint64(i+1), log[i])
		if i%10 != 0 {
			continue
		}
		after := openStore(t, disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 30, RNG: rand.New(rand.NewPCG(1, uint64(i)))}))
		if from := after.Applied().Index; from < uint64(len(log)) {
			apply(t, after, from+1, log[from:]...)
		}
		require.Equal(t, s.State(), after.State())
		require.NoError(t, after.Close())
	}
}

// TestAFullMemtableEndsBetweenTransactions: memtables fill up and are flushed at any
// moment, and a crash right after leaves whole transactions only, the counters with
// the events that they count.
func TestAFullMemtableEndsBetweenTransactions(t *testing.T) {
	t.Parallel()
	const flushes = 12
	disk := vfs.NewCrashableMem()
	s := openStore(t, disk)
	random := rand.New(rand.NewPCG(7, 8))
	seen, found := s.gen.db.Metrics().Flush.Count, 0
	for i := 0; found < flushes; i++ {
		publish(t, s, event("a", fmt.Sprint(i), fmt.Sprintf(`{"x":"%0*d"}`, random.IntN(300), 0)))
		count := s.gen.db.Metrics().Flush.Count
		if count == seen {
			continue
		}
		seen = count
		found++
		after := openStore(t, disk.CrashClone(vfs.CrashCloneCfg{}))
		require.Positive(t, after.Applied().Index)
		require.Less(t, after.Applied().Index, s.Applied().Index, "it was flushed in the midst of the work")
		_, err := verify(after.gen.db)
		require.NoError(t, err)
		require.NoError(t, after.Close())
	}
}
