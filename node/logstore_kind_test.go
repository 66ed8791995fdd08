package node

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
)

// stopped is the configuration of a node that was started, has stored an event, and
// was stopped.
func stopped(t *testing.T, name string, kind logKind) Config {
	t.Helper()
	c := testNode(t, name)
	c.LogStore = kind.name
	n, err := New(c)
	require.NoError(t, err)
	_, err = n.publish(t.Context(), []oncelog.Event{someEvent("a")})
	require.NoError(t, err)
	require.NoError(t, n.Close())
	return c
}

// An empty log beside the one that a directory has would let its node vote away
// what it has acknowledged.
func TestADirectoryKeepsItsLogStore(t *testing.T) {
	t.Parallel()
	forLogStores(t, func(t *testing.T, kind logKind) {
		c := stopped(t, "alone", kind)
		for _, other := range logKinds() {
			if other.name == kind.name {
				continue
			}
			wrong := c
			wrong.LogStore = other.name
			_, err := New(wrong)
			require.ErrorIs(t, err, ErrForeignDirectory)
			require.ErrorContains(t, err, filepath.Join(c.DataDir, kind.file))
			require.ErrorContains(t, err, "start with --log-store "+string(kind.name))
			require.NoFileExists(t, filepath.Join(c.DataDir, other.file))
			require.NoDirExists(t, filepath.Join(c.DataDir, other.file))
		}
		v, err := Verify(c.DataDir)
		require.NoError(t, err)
		require.Equal(t, uint64(1), v.Store.Unique)
		n := start(t, c)
		awaitReady(t, n)
		receipts, err := n.publish(t.Context(), []oncelog.Event{someEvent("a")})
		require.NoError(t, err)
		require.Equal(t, oncelog.Duplicate, receipts[0].Status)
	})
}

func TestALogThatIsLostOrAnothersIsRefused(t *testing.T) {
	t.Parallel()
	forLogStores(t, func(t *testing.T, kind logKind) {
		c, other := stopped(t, "alone", kind), stopped(t, "other", kind)
		log := filepath.Join(c.DataDir, kind.file)
		theirs := filepath.Join(other.DataDir, kind.file)
		require.NoError(t, os.RemoveAll(log))
		_, err := New(c)
		require.ErrorIs(t, err, oncelog.ErrCorrupt)
		require.ErrorContains(t, err, log)
		require.NoFileExists(t, log)

		if kind.name == LogStoreBolt {
			require.NoError(t, os.WriteFile(log, nil, 0o600))
		} else {
			require.NoError(t, os.Mkdir(log, 0o700))
		}
		_, err = New(c)
		require.ErrorIs(t, err, errLogOwner, "an empty one")
		require.NoError(t, os.RemoveAll(log))
		require.NoError(t, os.Rename(theirs, log))
		_, err = New(c)
		require.ErrorIs(t, err, errLogOwner)
		require.ErrorContains(t, err, log)
		_, err = Verify(c.DataDir)
		require.ErrorIs(t, err, errLogOwner)
	})
}

func TestConfigRefusesAnUnknownLogStore(t *testing.T) {
	t.Parallel()
	c := testNode(t, "n1")
	c.LogStore = "paper"
	_, err := New(c)
	require.ErrorIs(t, err, ErrConfig)
	require.ErrorContains(t, err, `log store "paper": must be bolt or wal`)
}
