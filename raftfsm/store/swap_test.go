package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
)

// sender is a store with some events and metadata, and the stream of its
// checkpoint.
func sender(t *testing.T) (State, []byte) {
	t.Helper()
	s := openStore(t, vfs.NewMem())
	for i := range 30 {
		publish(t, s, event("a", fmt.Sprint(i), `{}`), event("b", fmt.Sprint(i), `{"x":"`+strings.Repeat("y", 500)+`"}`))
	}
	txn := s.Begin()
	txn.SetMeta("session", []byte("of the sender"))
	require.NoError(t, txn.Commit(Position{Index: 31, Term: 4}))
	return s.State(), streamOf(t, s)
}

func streamOf(t *testing.T, s *Store) []byte {
	t.Helper()
	c, err := s.Checkpoint()
	require.NoError(t, err)
	r := c.Reader()
	stream, err := io.ReadAll(r)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	require.Len(t, stream, int(c.Size()))
	require.NoError(t, c.Close())
	return stream
}

// onlyLive checks that nothing but the live generation is left in a store.
func onlyLive(t *testing.T, s *Store) {
	t.Helper()
	names, err := s.fs.List(s.dir)
	require.NoError(t, err)
	slices.Sort(names)
	require.Equal(t, []string{pointerName, lockName, generationName(s.gen.number)}, names)
}

func TestSnapshotRoundTrip(t *testing.T) {
	t.Parallel()
	state, stream := sender(t)
	fs := vfs.NewMem()
	s := openStore(t, fs)
	publish(t, s, event("a", "0", `{}`), event("other", "x", `{}`))

	incoming, err := s.Receive(bytes.NewReader(stream))
	require.NoError(t, err)
	require.Equal(t, state.Applied, incoming.Position())
	require.Equal(t, uint64(2), s.State().Unique, "the live state is untouched")
	require.NoError(t, s.Swap(incoming))
	require.Equal(t, state, s.State())
	onlyLive(t, s)

	value, err := s.Meta("session")
	require.NoError(t, err)
	require.Equal(t, "of the sender", string(value))
	p, err := s.Durable()
	require.NoError(t, err)
	require.Equal(t, state.Applied, p)
	require.Len(t, collect(t, s, oncelog.Query{}), int(state.Unique))

	got := publish(t, s, event("a", "29", `{}`), event("other", "x", `{}`))
	require.Equal(t, []Outcome{{ID: 59, Duplicate: true}, {ID: 61}}, got.Outcomes, "what the old state held is gone")
	state = s.State()
	require.NoError(t, s.Close())
	s = openStore(t, fs)
	require.Equal(t, state, s.State())
	require.Equal(t, uint64(2), s.gen.number)
	require.Equal(t, state, roundTrip(t, s).State(), "a received state can be sent on")
}

// TestSwapForgetsUnflushedKeys: the old state is ahead of the snapshot, so that no
// durable position covers its keys. Topic 1 is "other" in it, and "b" afterwards.
func TestSwapForgetsUnflushedKeys(t *testing.T) {
	t.Parallel()
	state, stream := sender(t)
	s := openStore(t, vfs.NewMem())
	apply(t, s, 100, entry{records(event("a", "x", `{}`), event("other", "x", `{}`)), 1})
	incoming, err := s.Receive(bytes.NewReader(stream))
	require.NoError(t, err)
	require.NoError(t, s.Swap(incoming))
	require.Equal(t, state, s.State())
	require.Equal(t, []Outcome{{ID: 61}, {ID: 62}}, publish(t, s, event("a", "x", `{}`), event("b", "x", `{}`)).Outcomes)
}

// roundTrip sends a store to a new one.
func roundTrip(t *testing.T, s *Store) *Store {
	t.Helper()
	to := openStore(t, vfs.NewMem())
	incoming, err := to.Receive(bytes.NewReader(streamOf(t, s)))
	require.NoError(t, err)
	require.NoError(t, to.Swap(incoming))
	return to
}

func TestEmptySnapshot(t *testing.T) {
	t.Parallel()
	s := openStore(t, vfs.NewMem())
	require.Equal(t, s.State(), roundTrip(t, s).State())
}

func TestCheckpointDoesNotMove(t *testing.T) {
	t.Parallel()
	s := openStore(t, vfs.NewMem())
	set := func(index uint64, value string) {
		txn := s.Begin()
		txn.SetMeta("x", []byte(value))
		require.NoError(t, txn.Commit(Position{Index: index, Term: 2}))
	}
	set(5, "then")
	c, err := s.Checkpoint()
	require.NoError(t, err)
	set(6, "now")
	_, err = s.Flush()
	require.NoError(t, err)

	require.Equal(t, Position{Index: 5, Term: 2}, c.Position())
	value, err := c.Meta("x")
	require.NoError(t, err)
	require.Equal(t, "then", string(value))
	value, err = c.Meta("none")
	require.NoError(t, err)
	require.Nil(t, value)
	one, err := io.ReadAll(c.Reader())
	require.NoError(t, err)
	two, err := io.ReadAll(c.Reader())
	require.NoError(t, err)
	require.Equal(t, one, two)
	half := c.Reader()
	_, err = io.CopyN(io.Discard, half, c.Size()/2)
	require.NoError(t, err)
	require.NoError(t, half.Close(), "a stream may be given up")
	require.NoError(t, c.Close())
	onlyLive(t, s)
}

func TestReadersGoOnAcrossSwap(t *testing.T) {
	t.Parallel()
	_, stream := sender(t)
	s := openStore(t, vfs.NewMem())
	for i := range 10 {
		publish(t, s, event("a", fmt.Sprint(i), `{}`), event("b", fmt.Sprint(i), `{"x":"`+strings.Repeat("y", 500)+`"}`))
	}
	incoming, err := s.Receive(bytes.NewReader(stream))
	require.NoError(t, err)
	var seen []uint64
	for r, err := range s.Events(oncelog.Query{}) {
		require.NoError(t, err)
		if seen = append(seen, r.ID); r.ID == 3 {
			require.NoError(t, s.Swap(incoming), "no reader keeps the database across a yield")
		}
	}
	require.Len(t, seen, 20, "the upper bound was fixed at the start")
}

func TestDiscardAndLeftovers(t *testing.T) {
	t.Parallel()
	_, stream := sender(t)
	fs := vfs.NewMem()
	s := openStore(t, fs)
	incoming, err := s.Receive(bytes.NewReader(stream))
	require.NoError(t, err)
	require.NoError(t, incoming.Discard())
	onlyLive(t, s)

	_, err = s.Receive(bytes.NewReader(stream))
	require.NoError(t, err)
	c, err := s.Checkpoint()
	require.NoError(t, err)
	require.NoError(t, c.db.Close())
	require.NoError(t, fs.MkdirAll(fs.PathJoin(testDir, generationName(7)), 0o755))
	require.NoError(t, fs.MkdirAll(fs.PathJoin(testDir, "theirs"), 0o755))
	require.NoError(t, s.Close())
	s = openStore(t, fs)
	require.NoError(t, fs.Remove(fs.PathJoin(testDir, "theirs")), "what is not ours stays")
	onlyLive(t, s)
}

// TestStreamIsRefused damages a stream in every way that a network or a disk may.
func TestStreamIsRefused(t *testing.T) {
	t.Parallel()
	_, stream := sender(t)
	s := openStore(t, vfs.NewMem())
	publish(t, s, event("live", "1", `{}`))
	before := s.State()
	refused := func(stream []byte, what string) error {
		_, err := s.Receive(bytes.NewReader(stream))
		require.Error(t, err, what)
		return err
	}
	step := max(1, len(stream)/150)
	for n := 0; n < len(stream); n += step {
		require.ErrorIs(t, refused(stream[:n], "cut off"), oncelog.ErrCorrupt)
	}
	require.ErrorIs(t, refused(append(bytes.Clone(stream), 0), "one byte longer"), oncelog.ErrCorrupt)
	for at := 0; at < len(stream); at += step {
		flipped := bytes.Clone(stream)
		flipped[at] ^= 0x10
		require.True(t, isRefusal(refused(flipped, fmt.Sprintf("flipped byte %d of %d", at, len(stream)))), at)
	}
	err := refused(stream[:len(stream)-1], "cut off in the last file")
	require.ErrorContains(t, err, "marker.manifest", "the file is named")
	flipped := bytes.Clone(stream)
	flipped[bytes.Index(stream, []byte(".sst"))+1000] ^= 1
	err = refused(flipped, "flipped in a table")
	require.ErrorContains(t, err, ".sst", "the file is named")
	require.Equal(t, before, s.State())
	onlyLive(t, s)
}

func TestStreamNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"MANIFEST-000001", "000004.sst", "marker.manifest.000001.MANIFEST-000001"} {
		require.True(t, plainName(name), name)
	}
	for _, name := range []string{"", ".", "..", "../x", "a/b", `a\b`, "a\x00", ".hidden", "é"} {
		require.False(t, plainName(name), name)
	}
}

// stream builds a stream out of names and contents, right in all but those.
func stream(files ...[2]string) []byte {
	var listed []streamedFile
	for _, f := range files {
		listed = append(listed, streamedFile{name: f[0], size: int64(len(f[1]))})
	}
	b, _ := encodeHeader(listed)
	for i, f := range files {
		fs := vfs.NewMem()
		if err := writeFile(fs, "x", strings.NewReader(f[1])); err != nil {
			panic(err)
		}
		entry, err := io.ReadAll(&fileReader{fs: fs, path: "x", streamedFile: listed[i]})
		if err != nil {
			panic(err)
		}
		b = append(b, entry...)
	}
	return b
}

func TestStreamOfHostileFiles(t *testing.T) {
	t.Parallel()
	s := openStore(t, vfs.NewMem())
	for name, b := range map[string][]byte{
		"no database":    stream([2]string{"a", "x"}),
		"leaves its dir": stream([2]string{"../CURRENT", "gen-000009"}),
		"same name":      stream([2]string{"a", "x"}, [2]string{"a", "y"}),
		"wrong order":    stream([2]string{"b", "x"}, [2]string{"a", "y"}),
		"no files":       stream(),
		"no stream":      []byte(strings.Repeat("x", 100)),
		"empty":          nil,
	} {
		_, err := s.Receive(bytes.NewReader(b))
		require.ErrorIs(t, err, oncelog.ErrCorrupt, name)
	}
	newer := stream([2]string{"a", "x"})
	newer[7]++
	_, err := s.Receive(bytes.NewReader(newer))
	require.ErrorIs(t, err, ErrFormat)
	onlyLive(t, s)
}

// TestDamageIsNotPassedOn flips bits in the sender's own tables: the stream's
// checksums are right, the tables are not.
func TestDamageIsNotPassedOn(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	s := openStore(t, fs)
	var events []*oncelog.Event
	for i := range 1000 {
		events = append(events, event("a", fmt.Sprint(i), `{}`))
	}
	publish(t, s, events...)
	c, err := s.Checkpoint()
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close()) }()
	at := slices.IndexFunc(c.files, func(f streamedFile) bool { return strings.HasSuffix(f.name, ".sst") })
	path := fs.PathJoin(c.dir, c.files[at].name)
	to := openStore(t, vfs.NewMem())
	for offset := int64(100); offset < c.files[at].size; offset += c.files[at].size / 20 {
		flip(t, fs, path, offset)
		_, err = to.Receive(c.Reader())
		flip(t, fs, path, offset)
		if err != nil {
			require.ErrorIs(t, err, oncelog.ErrCorrupt)
			continue
		}
	}
	flip(t, fs, path, 100)
	_, err = to.Receive(c.Reader())
	require.ErrorIs(t, err, oncelog.ErrCorrupt)
	require.ErrorContains(t, err, c.files[at].name)
	flip(t, fs, path, 100)
	_, err = to.Receive(c.Reader())
	require.NoError(t, err)
}

// flip changes one bit of a file in place.
func flip(t *testing.T, fs vfs.FS, path string, at int64) {
	t.Helper()
	f, err := fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	var b [1]byte
	_, err = f.ReadAt(b[:], at)
	require.NoError(t, err)
	b[0] ^= 0x40
	_, err = f.WriteAt(b[:], at)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

// isRefusal reports whether an error says that a stream is not to be had.
func isRefusal(err error) bool {
	return errors.Is(err, oncelog.ErrCorrupt) || errors.Is(err, ErrFormat)
}
