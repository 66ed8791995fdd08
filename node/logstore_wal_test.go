package node

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft-wal/types"
	"github.com/stretchr/testify/require"
)

// crashFiles lets raft-wal work on a file system that can lose power.
type crashFiles struct {
	*vfs.MemFS
	// broken makes syncs fail, after which the data is there or not.
	broken *atomic.Bool
}

func (c crashFiles) ListDir(dir string) ([]string, error) { return c.List(dir) }

func (c crashFiles) Create(dir, name string, _ uint64) (types.WritableFile, error) {
	path := c.PathJoin(dir, name)
	if _, err := c.Stat(path); err == nil {
		return nil, fs.ErrExist
	}
	f, err := c.MemFS.Create(path, vfs.WriteCategoryUnspecified)
	return &crashFile{File: f, files: c, dir: dir}, err
}

func (c crashFiles) Delete(dir, name string) error {
	return errors.Join(c.Remove(c.PathJoin(dir, name)), c.syncDir(dir))
}

func (c crashFiles) OpenReader(dir, name string) (types.ReadableFile, error) {
	return c.Open(c.PathJoin(dir, name))
}

func (c crashFiles) OpenWriter(dir, name string) (types.WritableFile, error) {
	return c.OpenReadWrite(c.PathJoin(dir, name), vfs.WriteCategoryUnspecified)
}

func (c crashFiles) syncDir(dir string) error {
	d, err := c.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// crashFile syncs its directory with its first content, as raft-wal's own does.
type crashFile struct {
	vfs.File
	files crashFiles
	dir   string
	named sync.Once
}

func (f *crashFile) Sync() error {
	if f.files.broken.Load() {
		return errors.New("input/output error")
	}
	err := f.File.Sync()
	f.named.Do(func() { err = errors.Join(err, f.files.syncDir(f.dir)) })
	return err
}

// crashMeta is the file beside the segments. Each of its operations is done whole.
type crashMeta struct {
	mu     sync.Mutex
	state  types.PersistentState
	stable map[string][]byte
	// stuck makes a commit fail.
	stuck bool
}

func (m *crashMeta) clone() *crashMeta {
	m.mu.Lock()
	defer m.mu.Unlock()
	state := m.state
	state.Segments = slices.Clone(state.Segments)
	return &crashMeta{state: state, stable: maps.Clone(m.stable)}
}

func (m *crashMeta) Load(string) (types.PersistentState, error) { return m.clone().state, nil }
func (m *crashMeta) Close() error                               { return nil }

func (m *crashMeta) CommitState(s types.PersistentState) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stuck {
		return errors.New("the power is off")
	}
	m.state = s
	return nil
}

func (m *crashMeta) GetStable(key []byte) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.stable[string(key)], nil
}

func (m *crashMeta) SetStable(key, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if value == nil {
		delete(m.stable, string(key))
	} else {
		m.stable[string(key)] = value
	}
	return nil
}

const crashDir = "/wal"

// newCrashDisk is an empty disk.
func newCrashDisk(t *testing.T) walDisk {
	t.Helper()
	files := crashFiles{vfs.NewCrashableMem(), new(atomic.Bool)}
	require.NoError(t, files.MkdirAll(crashDir, 0o750))
	require.NoError(t, files.syncDir("/"))
	return walDisk{crashDir, files, &crashMeta{stable: make(map[string][]byte)}, files.syncDir}
}

// crash is what is left of a disk after a power loss.
func (d walDisk) crash(random *rand.Rand) walDisk {
	meta := d.meta.(*crashMeta).clone() // first: a segment is known before it is made
	files := crashFiles{d.files.(crashFiles).CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50 * random.IntN(3), RNG: random}), new(atomic.Bool)}
	return walDisk{d.dir, files, meta, files.syncDir}
}

func openCrashDisk(t *testing.T, d walDisk) *walLog {
	t.Helper()
	l, err := d.open(4<<10, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	return l
}

// Small segments, truncated at both ends, and power losses in between and in the
// middle of an append: what was taken is there, and the log goes on.
func TestWALThroughPowerLoss(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	disk := newCrashDisk(t)
	first, last, term := uint64(1), uint64(0), uint64(1)
	for range 150 {
		l := openCrashDisk(t, disk)
		requireEntries(t, l, first, last)
		for range random.IntN(8) {
			switch random.IntN(5) {
			case 0:
				if last > first {
					first += random.Uint64N(last - first)
					require.NoError(t, l.DeleteRange(0, first-1))
				}
			case 1:
				if last > first {
					to := last
					last = first + random.Uint64N(last-first)
					require.NoError(t, l.DeleteRange(last+1, to))
				}
			default:
				term++
				logs := entries(last+1, last+1+random.Uint64N(20))
				require.NoError(t, l.StoreLogs(logs))
				last += uint64(len(logs))
			}
		}
		// The power goes in the middle of an append that nobody is told of.
		appended := make(chan error, 1)
		torn := entries(last+1, last+1+random.Uint64N(40))
		go func() { appended <- l.StoreLogs(torn) }()
		disk = disk.crash(random)
		require.NoError(t, <-appended)
		require.NoError(t, l.WAL.Close())

		l = openCrashDisk(t, disk)
		found, err := l.LastIndex()
		require.NoError(t, err)
		require.GreaterOrEqual(t, found, last)
		last = found
		if first > last {
			first, last = 1, 0
		}
		require.NoError(t, l.WAL.Close())
	}
}

func requireEntries(t *testing.T, l *walLog, first, last uint64) {
	t.Helper()
	want := entries(first, last)
	for _, w := range want {
		var got raft.Log
		require.NoError(t, l.GetLog(w.Index, &got), "entry %d of %d to %d", w.Index, first, last)
		require.Equal(t, *w, got)
	}
	found, err := l.LastIndex()
	require.NoError(t, err)
	require.Equal(t, last, found)
}

// raft-wal ends a full segment with an append, and begins the next one later. A
// crash in between left it with nothing to append to, for good.
func TestWALGoesOnAfterACrashBetweenSegments(t *testing.T) {
	t.Parallel()
	disk := newCrashDisk(t)
	l := openCrashDisk(t, disk)
	disk.meta.(*crashMeta).mu.Lock()
	disk.meta.(*crashMeta).stuck = true
	disk.meta.(*crashMeta).mu.Unlock()
	require.NoError(t, l.StoreLogs(entries(1, 60)), "more than a segment holds")
	after := disk.crash(rand.New(rand.NewPCG(1, 1)))
	require.Error(t, l.StoreLogs(entries(61, 61)), "the disk is stuck")
	require.NoError(t, l.WAL.Close())
	for from := uint64(61); from < 200; from += 10 {
		l := openCrashDisk(t, after)
		requireEntries(t, l, 1, from-1)
		require.NoError(t, l.StoreLogs(entries(from, from+9)))
		require.NoError(t, l.Close())
	}
}

// A node that stopped since its disk failed starts again, on what was synced and
// perhaps what was not.
func TestWALOpensAfterASyncThatFailed(t *testing.T) {
	t.Parallel()
	for _, power := range []string{"stays", "goes"} {
		disk := newCrashDisk(t)
		l := openCrashDisk(t, disk)
		require.NoError(t, l.StoreLogs(entries(1, 5)))
		disk.files.(crashFiles).broken.Store(true)
		require.Error(t, l.StoreLogs(entries(6, 6)))
		disk.files.(crashFiles).broken.Store(false)
		require.NoError(t, l.Close())
		want := uint64(6)
		if power == "goes" {
			disk, want = disk.crash(rand.New(rand.NewPCG(2, 2))), 5
		}
		l = openCrashDisk(t, disk)
		last, err := l.LastIndex()
		require.NoError(t, err)
		require.Contains(t, []uint64{5, want}, last)
		requireEntries(t, l, 1, last)
		require.NoError(t, l.Close())
	}
}

// Damage in the last segment is not taken for a write that a crash has cut off.
func TestWALFindsDamageThatRaftWALWouldDrop(t *testing.T) {
	t.Parallel()
	kind := logKinds()[1]
	for name, orderly := range map[string]bool{"after a crash": false, "after an orderly stop": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			l, _ := openTestLog(t, kind, dir)
			for i := range uint64(10) {
				require.NoError(t, l.StoreLogs(entries(i+1, i+1)))
			}
			if orderly {
				require.NoError(t, l.Close())
			} else {
				require.NoError(t, l.store.(*walLog).WAL.Close())
			}
			path := logFile(t, kind, dir)
			whole, err := os.ReadFile(path)
			require.NoError(t, err)
			whole = whole[:len(bytes.TrimRight(whole, "\x00"))]
			lastBatch := len(whole) / 10 * 9
			refused := 0
			for at := range whole {
				damaged := slices.Clone(whole)
				damaged[at] ^= 0x10
				require.NoError(t, os.WriteFile(path, damaged, 0o600))
				_, err := readLog(kind, dir, 10)
				if err == nil {
					continue // all ten are there, with their checksums
				}
				refused++
				if orderly || at < lastBatch { // else it may have been cut off by the crash
					require.NotErrorIs(t, err, raft.ErrLogNotFound, "byte %d of %d", at, len(whole))
					require.ErrorContains(t, err, dir)
				}
			}
			require.Greater(t, refused, len(whole)*9/10)
		})
	}
}
