package node

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/google/uuid"
)

// Every connection to a node port begins with a preamble, so that a stranger, a
// clone or a wiped node at an old address is told apart before a word of Raft is
// spoken. The layout, big endian; docs/formats.md has the table:
//
//	 0  4    "ONCE"
//	 4  u8   version, 1
//	 5  u8   stream kind
//	 6  u16  group, 0
//	 8  16   cluster id; zero where the dialer has none yet
//	24  16   node id of the target
//	40  16   node id of the dialer
//	56  u32  CRC-32C of bytes 0 to 55
//
// The answer is 8 bytes: "ONCE", version u8, answer u8, two zero bytes.
const (
	preambleSize    = 60
	answerSize      = 8
	preambleVersion = 1
)

var preambleMagic = [4]byte{'O', 'N', 'C', 'E'}

// streamKind is what a connection to the node port carries.
type streamKind uint8

const (
	// streamRaft carries Raft's own protocol.
	streamRaft streamKind = 1
	// streamCalls carries the frames of calls between nodes. Early programs had 2,
	// for HTTP/2.
	streamCalls streamKind = 3
)

// answer is what the accepting side makes of a preamble.
type answer uint8

const (
	accepted     answer = 0
	badPreamble  answer = 1
	wrongCluster answer = 2
	wrongTarget  answer = 3
	wrongKind    answer = 4
	wrongGroup   answer = 5
)

// errRefused is a connection that the other side did not want.
var errRefused = errors.New("the node port refused the connection")

func (a answer) err() error {
	switch a {
	case accepted:
		return nil
	case badPreamble:
		return fmt.Errorf("%w: it does not know version %d of the node port; the two need programs of one version", errRefused, preambleVersion)
	case wrongCluster:
		return fmt.Errorf("%w: that node belongs to another cluster", errRefused)
	case wrongTarget:
		return fmt.Errorf("%w: another node answers at that address", errRefused)
	case wrongKind, wrongGroup:
		return fmt.Errorf("%w: it does not carry such a stream", errRefused)
	default:
		return fmt.Errorf("%w: with answer %d", errRefused, a)
	}
}

// preamble is who wants what from whom.
type preamble struct {
	kind            streamKind
	group           uint16
	cluster         uuid.UUID
	target, dialler uuid.UUID
}

func (p preamble) encode() [preambleSize]byte {
	var b [preambleSize]byte
	copy(b[:], preambleMagic[:])
	b[4], b[5] = preambleVersion, byte(p.kind)
	binary.BigEndian.PutUint16(b[6:], p.group)
	copy(b[8:], p.cluster[:])
	copy(b[24:], p.target[:])
	copy(b[40:], p.dialler[:])
	binary.BigEndian.PutUint32(b[56:], crc32.Checksum(b[:56], castagnoli))
	return b
}

var errBadPreamble = errors.New("no preamble")

func decodePreamble(b [preambleSize]byte) (preamble, error) {
	switch {
	case [4]byte(b[:4]) != preambleMagic:
		return preamble{}, fmt.Errorf("%w: it begins with %q", errBadPreamble, b[:4])
	case b[4] != preambleVersion:
		return preamble{}, fmt.Errorf("%w: version %d; this program knows version %d", errBadPreamble, b[4], preambleVersion)
	case binary.BigEndian.Uint32(b[56:]) != crc32.Checksum(b[:56], castagnoli):
		return preamble{}, fmt.Errorf("%w: wrong checksum", errBadPreamble)
	}
	return preamble{
		kind:    streamKind(b[5]),
		group:   binary.BigEndian.Uint16(b[6:]),
		cluster: uuid.UUID(b[8:24]),
		target:  uuid.UUID(b[24:40]),
		dialler: uuid.UUID(b[40:56]),
	}, nil
}

func encodeAnswer(a answer) [answerSize]byte {
	var b [answerSize]byte
	copy(b[:], preambleMagic[:])
	b[4], b[5] = preambleVersion, byte(a)
	return b
}

func decodeAnswer(b [answerSize]byte) (answer, error) {
	if [4]byte(b[:4]) != preambleMagic {
		return 0, fmt.Errorf("%w: the answer begins with %q", errBadPreamble, b[:4])
	}
	return answer(b[5]), nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)
