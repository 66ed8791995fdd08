package httpapi

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/oncelog/oncelog"
)

// lineReader cuts what a feed brings into lines.
type lineReader struct {
	feed *feed
	// claim covers a line that is longer than what every stream may hold.
	claim claim
	// text is what has come, rest the part of it that is not cut yet, and
	// rest[:seen] has no line feed.
	text, rest []byte
	seen       int
	// err is why no more text comes.
	err error
	// tooLong is set from where a line is over its limit until its end.
	tooLong bool
}

// readError is why a stream could not be read further, or io.EOF.
type readError struct{ cause error }

func (e *readError) Error() string { return "reading the stream: " + e.cause.Error() }
func (e *readError) Unwrap() error { return e.cause }

var (
	errNoLine      = errors.New("no line yet")
	errLineTooLong = fmt.Errorf("a line of more than %d bytes: %w", oncelog.MaxBodyBytes, oncelog.ErrTooLarge)
)

// fill waits until more of the stream is there. It answers io.EOF at the proper
// end, or what else there is no more for.
func (l *lineReader) fill() error {
	if l.err != nil {
		return l.err
	}
	if len(l.rest) == 0 && cap(l.text) > 2*feedBytes {
		l.text = nil
		l.claim.release()
	}
	// What was cut off before is no longer used.
	l.text = append(l.text[:0], l.rest...)
	l.rest = l.text
	text, err := l.feed.take(l.text)
	l.text, l.rest = text, text
	if err != nil {
		l.err = &readError{err}
		return l.last()
	}
	if len(l.text) <= 2*feedBytes {
		return nil
	}
	return l.claim.raise(2 * len(l.text))
}

// last is nil where there is one more line, without a line feed behind it. A
// stream that broke off has none: who knows how it would have ended.
func (l *lineReader) last() error {
	if !errors.Is(l.err, io.EOF) || len(bytes.TrimSpace(l.rest)) == 0 && !l.tooLong {
		return l.err
	}
	l.text = append(l.text, '\n')
	l.rest = l.text
	return nil
}

// next is the next line that has come in full, without its line feed. It is the
// caller's until fill. It answers errNoLine where there is none yet, and an
// [oncelog.ErrTooLarge] in place of a line over its limit.
func (l *lineReader) next() ([]byte, error) {
	n := bytes.IndexByte(l.rest[l.seen:], '\n')
	if n < 0 {
		l.seen = len(l.rest)
		if l.seen > oncelog.MaxBodyBytes {
			l.tooLong, l.rest, l.seen = true, nil, 0
		}
		return nil, errNoLine
	}
	n += l.seen
	line := l.rest[:n]
	l.rest, l.seen = l.rest[n+1:], 0
	if l.tooLong || n > oncelog.MaxBodyBytes {
		l.tooLong = false
		return nil, errLineTooLong
	}
	return line, nil
}
