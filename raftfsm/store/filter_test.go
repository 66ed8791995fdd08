package store

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
)

func filterKey(i int) dedupKey { return newDedupKey(uint32(i%3), fmt.Append(nil, i)) }

func TestFilterKnowsWhatItHas(t *testing.T) {
	t.Parallel()
	const keys = 20_000 // 26 bits a key, as with five million events in the default filter
	f := newKeyFilter(64 << 10)
	for i := range keys {
		f.add(filterKey(i))
	}
	require.False(t, f.excludes(filterKey(keys)), "an incomplete filter excludes nothing")
	f.complete.Store(true)
	excluded := 0
	for i := range keys {
		require.False(t, f.excludes(filterKey(i)))
		if f.excludes(filterKey(keys + i)) {
			excluded++
		}
	}
	require.Greater(t, excluded, keys*99/100)
	k := filterKey(0)
	k.topic++
	require.True(t, f.excludes(k), "the same event id in another topic is another key")
}

// TestFilterIsAskedWhileItIsFilled: a key that comes to it last is not excluded at
// any moment.
func TestFilterIsAskedWhileItIsFilled(t *testing.T) {
	t.Parallel()
	filters := make([]*keyFilter, 20_000)
	for i := range filters {
		filters[i] = newKeyFilter(64)
	}
	var asked atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i, f := range filters {
			for asked.Load() < int64(i) {
				runtime.Gosched()
			}
			f.add(filterKey(i))
			f.complete.Store(true)
		}
	}()
	for i, f := range filters {
		asked.Store(int64(i))
		wrong := false
		for complete, k := false, filterKey(i); !complete; runtime.Gosched() {
			complete = f.complete.Load()
			wrong = wrong || f.excludes(k)
		}
		require.False(t, wrong)
	}
	<-done
}

// TestFilterIsFilledFromTheTables after a restart and after a snapshot.
func TestFilterIsFilledFromTheTables(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	s := openStore(t, fs)
	publish(t, s, event("a", "1", `{}`), event("b", "2", `{}`))
	_, err := s.Flush()
	require.NoError(t, err)
	checkpoint, err := s.Checkpoint()
	require.NoError(t, err)
	stream := checkpoint.Reader()
	var snapshot bytes.Buffer
	_, err = snapshot.ReadFrom(stream)
	require.NoError(t, err)
	require.NoError(t, stream.Close())
	require.NoError(t, checkpoint.Close())
	require.NoError(t, s.Close())

	reopened := openStore(t, fs)
	received := openStore(t, vfs.NewMem())
	publish(t, received, event("a", "0", `{}`))
	incoming, err := received.Receive(&snapshot)
	require.NoError(t, err)
	before := received.filling.done
	require.NoError(t, received.Swap(incoming))
	<-before
	for _, s := range []*Store{reopened, received} {
		<-s.filling.done
		require.True(t, s.filter.complete.Load())
		require.False(t, s.filter.excludes(newDedupKey(0, []byte("1"))))
		require.False(t, s.filter.excludes(newDedupKey(1, []byte("2"))))
		require.True(t, s.filter.excludes(newDedupKey(0, []byte("0"))))
		require.True(t, publish(t, s, event("a", "1", `{}`)).Outcomes[0].Duplicate)
		require.Equal(t, Outcome{ID: 3}, publish(t, s, event("a", "0", `{}`)).Outcomes[0])
		require.False(t, s.filter.excludes(newDedupKey(0, []byte("0"))))
	}
}

// TestKeysAreFoundWithoutAFilter: one that is being filled is not asked.
func TestKeysAreFoundWithoutAFilter(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	s := openStore(t, fs)
	publish(t, s, event("a", "1", `{}`))
	require.NoError(t, s.Close())
	s = openStore(t, fs)
	s.stopBackground()
	s.filter = newKeyFilter(64 << 10)
	require.Equal(t, Outcome{ID: 1, Duplicate: true}, publish(t, s, event("a", "1", `{}`)).Outcomes[0])
	require.Equal(t, Outcome{ID: 2}, publish(t, s, event("a", "2", `{}`)).Outcomes[0])
	require.Equal(t, Outcome{ID: 2, Duplicate: true}, publish(t, s, event("a", "2", `{}`)).Outcomes[0])
}

func TestFilterThatIsNotFilledStaysIncomplete(t *testing.T) {
	t.Parallel()
	s := openStore(t, vfs.NewMem())
	batch := s.gen.db.NewBatch()
	for i := range 2 * fillPause {
		require.NoError(t, batch.Set(dedupBytes(filterKey(i)), nil, nil))
	}
	require.NoError(t, batch.Commit(pebble.NoSync))
	require.NoError(t, s.gen.db.Flush())

	stopped, stop := context.WithCancel(t.Context())
	stop()
	f := newKeyFilter(64 << 10)
	require.ErrorIs(t, f.fill(stopped, s.gen.db), context.Canceled)
	require.False(t, f.complete.Load())
	require.NoError(t, f.fill(t.Context(), s.gen.db))
	require.True(t, f.complete.Load())

	require.NoError(t, s.gen.db.Set([]byte("dishonest"), nil, pebble.NoSync))
	require.NoError(t, s.gen.db.Flush())
	f = newKeyFilter(64 << 10)
	require.ErrorIs(t, f.fill(t.Context(), s.gen.db), oncelog.ErrCorrupt)
	require.False(t, f.complete.Load())
}

// TestAFailedStoreWaitsForItsWorkToEnd: whoever opens the directory next must
// find its lock free. A disk that hangs is not waited for.
func TestAFailedStoreWaitsForItsWorkToEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ended := func(after time.Duration) time.Duration {
			s := &Store{failed: make(chan struct{})}
			close(s.failed)
			work := background{stop: func() {}, done: make(chan struct{})}
			began := time.Now()
			timer := time.AfterFunc(after, func() { close(work.done) })
			defer timer.Stop()
			s.end(work)
			return time.Since(began)
		}
		require.Equal(t, hungAfter/2, ended(hungAfter/2))
		require.Equal(t, hungAfter, ended(time.Hour))
	})
}
