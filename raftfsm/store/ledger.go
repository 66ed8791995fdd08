package store

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"

	"github.com/oncelog/oncelog"
)

// Position is a place in the Raft log. The zero Position is before all entries.
type Position struct{ Index, Term uint64 }

// Counters count events since the log began. Received = Unique + Duplicates, and
// Unique is also the id of the newest event.
type Counters struct {
	Received   uint64
	Unique     uint64
	Duplicates uint64
	// Conflicts counts the duplicates whose payload was not the stored one.
	Conflicts uint64
}

// add counts further events.
func (c *Counters) add(more Counters) {
	c.Received += more.Received
	c.Unique += more.Unique
	c.Duplicates += more.Duplicates
	c.Conflicts += more.Conflicts
}

// Range is the ids that one batch stored: First and the Count-1 after it. A Count
// of 0 is none.
type Range struct{ First, Count uint64 }

// contains reports whether id lies in the range.
func (r Range) contains(id uint64) bool { return id >= r.First && id-r.First < r.Count }

// ledgerVersion is the version of the whole keyspace. Another one is refused.
const ledgerVersion = 1

// ErrFormat says that the data is in a format that this program does not know.
var ErrFormat = errors.New("unknown format version")

// ledgerLen is the length of an encoded ledger:
//
//	 0  u8       version, 1
//	 1  2 × u64  applied index, term
//	17  4 × u64  received, unique, duplicates, conflicts
//	49  32       digest chain
const ledgerLen = 1 + 6*8 + sha256.Size

// ledger is the state of the log in numbers after one position.
type ledger struct {
	applied Position
	Counters
	chain chain
}

func (l *ledger) encode() []byte {
	b := make([]byte, 0, ledgerLen)
	b = append(b, ledgerVersion)
	for _, n := range l.numbers() {
		b = binary.BigEndian.AppendUint64(b, *n)
	}
	return append(b, l.chain[:]...)
}

func decodeLedger(value []byte) (ledger, error) {
	var l ledger
	if len(value) == 0 {
		return l, fmt.Errorf("%w: the ledger is empty", oncelog.ErrCorrupt)
	}
	if value[0] != ledgerVersion {
		return l, fmt.Errorf("%w %d; this program knows %d", ErrFormat, value[0], ledgerVersion)
	}
	if len(value) != ledgerLen {
		return l, fmt.Errorf("%w: ledger of %d bytes", oncelog.ErrCorrupt, len(value))
	}
	value = value[1:]
	for _, n := range l.numbers() {
		*n, value = binary.BigEndian.Uint64(value), value[8:]
	}
	copy(l.chain[:], value)
	if l.Received != l.Unique+l.Duplicates || l.Conflicts > l.Duplicates {
		return l, fmt.Errorf("%w: counters do not add up: %+v", oncelog.ErrCorrupt, l.Counters)
	}
	return l, nil
}

// numbers lists the fields in the order of the encoding.
func (l *ledger) numbers() [6]*uint64 {
	return [...]*uint64{&l.applied.Index, &l.applied.Term, &l.Received, &l.Unique, &l.Duplicates, &l.Conflicts}
}

// chain is the running hash of all blocks: each link is the SHA-256 of the link
// before it, the block's key and the block's value.
type chain [sha256.Size]byte

func (c *chain) extend(h hash.Hash, key, value []byte) {
	h.Reset()
	h.Write(c[:])
	h.Write(key)
	h.Write(value)
	h.Sum(c[:0])
}

// topic is one topic's share of the log. Its id is its place in the list.
type topic struct {
	name  string
	count uint64
	last  uint64
}

func (t *topic) encode() []byte {
	b := make([]byte, 0, 16+len(t.name))
	b = binary.BigEndian.AppendUint64(b, t.count)
	b = binary.BigEndian.AppendUint64(b, t.last)
	return append(b, t.name...)
}

func decodeTopic(value []byte) (topic, error) {
	if len(value) <= 16 || len(value) > 16+oncelog.MaxNameBytes {
		return topic{}, fmt.Errorf("%w: topic of %d bytes", oncelog.ErrCorrupt, len(value))
	}
	return topic{
		count: binary.BigEndian.Uint64(value),
		last:  binary.BigEndian.Uint64(value[8:]),
		name:  string(value[16:]),
	}, nil
}

// digest is the hash of the whole state: the chain, the counters, and the topics
// in the order of their ids.
func digest(l *ledger, topics []topic) [sha256.Size]byte {
	h := sha256.New()
	h.Write(l.chain[:])
	var b []byte
	for _, n := range []uint64{l.Received, l.Unique, l.Duplicates, l.Conflicts, uint64(len(topics))} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	h.Write(b)
	for i := range topics {
		b = append(b[:0], byte(len(topics[i].name)))
		h.Write(append(b, topics[i].encode()...))
	}
	return [sha256.Size]byte(h.Sum(nil))
}
