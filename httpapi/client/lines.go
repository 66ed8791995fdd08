package client

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/httpapi/wire"
)

const (
	// leastLineBuffer holds a page of a few events, lineBuffer is how much of a long
	// stream is read at once.
	leastLineBuffer = 2 << 10
	lineBuffer      = 64 << 10
	// maxLineBytes bounds a line: the largest payload and the longest names.
	maxLineBytes = oncelog.MaxPayloadBytes + 16<<10
)

// lines reads a stream of events, one a line. Its memory grows with what there is to
// read and may be used for the next stream.
type lines struct {
	src io.Reader
	// err is what src has said last.
	err     error
	decoder wire.Decoder
	// buf[start:end] has been read and not yet been handed out.
	buf        []byte
	start, end int
}

func newLines() *lines { return &lines{buf: make([]byte, leastLineBuffer)} }

// reset begins another stream.
func (l *lines) reset(src io.Reader) {
	l.src, l.err, l.start, l.end = src, nil, 0, 0
	if len(l.buf) > lineBuffer {
		l.buf = make([]byte, leastLineBuffer)
	}
}

// next is the next line without its line feed, to be used before the one after it
// is asked for. io.EOF is the proper end of the stream; half a line is none.
func (l *lines) next() ([]byte, error) {
	for searched := 0; ; {
		if i := bytes.IndexByte(l.buf[l.start+searched:l.end], '\n'); i >= 0 {
			line := l.buf[l.start : l.start+searched+i]
			l.start += searched + i + 1
			return line, nil
		}
		searched = l.end - l.start
		switch {
		case searched > maxLineBytes:
			return nil, fmt.Errorf("%w: a line of more than %d bytes", wire.ErrAnswer, maxLineBytes)
		case errors.Is(l.err, io.EOF) && searched > 0:
			return nil, io.ErrUnexpectedEOF
		case l.err != nil:
			return nil, l.err
		}
		l.fill()
	}
}

// fill reads more behind the part of a line that is there.
func (l *lines) fill() {
	rest := l.buf[l.start:l.end]
	if l.end == len(l.buf) && (len(l.buf) < lineBuffer || len(rest) == len(l.buf)) {
		l.buf = make([]byte, 2*len(l.buf))
	}
	l.start, l.end = 0, copy(l.buf, rest)
	var n int
	n, l.err = l.src.Read(l.buf[l.end:])
	l.end += n
}
