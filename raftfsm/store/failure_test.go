package store

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/oncelog/oncelog"
)

var errDisk = errors.New("input/output error")

// failing is a file system on which some operations fail once it is on.
type failing struct {
	on     atomic.Bool
	hits   atomic.Int64
	broken func(errorfs.Op) bool
}

func (f *failing) String() string { return "failing" }

func (f *failing) MaybeError(op errorfs.Op) error {
	if f.on.Load() && f.broken(op) {
		f.hits.Add(1)
		return errDisk
	}
	return nil
}

// brokenStore is a store that tells its failures to a channel.
func brokenStore(t *testing.T, broken func(errorfs.Op) bool) (*Store, *failing, <-chan error) {
	t.Helper()
	f := &failing{broken: broken}
	failures := make(chan error, 10)
	s, err := Open(testDir, Options{
		FS: errorfs.Wrap(vfs.NewMem(), f), CacheBytes: 1 << 20, MemTableBytes: 1 << 20, FilterBytes: 64 << 10,
		OnError: func(err error) { failures <- err },
	})
	require.NoError(t, err)
	return s, f, failures
}

func tableSync(op errorfs.Op) bool {
	return strings.HasSuffix(op.Path, ".sst") && (op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileClose)
}

func TestFailedFlushStopsTheStore(t *testing.T) {
	t.Parallel()
	s, f, failures := brokenStore(t, tableSync)
	publish(t, s, event("a", "1", `{}`))
	p, err := s.Flush()
	require.NoError(t, err)
	publish(t, s, event("a", "2", `{}`))
	f.on.Store(true)

	_, err = s.Flush()
	require.ErrorIs(t, err, errDisk)
	require.ErrorIs(t, <-failures, errDisk)
	require.Empty(t, failures, "told once")
	f.on.Store(false)
	_, err = s.Flush()
	require.ErrorIs(t, err, errDisk, "a later flush that succeeds proves nothing")
	_, err = s.Durable()
	require.ErrorIs(t, err, errDisk)
	_, err = s.Checkpoint()
	require.ErrorIs(t, err, errDisk)
	require.ErrorIs(t, s.Begin().Commit(Position{Index: 9}), errDisk)
	require.Equal(t, Position{Index: 1, Term: 1}, p)
	require.Len(t, collect(t, s, oncelog.Query{}), 2, "reads go on")
	require.ErrorIs(t, s.Close(), errDisk)
}

// TestCommitDoesNotWaitForADeadDisk: Pebble would hold a writer up for ever when
// its memtables are full and the flush fails again and again.
func TestCommitDoesNotWaitForADeadDisk(t *testing.T) {
	t.Parallel()
	s, f, failures := brokenStore(t, tableSync)
	f.on.Store(true)
	payload := fmt.Sprintf(`{"x":"%0100000d"}`, 0)
	var err error
	for i := 0; err == nil; i++ {
		txn := s.Begin()
		b, stageErr := txn.Stage(records(event("a", fmt.Sprint(i), payload)))
		resolveErr := txn.Resolve()
		_, _, applyErr := txn.Apply(b, 1)
		err = errors.Join(stageErr, resolveErr, applyErr, txn.Commit(Position{Index: uint64(i + 1)}))
	}
	require.ErrorIs(t, err, errDisk)
	require.ErrorIs(t, <-failures, errDisk)
	require.ErrorIs(t, s.Close(), errDisk)

	// A commit may still be stuck in Pebble. Once the disk works again it returns,
	// and gives the directory up to the next store.
	f.on.Store(false)
	require.Eventually(t, func() bool {
		next, err := Open(testDir, Options{FS: s.fs})
		return err == nil && next.Close() == nil
	}, 30*time.Second, 10*time.Millisecond)
}

func TestFailedSwap(t *testing.T) {
	t.Parallel()
	_, stream := sender(t)
	for name, broken := range map[string]func(errorfs.Op) bool{
		"rename of the snapshot": func(op errorfs.Op) bool {
			return op.Kind == errorfs.OpRename && strings.Contains(op.Path, incomingPrefix)
		},
		"opening the snapshot": func(op errorfs.Op) bool {
			return op.Kind == errorfs.OpOpen && strings.Contains(op.Path, generationName(2)+"/MANIFEST")
		},
	} {
		s, f, failures := brokenStore(t, broken)
		publish(t, s, event("a", "1", `{}`))
		before := s.State()
		incoming, err := s.Receive(strings.NewReader(string(stream)))
		require.NoError(t, err, name)
		f.on.Store(true)
		require.ErrorIs(t, s.Swap(incoming), errDisk, name)
		f.on.Store(false)
		require.Positive(t, f.hits.Load(), name)
		require.Empty(t, failures, name)
		require.Equal(t, before, s.State(), name)
		publish(t, s, event("a", "2", `{}`))
		require.NoError(t, s.Close(), name)
	}
}

func TestFailedPointerStopsTheStore(t *testing.T) {
	t.Parallel()
	_, stream := sender(t)
	s, f, failures := brokenStore(t, func(op errorfs.Op) bool {
		return op.Kind == errorfs.OpRename && strings.HasSuffix(op.Path, pointerTemp) ||
			op.Kind == errorfs.OpRename && strings.HasSuffix(op.Path, pointerName)
	})
	incoming, err := s.Receive(strings.NewReader(string(stream)))
	require.NoError(t, err)
	f.on.Store(true)
	require.ErrorIs(t, s.Swap(incoming), errDisk)
	require.ErrorIs(t, <-failures, errDisk, "it cannot be told which state the disk will show")
	require.ErrorIs(t, s.Close(), errDisk)
}

// TestLateResultIsDisposedOf: a call given up on returns after all.
func TestLateResultIsDisposedOf(t *testing.T) {
	t.Parallel()
	s := &Store{failed: make(chan struct{}), log: slog.New(slog.DiscardHandler), opts: Options{OnError: func(error) {}}}
	goOn, late := make(chan struct{}), make(chan int, 1)
	call := func() (int, error) {
		s.fail(errDisk)
		<-goOn
		return 7, nil
	}
	_, err := await(s, call, func(v int) { late <- v })
	require.ErrorIs(t, err, errDisk)
	close(goOn)
	require.Equal(t, 7, <-late)
}

// TestHaltedManifest runs itself in another process: what Pebble holds by then is
// never given back.
func TestHaltedManifest(t *testing.T) {
	t.Parallel()
	const child, done = "ONCELOG_TEST_HALT", "halted and closed"
	if os.Getenv(child) == "" {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestHaltedManifest$")
		cmd.Env = append(os.Environ(), child+"=1")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Contains(t, string(out), done)
		return
	}
	s, f, failures := brokenStore(t, func(op errorfs.Op) bool {
		return strings.Contains(op.Path, "MANIFEST") && op.Kind == errorfs.OpFileSync
	})
	publish(t, s, event("a", "1", `{}`))
	f.on.Store(true)
	_, err := s.Flush()
	require.ErrorContains(t, err, "MANIFEST sync failed")
	require.ErrorContains(t, <-failures, "MANIFEST sync failed")
	require.ErrorContains(t, s.Begin().Commit(Position{Index: 2}), "MANIFEST sync failed")
	require.ErrorContains(t, s.Close(), "MANIFEST sync failed")
	_, err = os.Stdout.WriteString(done)
	require.NoError(t, err)
	os.Exit(0)
}

// TestReadersSeeOneMoment reads while a writer commits, and while flushes and
// checkpoints go on.
func TestReadersSeeOneMoment(t *testing.T) {
	t.Parallel()
	s := openStore(t, vfs.NewMem())
	const commits = 300
	var g errgroup.Group
	g.Go(func() error {
		for i := range commits {
			publish(t, s, event("a", fmt.Sprint(i), `{}`), event("b", fmt.Sprint(i/2), `{}`))
		}
		return nil
	})
	g.Go(func() error {
		for last := uint64(0); last < commits; {
			state := s.State()
			if state.Applied.Index < last || state.Received != 2*state.Applied.Index || state.Received != state.Unique+state.Duplicates {
				return fmt.Errorf("not of one moment: %+v", state)
			}
			last = state.Applied.Index
			n := uint64(0)
			for r, err := range s.Events(oncelog.Query{}) {
				if n++; err != nil || r.ID != n {
					return fmt.Errorf("event %d: %v, %w", n, r, err)
				}
			}
			if n < state.Unique {
				return fmt.Errorf("%d events read after %d were counted", n, state.Unique)
			}
		}
		return nil
	})
	g.Go(func() error {
		for s.Applied().Index < commits {
			before := s.Applied()
			p, err := s.Flush()
			if err != nil || p.Index < before.Index {
				return fmt.Errorf("flushed %v, not %v: %w", p, before, err)
			}
			c, err := s.Checkpoint()
			if err != nil {
				return err
			}
			if c.Position().Index < p.Index {
				return fmt.Errorf("checkpoint of %v after a flush of %v", c.Position(), p)
			}
			if err := c.Close(); err != nil {
				return err
			}
		}
		return nil
	})
	require.NoError(t, g.Wait())
}
