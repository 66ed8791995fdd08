package store

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/oncelog/oncelog"
)

// The letters that keys begin with.
const (
	kindBlock = 'b'
	kindDedup = 'd'
	kindMeta  = 'm'
	kindTopic = 't'
)

// The kinds of metadata, the second letter after kindMeta.
const (
	metaLedger = 's'
	metaTopic  = 't'
	metaNamed  = 'x'
)

const (
	blockKeyLen   = 1 + 8
	dedupKeyLen   = 1 + 4 + 16
	dedupValueLen = 8 + 8
	topicKeyLen   = 1 + 4 + 8
	topicValueLen = 4

	topicMetaKeyLen = 1 + 1 + 4
)

func putBlockKey(dst []byte, first uint64) {
	dst[0] = kindBlock
	binary.BigEndian.PutUint64(dst[1:], first)
}

func blockKey(first uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{kindBlock}, first)
}

func parseBlockKey(key []byte) (first uint64, err error) {
	if len(key) != blockKeyLen || key[0] != kindBlock {
		return 0, fmt.Errorf("%w: key %x of a block", oncelog.ErrCorrupt, key)
	}
	return binary.BigEndian.Uint64(key[1:]), nil
}

func putTopicKey(dst []byte, topic uint32, first uint64) {
	dst[0] = kindTopic
	binary.BigEndian.PutUint32(dst[1:], topic)
	binary.BigEndian.PutUint64(dst[5:], first)
}

func topicKey(topic uint32, first uint64) []byte {
	key := make([]byte, topicKeyLen)
	putTopicKey(key, topic, first)
	return key
}

func parseTopicKey(key []byte) (topic uint32, first uint64, err error) {
	if len(key) != topicKeyLen || key[0] != kindTopic {
		return 0, 0, fmt.Errorf("%w: key %x of a topic index entry", oncelog.ErrCorrupt, key)
	}
	return binary.BigEndian.Uint32(key[1:]), binary.BigEndian.Uint64(key[5:]), nil
}

func putTopicCount(dst []byte, count uint32) { binary.BigEndian.PutUint32(dst, count) }

func ledgerKey() []byte { return []byte{kindMeta, metaLedger} }

func topicMetaKey(topic uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{kindMeta, metaTopic}, topic)
}

// parseTopicMetaKey reports whether a key is that of a topic's metadata, and whose.
func parseTopicMetaKey(key []byte) (topic uint32, ok bool) {
	if len(key) != topicMetaKeyLen || key[0] != kindMeta || key[1] != metaTopic {
		return 0, false
	}
	return binary.BigEndian.Uint32(key[2:]), true
}

func namedKey(name string) []byte { return append([]byte{kindMeta, metaNamed}, name...) }

// after returns the first key behind all keys of a kind.
func after(kind byte) []byte { return []byte{kind + 1} }

// dedupKey identifies an event: its topic and 128 bits of its event id's SHA-256.
// It is kept as integers, which compare and hash faster than bytes.
type dedupKey struct {
	topic  uint32
	hi, lo uint64
}

func newDedupKey(topic uint32, eventID []byte) dedupKey {
	digest := sha256.Sum256(eventID)
	return dedupKey{
		topic: topic,
		hi:    binary.BigEndian.Uint64(digest[:]),
		lo:    binary.BigEndian.Uint64(digest[8:]),
	}
}

// compare orders keys as their bytes in the database are ordered.
func (k dedupKey) compare(other dedupKey) int {
	if k.topic != other.topic {
		return cmp.Compare(k.topic, other.topic)
	}
	if k.hi != other.hi {
		return cmp.Compare(k.hi, other.hi)
	}
	return cmp.Compare(k.lo, other.lo)
}

func (k dedupKey) put(dst []byte) {
	dst[0] = kindDedup
	binary.BigEndian.PutUint32(dst[1:], k.topic)
	binary.BigEndian.PutUint64(dst[5:], k.hi)
	binary.BigEndian.PutUint64(dst[13:], k.lo)
}

// parseDedupKey is the reverse of put.
func parseDedupKey(key []byte) (dedupKey, error) {
	if len(key) != dedupKeyLen || key[0] != kindDedup {
		return dedupKey{}, fmt.Errorf("%w: key %x of a dedup entry", oncelog.ErrCorrupt, key)
	}
	return dedupKey{
		topic: binary.BigEndian.Uint32(key[1:]),
		hi:    binary.BigEndian.Uint64(key[5:]),
		lo:    binary.BigEndian.Uint64(key[13:]),
	}, nil
}

// stored is what the dedup index knows of an event. An id of 0 means that there
// is no such event.
type stored struct {
	id      uint64
	payload uint64
}

func (v stored) put(dst []byte) {
	binary.BigEndian.PutUint64(dst, v.id)
	binary.BigEndian.PutUint64(dst[8:], v.payload)
}

func parseStored(value []byte) (stored, error) {
	if len(value) != dedupValueLen {
		return stored{}, fmt.Errorf("%w: dedup entry of %d bytes", oncelog.ErrCorrupt, len(value))
	}
	v := stored{id: binary.BigEndian.Uint64(value), payload: binary.BigEndian.Uint64(value[8:])}
	if v.id == 0 {
		return stored{}, fmt.Errorf("%w: dedup entry without an id", oncelog.ErrCorrupt)
	}
	return v, nil
}
