package node

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
)

func TestVerifyADirectory(t *testing.T) {
	t.Parallel()
	c := testNode(t, "alone")
	n, err := New(c)
	require.NoError(t, err)
	_, err = n.publish(t.Context(), bulky(0, 300))
	require.NoError(t, err)
	_, err = n.publish(t.Context(), bulky(200, 400))
	require.NoError(t, err)
	stats, err := n.Stats(t.Context(), oncelog.Linearizable)
	require.NoError(t, err)
	_, err = Verify(c.DataDir)
	require.ErrorIs(t, err, ErrDirectoryInUse)
	require.NoError(t, n.Close())

	v, err := Verify(c.DataDir)
	require.NoError(t, err)
	require.Equal(t, stats.Digest, v.Store.Digest.String(), "what the running node told")
	require.Equal(t, uint64(400), v.Store.Unique)
	require.Equal(t, uint64(100), v.Store.Duplicates)
	require.Equal(t, n.identity.get().ClusterID, v.Cluster)
	require.Equal(t, 1, v.Store.Members)
	require.GreaterOrEqual(t, v.LastIndex, stats.AppliedIndex)

	again, err := New(c)
	require.NoError(t, err, "nothing was changed")
	require.NoError(t, again.Close())

	log := filepath.Join(c.DataDir, "raft.db")
	file, err := os.ReadFile(log)
	require.NoError(t, err)
	at := bytes.LastIndex(file, []byte("bulky-399"))
	require.Positive(t, at)
	file[at] ^= 1
	require.NoError(t, os.WriteFile(log, file, 0o600))
	_, err = Verify(c.DataDir)
	require.ErrorIs(t, err, oncelog.ErrCorrupt)
	require.ErrorContains(t, err, log)
}

func TestVerifyIsNoStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, err := Verify(dir)
	require.ErrorIs(t, err, os.ErrNotExist)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}
