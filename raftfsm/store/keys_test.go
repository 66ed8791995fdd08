package store

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
)

// FuzzKeys: a key that is taken is one that is made, and of one kind only.
func FuzzKeys(f *testing.F) {
	f.Add([]byte{})
	f.Add(blockKey(1))
	f.Add(blockKey(1<<64 - 1))
	f.Add(topicKey(2, 3))
	f.Add(topicMetaKey(4))
	f.Add(ledgerKey())
	f.Add(namedKey("machine"))
	f.Add(dedupBytes(newDedupKey(5, []byte("event"))))
	f.Add(append(blockKey(1), 0))
	f.Fuzz(func(t *testing.T, key []byte) {
		taken := 0
		if first, err := parseBlockKey(key); err == nil {
			taken++
			require.Equal(t, key, blockKey(first))
		} else {
			require.ErrorIs(t, err, oncelog.ErrCorrupt)
		}
		if topic, first, err := parseTopicKey(key); err == nil {
			taken++
			require.Equal(t, key, topicKey(topic, first))
		} else {
			require.ErrorIs(t, err, oncelog.ErrCorrupt)
		}
		if k, err := parseDedupKey(key); err == nil {
			taken++
			require.Equal(t, key, dedupBytes(k))
		} else {
			require.ErrorIs(t, err, oncelog.ErrCorrupt)
		}
		if topic, ok := parseTopicMetaKey(key); ok {
			taken++
			require.Equal(t, key, topicMetaKey(topic))
		}
		require.LessOrEqual(t, taken, 1)
	})
}

// FuzzKeyOrder: keys are ordered as what they are made of.
func FuzzKeyOrder(f *testing.F) {
	f.Add(uint32(1), uint64(2), uint64(3), uint32(1), uint64(2), uint64(4))
	f.Add(uint32(255), uint64(0), uint64(0), uint32(256), uint64(0), uint64(0))
	f.Fuzz(func(t *testing.T, topicA uint32, a, loA uint64, topicB uint32, b, loB uint64) {
		x, y := dedupKey{topicA, a, loA}, dedupKey{topicB, b, loB}
		require.Equal(t, x.compare(y), bytes.Compare(dedupBytes(x), dedupBytes(y)))
		require.Equal(t, x.compare(dedupKey{topicA, b, 0}), bytes.Compare(dedupBytes(x), dedupBytes(dedupKey{topicA, b, 0})))
		require.Equal(t, a < b, bytes.Compare(blockKey(a), blockKey(b)) < 0)
		require.Equal(t, a < b, bytes.Compare(topicKey(topicA, a), topicKey(topicA, b)) < 0)
	})
}

func dedupBytes(k dedupKey) []byte {
	key := make([]byte, dedupKeyLen)
	k.put(key)
	return key
}
