package call

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// MaxBody bounds the body of a call and of a reply, in bytes.
const MaxBody = 8 << 20

// errBadFrame is a connection on which something else than frames came.
var errBadFrame = errors.New("no frame of a call")

// kind is what a frame is for.
type kind uint8

const (
	kindCall  kind = 1
	kindReply kind = 2
	kindPing  kind = 3
	kindPong  kind = 4
)

// frame is one message of a connection. The layout, big endian; docs/formats.md
// has the table:
//
//	 0  u32  length of the body
//	 4  u64  number of the call; 0 for a ping and a pong
//	12  u8   kind
//	13  u8   the method of a call, the status of a reply
//	14  u32  how long a call may take, in milliseconds; 0 for as long as it takes
//	18       the body
type frame struct {
	number uint64
	kind   kind
	code   uint8
	millis uint32
	body   []byte
}

const headSize = 18

func (f *frame) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(f.body)))
	dst = binary.BigEndian.AppendUint64(dst, f.number)
	dst = append(dst, byte(f.kind), f.code)
	dst = binary.BigEndian.AppendUint32(dst, f.millis)
	return append(dst, f.body...)
}

// readFrame reads the next frame, whose body has memory of its own. io.EOF is the
// end of the connection between two frames.
func readFrame(r *bufio.Reader) (f frame, err error) {
	head, err := r.Peek(headSize)
	switch {
	case errors.Is(err, io.EOF) && len(head) > 0:
		return f, fmt.Errorf("%w: it ends within its head", errBadFrame)
	case err != nil:
		return f, err
	}
	size := binary.BigEndian.Uint32(head)
	f = frame{
		number: binary.BigEndian.Uint64(head[4:]),
		kind:   kind(head[12]),
		code:   head[13],
		millis: binary.BigEndian.Uint32(head[14:]),
	}
	switch {
	case f.kind < kindCall || f.kind > kindPong:
		return f, fmt.Errorf("%w: kind %d", errBadFrame, f.kind)
	case size > MaxBody:
		return f, fmt.Errorf("%w: a body of %d bytes, %d are possible", errBadFrame, size, MaxBody)
	}
	if _, err := r.Discard(headSize); err != nil {
		return f, err
	}
	f.body = make([]byte, size)
	if _, err := io.ReadFull(r, f.body); err != nil {
		return f, fmt.Errorf("%w: it ends within its body: %w", errBadFrame, err)
	}
	return f, nil
}
