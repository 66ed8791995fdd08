package store

import (
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
)

// What only a look-up of every record finds: all entries are there, well formed,
// and say the wrong thing.
func TestVerifyOfflineHoldsEveryIndexAgainstEveryRecord(t *testing.T) {
	t.Parallel()
	key := func(topic uint32, id string) []byte {
		k := make([]byte, dedupKeyLen)
		newDedupKey(topic, []byte(id)).put(k)
		return k
	}
	value := func(v stored) []byte {
		b := make([]byte, dedupValueLen)
		v.put(b)
		return b
	}
	hashOf := func(payload string) uint64 {
		return rawRecord(AppendRecord(nil, event("a", "1", payload))).payloadHash()
	}
	count := func(n byte) []byte { return []byte{0, 0, 0, n} }
	for want, tamper := range map[string]func(*pebble.Batch) error{
		"": func(*pebble.Batch) error { return nil },
		"event 1: the dedup index says event 2": func(b *pebble.Batch) error {
			if err := b.Set(key(0, "1"), value(stored{2, hashOf(`{"n":1}`)}), nil); err != nil {
				return err
			}
			return b.Set(key(0, "2"), value(stored{1, hashOf(`{"n":2}`)}), nil)
		},
		"event 2: the dedup index": func(b *pebble.Batch) error {
			return b.Set(key(0, "2"), value(stored{2, hashOf(`{"n":1}`)}), nil)
		},
		"event 1: dedup index: corrupt data: it is missing": func(b *pebble.Batch) error {
			if err := b.Delete(key(0, "1"), nil); err != nil {
				return err
			}
			return b.Set(key(0, "x"), value(stored{1, 0}), nil)
		},
		`block 1 has 2 events of topic "a"; the topic index says 1`: func(b *pebble.Batch) error {
			if err := b.Set(topicKey(0, 1), count(1), nil); err != nil {
				return err
			}
			return b.Set(topicKey(1, 3), count(2), nil)
		},
		"block 3: topic index: corrupt data: it is missing": func(b *pebble.Batch) error {
			if err := b.Delete(topicKey(1, 3), nil); err != nil {
				return err
			}
			return b.Set(topicKey(1, 1), count(1), nil)
		},
	} {
		fs := vfs.NewMem()
		s := openStore(t, fs)
		publish(t, s, event("a", "1", `{"n":1}`), event("a", "2", `{"n":2}`))
		publish(t, s, event("b", "1", `{"n":3}`))
		txn := s.Begin()
		txn.SetMeta("mine", []byte("value"))
		require.NoError(t, txn.Commit(Position{Index: 3, Term: 1}))
		state := s.State()
		b := s.gen.db.NewBatch()
		require.NoError(t, tamper(b))
		require.NoError(t, b.Commit(pebble.NoSync))
		require.NoError(t, s.Close())

		meta := map[string]string{}
		got, err := Verify(testDir, Options{FS: fs}, func(name string, value []byte) error {
			meta[name] = string(value)
			return nil
		})
		if want == "" {
			require.NoError(t, err)
			require.Equal(t, state, got)
			require.Equal(t, map[string]string{"mine": "value"}, meta)
			continue
		}
		require.ErrorIs(t, err, oncelog.ErrCorrupt, want)
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, testDir)
	}
}

func TestVerifyOfflineLeavesARunningStoreAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := Open(dir, Options{})
	require.NoError(t, err)
	_, err = Verify(dir, Options{}, nil)
	require.ErrorContains(t, err, "lock")
	require.NoError(t, s.Close())
}

func TestVerifyOfflineMakesNothing(t *testing.T) {
	t.Parallel()
	_, err := Verify(t.TempDir()+"/none", Options{}, nil)
	require.Error(t, err)
}
