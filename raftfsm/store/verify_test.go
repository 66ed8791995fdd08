package store

import (
	"bytes"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
)

// TestVerifyFindsWhatChecksumsDoNot changes a database through Pebble, so that
// every checksum is right and the content is not.
func TestVerifyFindsWhatChecksumsDoNot(t *testing.T) {
	t.Parallel()
	one, two := event("a", "1", `{"n":1}`), event("b", "2", `{"n":2}`)
	other := rawRecord(AppendRecord(nil, event("a", "1", `{"n":9}`)))
	forged := make([]byte, blockLen([]rawRecord{other}))
	putBlock(forged, 1, []rawRecord{other})
	dedup := make([]byte, dedupKeyLen)
	newDedupKey(0, []byte("1")).put(dedup)
	wrongID := make([]byte, dedupValueLen)
	stored{id: 3}.put(wrongID)

	for name, tamper := range map[string]func(*pebble.DB) error{
		"another payload": func(db *pebble.DB) error { return db.Set(blockKey(1), forged, pebble.NoSync) },
		"a missing block": func(db *pebble.DB) error { return db.Delete(blockKey(1), pebble.NoSync) },
		"an extra block":  func(db *pebble.DB) error { return db.Set(blockKey(3), forged, pebble.NoSync) },
		"a missing key":   func(db *pebble.DB) error { return db.Delete(dedup, pebble.NoSync) },
		"a key of no event": func(db *pebble.DB) error {
			return db.Set(dedup, wrongID, pebble.NoSync)
		},
		"a missing index entry": func(db *pebble.DB) error { return db.Delete(topicKey(1, 2), pebble.NoSync) },
		"a missing topic":       func(db *pebble.DB) error { return db.Delete(topicMetaKey(0), pebble.NoSync) },
		"a renamed topic": func(db *pebble.DB) error {
			renamed := topic{name: "c", count: 1, last: 1}
			return db.Set(topicMetaKey(0), renamed.encode(), pebble.NoSync)
		},
		"topics exchanged": func(db *pebble.DB) error {
			first, second := topic{name: "b", count: 1, last: 1}, topic{name: "a", count: 1, last: 2}
			if err := db.Set(topicMetaKey(0), first.encode(), pebble.NoSync); err != nil {
				return err
			}
			second.count, first.count = 2, 0
			return db.Set(topicMetaKey(1), second.encode(), pebble.NoSync)
		},
		"a missing ledger": func(db *pebble.DB) error { return db.Delete(ledgerKey(), pebble.NoSync) },
		"an older ledger": func(db *pebble.DB) error {
			l := ledger{applied: Position{Index: 1, Term: 1}, Counters: Counters{Received: 1, Unique: 1}}
			return db.Set(ledgerKey(), l.encode(), pebble.NoSync)
		},
		"an unknown key": func(db *pebble.DB) error { return db.Set([]byte("z"), nil, pebble.NoSync) },
	} {
		s := openStore(t, vfs.NewMem())
		publish(t, s, one)
		publish(t, s, two)
		_, err := verify(s.gen.db)
		require.NoError(t, err)
		require.NoError(t, tamper(s.gen.db))
		_, err = verify(s.gen.db)
		require.ErrorIs(t, err, oncelog.ErrCorrupt, name)

		require.NoError(t, s.gen.db.Flush())
		dir := s.transientDir(checkpointPrefix)
		require.NoError(t, s.gen.db.Checkpoint(dir))
		c := &Checkpoint{fs: s.fs, dir: dir}
		require.NoError(t, c.list())
		stream := new(bytes.Buffer)
		_, err = stream.ReadFrom(c.Reader())
		require.NoError(t, err)
		_, err = s.Receive(stream)
		require.ErrorIs(t, err, oncelog.ErrCorrupt, name)
		require.ErrorContains(t, err, incomingPrefix, "the snapshot is named")
		require.NoError(t, c.Close())
		if err := s.Close(); err != nil {
			require.ErrorIs(t, err, oncelog.ErrCorrupt, "the flush notices a missing ledger")
		}
	}
}
