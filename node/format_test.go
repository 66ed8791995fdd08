package node

import (
	"archive/zip"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/raftfsm/store"
)

// firstFormat unpacks a data directory that the first version wrote: 300 events
// of a load, an orderly restart, three events more, and then a kill -9, so that
// they are in the Raft log alone.
func firstFormat(t *testing.T) string {
	t.Helper()
	archive, err := zip.OpenReader(filepath.Join("testdata", "format-1.zip"))
	require.NoError(t, err)
	defer func() { require.NoError(t, archive.Close()) }()
	dir := filepath.Join(t.TempDir(), "format-1")
	require.NoError(t, os.CopyFS(dir, archive))
	return dir
}

// What the version that wrote the directory told of it.
const firstFormatDigest = "sha256:9dd434c27977497a889dd618797be37312d6d27d68c00643ea834ad2f64cf34c"

// What the first version wrote is read by this one, to the byte.
func TestTheFirstFormatOpens(t *testing.T) {
	t.Parallel()
	c := testNode(t, "format-1")
	c.DataDir = firstFormat(t)
	v, err := Verify(c.DataDir)
	require.NoError(t, err)
	require.Equal(t, uint64(46), v.Store.Applied.Index)
	require.Equal(t, uint64(49), v.LastIndex)

	n := start(t, c)
	awaitReady(t, n)
	state, digest := n.group.fsm.State()
	require.Equal(t, store.Counters{Received: 303, Unique: 212, Duplicates: 91, Conflicts: 1}, state.Counters)
	require.Equal(t, firstFormatDigest, digest.String())
	var last []oncelog.Record
	for r, err := range n.Events(t.Context(), oncelog.Query{After: 210}, oncelog.Linearizable) {
		require.NoError(t, err)
		last = append(last, r)
	}
	require.Len(t, last, 2)
	require.Equal(t, oncelog.Key{Topic: "größe", EventID: "日本"}, last[0].Key())
	const payload = `{"big":123456789012345678901234567890,"esc":"\u0041\n","nest":[[{}]]}`
	require.Zero(t, strings.Compare(payload, string(last[0].Payload)), "%s is not the same to the byte", last[0].Payload)
	require.Equal(t, "1678-01-01T00:00:00Z", last[0].Timestamp.Format("2006-01-02T15:04:05Z07:00"))

	again := oncelog.Event{Topic: "größe", EventID: "日本", Source: "x", Timestamp: last[0].Timestamp, Payload: last[0].Payload}
	receipts, err := n.Publish(t.Context(), again)
	require.NoError(t, err)
	require.Equal(t, oncelog.Receipt{Key: again.Key(), Status: oncelog.Duplicate, ID: 211}, receipts[0])
}

// A later version's directory is refused by name, and left as it is.
func TestALaterFormatIsRefusedByName(t *testing.T) {
	t.Parallel()
	c := testNode(t, "format-1")
	c.DataDir = firstFormat(t)
	path := filepath.Join(c.DataDir, identityFile)
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	var own map[string]any
	require.NoError(t, json.Unmarshal(data, &own))
	own["version"] = 2
	data, err = json.Marshal(own)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, data, 0o600))
	_, err = New(c)
	require.ErrorIs(t, err, ErrForeignDirectory)
	require.ErrorContains(t, err, "has version 2; this program knows version 1")
}
