package node

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

func TestIdentityIsKept(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new", "deep")
	first, err := openIdentity(dir, "n1")
	require.NoError(t, err)
	a := first.get()
	require.NotEqual(t, uuid.Nil, a.NodeID)
	require.Equal(t, uint64(1), a.Run)

	_, err = openIdentity(dir, "n1")
	require.ErrorIs(t, err, ErrDirectoryInUse)
	require.ErrorContains(t, err, dir)

	cluster := uuid.New()
	require.NoError(t, first.belongTo(cluster))
	require.NoError(t, first.belongTo(cluster))
	require.ErrorIs(t, first.belongTo(uuid.New()), ErrForeignDirectory)
	require.NoError(t, first.Close())

	again, err := openIdentity(dir, "n1")
	require.NoError(t, err)
	b := again.get()
	require.Equal(t, a.NodeID, b.NodeID)
	require.Equal(t, cluster, b.ClusterID)
	require.Equal(t, uint64(2), b.Run, "each start is a new session")
	require.NoError(t, again.Close())
}

func TestIdentityRefusesForeignDirectories(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, file, content, want string
	}{
		{"something else's", "holiday.jpg", "x", "is not empty and has no node.json"},
		{"another node's", identityFile, `{"version":1,"node_id":"7b0b8e55-2c88-4f0d-9b39-3b6b0d9b1a11","name":"n2","run":3}`, `belongs to node "n2", not "n1"`},
		{"of a later version", identityFile, `{"version":2,"node_id":"7b0b8e55-2c88-4f0d-9b39-3b6b0d9b1a11","name":"n1"}`, "has version 2"},
		{"without an id", identityFile, `{"version":1,"name":"n1"}`, "has no node id"},
		{"damaged", identityFile, `{"version":1,`, "node.json"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(dir, test.file), []byte(test.content), 0o600))
			_, err := openIdentity(dir, "n1")
			require.ErrorIs(t, err, ErrForeignDirectory)
			require.ErrorContains(t, err, test.want)
			left, err := os.ReadFile(filepath.Join(dir, test.file))
			require.NoError(t, err)
			require.Equal(t, test.content, string(left), "nothing was changed")
		})
	}
}

func TestIdentitySurvivesACrashWhileItIsWritten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, identityFile+".new"), []byte(`{"ver`), 0o600))
	id, err := openIdentity(dir, "n1")
	require.NoError(t, err)
	require.NoError(t, id.Close())
}

// The files of a directory that is removed under a running node still take writes and
// syncs, and no start finds them again: the node must not go on acknowledging.
func TestANodeWhoseDirectoryIsGoneStops(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		lose func(dir string) error
	}{
		{"removed", os.RemoveAll},
		{"moved", func(dir string) error { return os.Rename(dir, dir+".old") }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := testNode(t, "alone")
			n, err := New(c)
			require.NoError(t, err)
			require.Eventually(t, func() bool { return n.identity.get().MemberAt > 0 }, 20*time.Second, time.Millisecond)
			require.NoError(t, test.lose(c.DataDir))
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			err = n.Run(ctx)
			require.ErrorIs(t, err, ErrForeignDirectory)
			require.ErrorContains(t, err, "while the node ran")
		})
	}
}
