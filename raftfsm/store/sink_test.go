package store

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

// TestBlocksAreWrittenOnce: from its flush on, a table of blocks is moved and never
// written again, however often the dedup keys beside it are.
func TestBlocksAreWrittenOnce(t *testing.T) {
	t.Parallel()
	s, err := Open(testDir, Options{FS: vfs.NewMem()})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()

	random := rand.NewChaCha8([32]byte{})
	noise := make([]byte, 256<<10)
	written := make(map[uint64]bool)
	for flush := range sublevels {
		for i := range 5 {
			_, _ = random.Read(noise)
			payload := fmt.Sprintf("%q", base64.StdEncoding.EncodeToString(noise))
			publish(t, s, event("a", fmt.Sprint(flush, i), payload))
		}
		_, err := s.Flush()
		require.NoError(t, err)
		require.Eventually(t, func() bool { return len(tablesOfBlocks(t, s, 0)) == 0 }, 10*time.Second, time.Millisecond)
		for table := range tablesOfBlocks(t, s, -1) {
			written[table] = true
		}
	}
	metrics := s.gen.db.Metrics()
	require.Positive(t, metrics.Compact.DefaultCount, "the dedup keys were never compacted:\n%s", metrics)
	require.Equal(t, written, tablesOfBlocks(t, s, -1))
	require.Len(t, written, sublevels)
}

// tablesOfBlocks are the tables that hold blocks, in one level or, for -1, in all.
func tablesOfBlocks(t *testing.T, s *Store, level int) map[uint64]bool {
	t.Helper()
	levels, err := s.gen.db.SSTables()
	require.NoError(t, err)
	tables := make(map[uint64]bool)
	for at, infos := range levels {
		for _, info := range infos {
			if info.Smallest.UserKey[0] == kindBlock && (at == level || level < 0) {
				tables[uint64(info.FileNum)] = true
			}
		}
	}
	return tables
}
