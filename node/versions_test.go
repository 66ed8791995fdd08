package node

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/raftfsm"
)

// laterCommands are commands that this program does not know yet, each with the
// words that refuse it.
func laterCommands() map[string][]byte {
	version := raftfsm.EncodeOpen(uuid.New())
	version[0]++
	kind := raftfsm.EncodeOpen(uuid.New())
	kind[1] = 9
	raftfsm.Stamp(kind, 0)
	group := raftfsm.EncodeOpen(uuid.New())
	group[3] = 1
	raftfsm.Stamp(group, 0)
	return map[string][]byte{
		"version 2; this program knows version 1": version,
		"unknown kind 9":                      kind,
		"group 1; this program knows group 0": group,
	}
}

// A newer leader puts a command into the log that this node does not
// know. It must not pass it over, so it stops, now and at each start, and says
// what to do.
func TestACommandOfALaterVersionStopsTheNode(t *testing.T) {
	t.Parallel()
	for words, command := range laterCommands() {
		t.Run(words, func(t *testing.T) {
			t.Parallel()
			c := testNode(t, "alone")
			n, err := New(c)
			require.NoError(t, err)
			awaitReady(t, n)
			ended := make(chan error, 1)
			go func() { ended <- n.Run(context.Background()) }()
			_, err = n.group.propose(command)
			require.ErrorIs(t, err, oncelog.ErrOutcomeUnknown)
			for range 2 {
				err = <-ended
				require.ErrorIs(t, err, raftfsm.ErrBadCommand)
				require.ErrorContains(t, err, words)
				require.ErrorContains(t, err, "run a later program")
				n, err = New(c)
				require.NoError(t, err)
				go func() { ended <- n.Run(context.Background()) }()
			}
			require.ErrorIs(t, <-ended, raftfsm.ErrBadCommand)
		})
	}
}

// A newer follower's batch is refused by an older leader before it is in the log,
// where it would stop every older node.
func TestAForwardedBatchOfALaterVersionIsNotTaken(t *testing.T) {
	t.Parallel()
	n := start(t, testNode(t, "alone"))
	awaitReady(t, n)
	for words, command := range laterCommands() {
		_, err := n.forwarder.accept(t.Context(), command)
		require.ErrorIs(t, err, oncelog.ErrNotApplied)
		require.ErrorContains(t, err, words)
	}
	_, err := n.publish(t.Context(), []oncelog.Event{someEvent("goes on")})
	require.NoError(t, err)
}

// A node that speaks a later version of the node port is refused, and both sides
// say so.
func TestANodePortOfALaterVersionIsRefused(t *testing.T) {
	t.Parallel()
	theirs, err := openIdentity(t.TempDir(), "n1")
	require.NoError(t, err)
	defer func() { require.NoError(t, theirs.Close()) }()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	log := new(lockedBuffer)
	p := openPort(l, l.Addr().String(), theirs, slog.New(slog.NewTextHandler(log, nil)))
	defer func() { require.NoError(t, p.Close()) }()
	conn, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	later := preamble{kind: streamCalls, target: theirs.get().NodeID}.encode()
	later[4]++
	binary.BigEndian.PutUint32(later[56:], crc32.Checksum(later[:56], castagnoli))
	_, err = conn.Write(later[:])
	require.NoError(t, err)
	var reply [answerSize]byte
	_, err = io.ReadFull(conn, reply[:])
	require.NoError(t, err)
	verdict, err := decodeAnswer(reply)
	require.NoError(t, err)
	require.ErrorIs(t, verdict.err(), errRefused)
	require.ErrorContains(t, verdict.err(), "does not know version 1 of the node port")
	_, err = conn.Read(reply[:])
	require.ErrorIs(t, err, io.EOF, "the port has hung up, and logged it before")
	require.Contains(t, log.String(), "version 2; this program knows version 1")
}

// A data directory of which any part is of a later version is refused with the
// part's name.
func TestADirectoryOfALaterVersionIsRefused(t *testing.T) {
	t.Parallel()
	for part, spoil := range map[string]func(t *testing.T, path string){
		"node.json": func(t *testing.T, path string) { rewrite(t, path, `"version": 1`, `"version": 2`) },
		"store/CURRENT": func(t *testing.T, path string) {
			text := "format 2\ngen-000001\n"
			require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		},
		"store/gen-000001": func(t *testing.T, path string) {
			require.NoError(t, os.Rename(filepath.Join(path, "marker.format-version.000011.024"),
				filepath.Join(path, "marker.format-version.000012.900")))
		},
	} {
		t.Run(part, func(t *testing.T) {
			t.Parallel()
			c := testNode(t, "format-1")
			c.DataDir = firstFormat(t)
			path := filepath.Join(c.DataDir, filepath.FromSlash(part))
			spoil(t, path)
			before := contents(t, path)
			_, err := New(c)
			require.ErrorContains(t, err, path)
			require.True(t, errors.Is(err, ErrForeignDirectory) || errors.Is(err, oncelog.ErrCorrupt), err)
			_, err = Verify(c.DataDir)
			require.ErrorContains(t, err, path)
			require.Equal(t, before, contents(t, path), "it is left as it is")
		})
	}
}

func rewrite(t *testing.T, path, from, to string) {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Contains(t, string(data), from)
	require.NoError(t, os.WriteFile(path, []byte(strings.Replace(string(data), from, to, 1)), 0o600))
}

// contents are the bytes of a file, or of all the files in a directory.
func contents(t *testing.T, path string) map[string]string {
	t.Helper()
	found := make(map[string]string)
	require.NoError(t, filepath.WalkDir(path, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		found[path] = string(data)
		return err
	}))
	return found
}
