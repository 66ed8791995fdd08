package raftfsm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/google/uuid"

	"github.com/oncelog/oncelog/raftfsm/store"
)

// ErrBadCommand is an entry that is no command: damaged, or of a version that
// this program does not know.
var ErrBadCommand = errors.New("bad command")

// MaxCommandBytes bounds the commands that a node makes of small events. One
// event above it travels alone. Raft copes best with few entries of this size.
const MaxCommandBytes = 512 << 10

// Kind says what a command does.
type Kind uint8

const (
	// KindPublish carries batches of events.
	KindPublish Kind = 1
	// KindOpen is a leader's first command of its term: once it is applied, so is
	// everything of the terms before. It carries the cluster's id.
	KindOpen Kind = 2
)

// The layout of a command, all numbers big endian. docs/formats.md has the table.
//
//	 0  u8   version, 1
//	 1  u8   kind
//	 2  u16  group, 0: room for several Raft groups
//	 4  u32  CRC-32C of bytes 0 to 3 and 8 to the end
//	 8  i64  processed_at, nanoseconds since 1970; 0 until the leader stamps it
//	16       the kind's body
const (
	commandVersion = 1
	commandHeader  = 16
)

// The layout of a batch in a publish command's body; batches follow each other.
//
//	 0  16   node id
//	16  u64  run
//	24  u64  number
//	32  u64  settled
//	40  u32  number of events
//	44  u32  length of the records in bytes
//	48       records, as the store keeps them
const batchHeader = 48

// SessionID names one run of one node's process.
type SessionID struct {
	Node uuid.UUID
	// Run grows with each start of the node.
	Run uint64
}

// Batch is the events that one node proposes at once.
type Batch struct {
	Session SessionID
	// Number identifies the batch within its session: 1, 2, 3 and so on.
	Number uint64
	// Settled is the session's lowest number that still waits for its answer.
	// The node will never send a lower one again. At most Number.
	Settled uint64
	Events  int
	// Records are the events in their stored form, one after the other.
	Records []byte
}

// Command is a decoded entry.
type Command struct {
	Kind        Kind
	Group       uint16
	ProcessedAt int64
	// Batches is for KindPublish; their records are parts of the decoded data.
	Batches []Batch
	// Cluster is for KindOpen.
	Cluster uuid.UUID
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// EncodePublish makes a command of one batch; its records are the parts, joined.
// The leader has yet to stamp it.
func EncodePublish(b Batch, parts ...[]byte) []byte {
	size := 0
	for _, p := range parts {
		size += len(p)
	}
	data := make([]byte, commandHeader, commandHeader+batchHeader+size)
	data[0], data[1] = commandVersion, byte(KindPublish)
	data = append(data, b.Session.Node[:]...)
	data = binary.BigEndian.AppendUint64(data, b.Session.Run)
	data = binary.BigEndian.AppendUint64(data, b.Number)
	data = binary.BigEndian.AppendUint64(data, b.Settled)
	data = binary.BigEndian.AppendUint32(data, uint32(b.Events))
	data = binary.BigEndian.AppendUint32(data, uint32(size))
	for _, p := range parts {
		data = append(data, p...)
	}
	seal(data)
	return data
}

// EncodeOpen makes a leader's first command of its term.
func EncodeOpen(cluster uuid.UUID) []byte {
	data := make([]byte, commandHeader, commandHeader+len(cluster))
	data[0], data[1] = commandVersion, byte(KindOpen)
	data = append(data, cluster[:]...)
	seal(data)
	return data
}

// Stamp sets the time at which the leader takes a command, in place. The data
// must have been decoded without an error.
func Stamp(data []byte, processedAt int64) {
	binary.BigEndian.PutUint64(data[8:], uint64(processedAt))
	seal(data)
}

func seal(data []byte) { binary.BigEndian.PutUint32(data[4:], checksum(data)) }

func checksum(data []byte) uint32 {
	return crc32.Update(crc32.Checksum(data[:4], castagnoli), castagnoli, data[8:])
}

// Decode reads a command and checks all of it, the records too. Every error is
// an [ErrBadCommand]. The command shares data's memory.
func Decode(data []byte) (Command, error) {
	if len(data) < commandHeader {
		return Command{}, fmt.Errorf("%w: %d bytes are no header", ErrBadCommand, len(data))
	}
	if v := data[0]; v != commandVersion {
		return Command{}, fmt.Errorf("%w: version %d; this program knows version %d", ErrBadCommand, v, commandVersion)
	}
	if want, got := binary.BigEndian.Uint32(data[4:]), checksum(data); want != got {
		return Command{}, fmt.Errorf("%w: checksum is %08x, not %08x", ErrBadCommand, got, want)
	}
	c := Command{
		Kind:        Kind(data[1]),
		Group:       binary.BigEndian.Uint16(data[2:]),
		ProcessedAt: int64(binary.BigEndian.Uint64(data[8:])),
	}
	if c.Group != 0 {
		return Command{}, fmt.Errorf("%w: group %d; this program knows group 0", ErrBadCommand, c.Group)
	}
	body := data[commandHeader:]
	switch c.Kind {
	case KindPublish:
		return decodeBatches(c, body)
	case KindOpen:
		if len(body) != len(c.Cluster) {
			return Command{}, fmt.Errorf("%w: a cluster id of %d bytes", ErrBadCommand, len(body))
		}
		copy(c.Cluster[:], body)
		return c, nil
	default:
		return Command{}, fmt.Errorf("%w: unknown kind %d", ErrBadCommand, c.Kind)
	}
}

func decodeBatches(c Command, body []byte) (Command, error) {
	for len(body) > 0 {
		b, rest, err := decodeBatch(body)
		if err != nil {
			return Command{}, fmt.Errorf("%w: batch %d: %w", ErrBadCommand, len(c.Batches), err)
		}
		c.Batches = append(c.Batches, b)
		body = rest
	}
	if len(c.Batches) == 0 {
		return Command{}, fmt.Errorf("%w: no batch", ErrBadCommand)
	}
	return c, nil
}

func decodeBatch(body []byte) (b Batch, rest []byte, err error) {
	if len(body) < batchHeader {
		return Batch{}, nil, fmt.Errorf("%d bytes are no header", len(body))
	}
	copy(b.Session.Node[:], body)
	b.Session.Run = binary.BigEndian.Uint64(body[16:])
	b.Number = binary.BigEndian.Uint64(body[24:])
	b.Settled = binary.BigEndian.Uint64(body[32:])
	b.Events = int(binary.BigEndian.Uint32(body[40:]))
	size := int(binary.BigEndian.Uint32(body[44:]))
	body = body[batchHeader:]
	switch {
	case size > len(body):
		return Batch{}, nil, fmt.Errorf("records of %d bytes where %d are left", size, len(body))
	case b.Number == 0 || b.Settled == 0 || b.Settled > b.Number:
		return Batch{}, nil, fmt.Errorf("number %d with %d settled", b.Number, b.Settled)
	}
	b.Records = body[:size:size]
	n, err := store.CountRecords(b.Records)
	if err != nil {
		return Batch{}, nil, err
	}
	if n != b.Events || n == 0 {
		return Batch{}, nil, fmt.Errorf("%d records where the header says %d", n, b.Events)
	}
	return b, body[size:], nil
}
