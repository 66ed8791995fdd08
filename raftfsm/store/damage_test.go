package store

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
)

// stopped is a store on disk that was closed, and what it held.
type stopped struct {
	disk   *vfs.MemFS
	state  State
	events []oncelog.Record
	again  []byte
}

func newStopped(t *testing.T) stopped {
	t.Helper()
	disk := vfs.NewCrashableMem()
	s := openStore(t, disk)
	var all []byte
	for round := range 3 {
		for i := range 20 {
			e := event("a", fmt.Sprint(round, i), `{"x":"`+strings.Repeat("y", 300)+`"}`)
			all = AppendRecord(all, e)
			publish(t, s, e, event("b", fmt.Sprint(i), `{}`))
		}
		_, err := s.Flush()
		require.NoError(t, err)
	}
	stop := stopped{disk: disk, state: s.State(), events: collect(t, s, oncelog.Query{}), again: all}
	require.NoError(t, s.Close())
	return stop
}

// files lists the paths of all files.
func (s stopped) files(t *testing.T) []string {
	t.Helper()
	gen := s.disk.PathJoin(testDir, generationName(1))
	names, err := s.disk.List(gen)
	require.NoError(t, err)
	paths := []string{s.disk.PathJoin(testDir, pointerName)}
	for _, name := range names {
		paths = append(paths, s.disk.PathJoin(gen, name))
	}
	slices.Sort(paths)
	return paths
}

// copy returns the disk to be damaged.
func (s stopped) copy() *vfs.MemFS { return s.disk.CrashClone(vfs.CrashCloneCfg{}) }

// honest opens a damaged store. It may refuse, and so may every call, but nothing
// it says is wrong. It reports whether anything was refused.
func (s stopped) honest(t *testing.T, disk vfs.FS, what string) bool {
	t.Helper()
	refused := false
	db, err := Open(testDir, Options{FS: disk, CacheBytes: 1 << 20, MemTableBytes: 1 << 20, FilterBytes: 64 << 10})
	if err != nil {
		require.ErrorContains(t, err, testDir, what)
		return true
	}
	require.Equal(t, s.state, db.State(), what)
	i := 0
	for r, err := range db.Events(oncelog.Query{}) {
		if err != nil {
			require.ErrorIs(t, err, oncelog.ErrCorrupt, what)
			refused = true
			break
		}
		require.Equal(t, s.events[i], r, what)
		i++
	}
	require.True(t, refused || i == len(s.events), what)
	txn := db.Begin()
	b, err := txn.Stage(s.again)
	if err == nil {
		err = txn.Resolve()
	}
	var outcomes []Outcome
	if err == nil {
		_, outcomes, err = txn.Apply(b, 1)
	}
	refused = refused || err != nil
	for _, o := range outcomes {
		require.True(t, o.Duplicate, what)
	}
	// A store that has failed says so when it is closed.
	if err := db.Close(); err != nil {
		require.ErrorIs(t, err, oncelog.ErrCorrupt, what)
		refused = true
	}
	return refused
}

// TestFlippedBits damages one bit at a time of every file of a stopped store.
func TestFlippedBits(t *testing.T) {
	t.Parallel()
	stop := newStopped(t)
	require.False(t, stop.honest(t, stop.copy(), "undamaged"))
	refusals := 0
	for _, path := range stop.files(t) {
		info, err := stop.disk.Stat(path)
		require.NoError(t, err)
		for at := int64(0); at < info.Size(); at += max(1, info.Size()/40) {
			disk := stop.copy()
			flip(t, disk, path, at)
			if stop.honest(t, disk, fmt.Sprintf("byte %d of %s", at, path)) {
				refusals++
			}
		}
	}
	require.Greater(t, refusals, 100, "the damage took hold")
}

// TestTruncatedAndMissingFiles cuts files short, and removes them.
func TestTruncatedAndMissingFiles(t *testing.T) {
	t.Parallel()
	stop := newStopped(t)
	refusals := 0
	for _, path := range stop.files(t) {
		content, err := stop.disk.UnsafeGetFileDataBuffer(path)
		require.NoError(t, err)
		for part := range 8 {
			disk := stop.copy()
			require.NoError(t, writeFile(disk, path, bytes.NewReader(content[:len(content)*part/8])))
			if stop.honest(t, disk, fmt.Sprintf("%d/8 of %s", part, path)) {
				refusals++
			}
		}
		disk := stop.copy()
		require.NoError(t, disk.Remove(path))
		if stop.honest(t, disk, "without "+path) {
			refusals++
		}
	}
	require.Greater(t, refusals, 20, "the damage took hold")
}

func TestTableDamageIsNamed(t *testing.T) {
	t.Parallel()
	stop := newStopped(t)
	files := stop.files(t)
	table := files[slices.IndexFunc(files, func(p string) bool { return strings.HasSuffix(p, ".sst") })]
	flip(t, stop.disk, table, 50)
	var failures []error
	s, err := Open(testDir, Options{FS: stop.disk, OnError: func(err error) { failures = append(failures, err) }})
	if err == nil {
		for _, err = range s.Events(oncelog.Query{}) {
			if err != nil {
				break
			}
		}
		require.ErrorIs(t, s.Close(), oncelog.ErrCorrupt, "a store that has failed says so")
		require.Len(t, failures, 1)
		require.ErrorContains(t, failures[0], table)
	}
	require.ErrorIs(t, err, oncelog.ErrCorrupt)
	require.ErrorContains(t, err, table)
}

// TestOlderStateIsRefused cuts the manifest back to where it was before the last
// flush, which Pebble takes for a crash: the state is whole, and older than the log
// may be.
func TestOlderStateIsRefused(t *testing.T) {
	t.Parallel()
	disk := vfs.NewCrashableMem()
	s := openStore(t, disk)
	publish(t, s, event("a", "1", `{}`))
	_, err := s.Flush()
	require.NoError(t, err)
	older := disk.CrashClone(vfs.CrashCloneCfg{})
	publish(t, s, event("a", "2", `{}`))
	_, err = s.Flush()
	require.NoError(t, err)
	require.NoError(t, s.Close())

	path := disk.PathJoin(testDir, pointerName)
	newer, err := disk.UnsafeGetFileDataBuffer(path)
	require.NoError(t, err)
	require.NoError(t, writeFile(older, path, bytes.NewReader(newer)))
	before := older.String()
	_, err = Open(testDir, Options{FS: older})
	require.ErrorIs(t, err, oncelog.ErrCorrupt)
	require.ErrorContains(t, err, "it has held index 2")
	require.Equal(t, strings.Count(before, ".sst"), strings.Count(older.String(), ".sst"), "nothing was removed")
}

// TestContentsThatDoNotBelongTogether are refused when the store is opened.
func TestContentsThatDoNotBelongTogether(t *testing.T) {
	t.Parallel()
	stop := newStopped(t)
	for name, tamper := range map[string]func(*pebble.DB) error{
		"last block": func(db *pebble.DB) error { return db.Delete(blockKey(stop.state.Unique), pebble.NoSync) },
		"ledger":     func(db *pebble.DB) error { return db.Delete(ledgerKey(), pebble.NoSync) },
		"topic":      func(db *pebble.DB) error { return db.Delete(topicMetaKey(0), pebble.NoSync) },
	} {
		disk := stop.copy()
		s := openStore(t, disk)
		require.NoError(t, tamper(s.gen.db), name)
		require.NoError(t, s.gen.db.Flush(), name)
		if err := s.Close(); err != nil {
			require.ErrorIs(t, err, oncelog.ErrCorrupt, name)
		}
		_, err := Open(testDir, Options{FS: disk})
		require.ErrorIs(t, err, oncelog.ErrCorrupt, name)
		require.ErrorContains(t, err, generationName(1), name)
	}
}

func TestLostPointerIsRefused(t *testing.T) {
	t.Parallel()
	stop := newStopped(t)
	require.NoError(t, stop.disk.Remove(stop.disk.PathJoin(testDir, pointerName)))
	for range 2 {
		_, err := Open(testDir, Options{FS: stop.disk})
		require.ErrorIs(t, err, oncelog.ErrCorrupt)
		require.ErrorContains(t, err, generationName(1))
	}
}

// FuzzReceive: no stream makes anything but a sound snapshot or an error, and
// nothing is written outside of its directory.
func FuzzReceive(f *testing.F) {
	sender, err := Open(testDir, Options{FS: vfs.NewMem()})
	require.NoError(f, err)
	publish(f, sender, event("a", "1", `{}`))
	c, err := sender.Checkpoint()
	require.NoError(f, err)
	whole := new(bytes.Buffer)
	_, err = whole.ReadFrom(c.Reader())
	require.NoError(f, err)
	require.NoError(f, c.Close())
	require.NoError(f, sender.Close())
	f.Add(whole.Bytes())
	f.Add(whole.Bytes()[:100])
	f.Add(stream([2]string{"../x", "y"}))
	f.Add(stream([2]string{"marker.manifest.000001.MANIFEST-000001", "y"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		fs := vfs.NewMem()
		require.NoError(t, fs.MkdirAll("in", 0o755))
		if err := receiveFiles(fs, "in", bytes.NewReader(b)); err != nil {
			require.True(t, isRefusal(err), err)
		}
		names, err := fs.List("")
		require.NoError(t, err)
		require.Equal(t, []string{"in"}, names)
	})
}
