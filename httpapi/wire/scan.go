package wire

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/oncelog/oncelog"
)

// SyntaxError says where and why a text is not I-JSON.
type SyntaxError struct {
	// Offset is in bytes from the start of the text.
	Offset int
	Detail string
}

// Error names the offset and the reason.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("not I-JSON: %s at byte %d", e.Detail, e.Offset)
}

var (
	errTooDeep = errors.New("nests too deep")
	errTooLong = errors.New("too long")
)

// scanner reads one JSON text that is wholly in memory. Its methods expect pos
// at the first byte of what they read and leave it just behind.
type scanner struct {
	text []byte
	pos  int

	// out takes what outlives the text: strings without their escapes and
	// compact values.
	// Invariant: bytes that were handed out never change, since strings point
	// to them; out only grows, and a full one is left to those who hold it.
	out []byte

	// keeping is set while a value is copied to out[start:]; then text[mark:pos]
	// is read, but not copied yet.
	keeping bool
	start   int
	mark    int

	// depth counts the objects and arrays that are open in the value.
	depth int
	// names is a stack of the names of all open objects, innermost last.
	names [][]byte
}

// reset points the scanner at a text. Neither strings nor values in what is read
// are longer than their text, so out never grows while reading it.
func (s *scanner) reset(text []byte) {
	s.text, s.pos, s.depth, s.keeping = text, 0, 0, false
	s.names = s.names[:0]
	if cap(s.out)-len(s.out) < len(text) {
		s.out = make([]byte, 0, max(len(text), arenaBytes))
	}
}

// arenaBytes is how much a decoder's out takes at once, so that small events do
// not cost an allocation each.
const arenaBytes = 16 << 10

// release forgets the text, which the caller may use again.
func (s *scanner) release() {
	s.text = nil
	clear(s.names[:cap(s.names)])
}

// peek is the next byte, or 0 at the end. A 0 byte in the text is no part of any
// token, so the two need no telling apart.
func (s *scanner) peek() byte {
	if s.pos < len(s.text) {
		return s.text[s.pos]
	}
	return 0
}

// gap skips white space between tokens.
func (s *scanner) gap() {
	if s.pos == len(s.text) || s.text[s.pos] > ' ' {
		return
	}
	s.keep()
	for s.pos < len(s.text) && isSpace(s.text[s.pos]) {
		s.pos++
	}
	s.mark = s.pos
}

// keep copies what was read since mark.
func (s *scanner) keep() {
	if s.keeping {
		s.out = append(s.out, s.text[s.mark:s.pos]...)
	}
	s.mark = s.pos
}

// end expects nothing but white space in the rest of the text.
func (s *scanner) end() error {
	s.gap()
	if s.pos < len(s.text) {
		return s.unexpected("the end of the text")
	}
	return nil
}

// compact reads a value and returns it without white space between tokens, in
// memory of its own. It is errTooLong where that is over
// [oncelog.MaxPayloadBytes].
func (s *scanner) compact() ([]byte, error) {
	s.start, s.mark, s.keeping = len(s.out), s.pos, true
	err := s.value()
	s.keep()
	s.keeping = false
	if err == nil {
		err = s.bounded()
	}
	if err != nil {
		return nil, err
	}
	return s.out[s.start:len(s.out):len(s.out)], nil
}

// bounded is errTooLong once the value that is kept is over its limit.
func (s *scanner) bounded() error {
	if len(s.out)-s.start+s.pos-s.mark > oncelog.MaxPayloadBytes {
		return errTooLong
	}
	return nil
}

// skip reads a value that nobody wants, under the same limits as one that
// somebody does.
func (s *scanner) skip() error {
	before := len(s.out)
	_, err := s.compact()
	s.out = s.out[:before]
	return err
}

func (s *scanner) value() error {
	switch s.peek() {
	case '{':
		return s.nested((*scanner).object)
	case '[':
		return s.nested((*scanner).array)
	case '"':
		_, _, err := s.str()
		return err
	case 't':
		return s.literal("true")
	case 'f':
		return s.literal("false")
	case 'n':
		return s.literal("null")
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		return s.number()
	}
	return s.unexpected("a value")
}

// nested reads an object or array one level further down.
func (s *scanner) nested(read func(*scanner) error) error {
	if s.depth == oncelog.MaxPayloadDepth {
		return errTooDeep
	}
	s.depth++
	err := read(s)
	s.depth--
	return err
}

func (s *scanner) object() error {
	return s.members(func([]byte) error {
		if err := s.bounded(); err != nil {
			return err
		}
		return s.value()
	})
}

func (s *scanner) array() error { return s.elements(s.value) }

// elements reads an array; each call of element reads one of its values.
func (s *scanner) elements(element func() error) error {
	s.pos++
	s.gap()
	if s.peek() == ']' {
		s.pos++
		return nil
	}
	for {
		if err := element(); err != nil {
			return err
		}
		s.gap()
		switch s.peek() {
		case ',':
			s.pos++
			s.gap()
		case ']':
			s.pos++
			return nil
		default:
			return s.unexpected("',' or ']'")
		}
	}
}

// members reads an object; each call of member reads the value that belongs to
// name. The name is not the callee's to keep.
func (s *scanner) members(member func(name []byte) error) error {
	set := nameSet{base: len(s.names)}
	s.pos++
	s.gap()
	if s.peek() == '}' {
		s.pos++
		return nil
	}
	for {
		name, err := s.memberName(&set)
		if err != nil {
			return err
		}
		if err := member(name); err != nil {
			return err
		}
		s.gap()
		switch s.peek() {
		case ',':
			s.pos++
			s.gap()
		case '}':
			s.pos++
			s.names = s.names[:set.base]
			return nil
		default:
			return s.unexpected("',' or '}'")
		}
	}
}

// memberName reads a name that is new to its object, and the colon behind it.
func (s *scanner) memberName(set *nameSet) ([]byte, error) {
	if s.peek() != '"' {
		return nil, s.unexpected("a name in quotes")
	}
	at := s.pos
	name, escaped, err := s.str()
	if err != nil {
		return nil, err
	}
	if escaped {
		if name, err = s.unquote(nil, at); err != nil {
			return nil, err
		}
	}
	if !s.isNew(set, name) {
		return nil, &SyntaxError{at, fmt.Sprintf("the name %q a second time in one object", clip(name))}
	}
	s.gap()
	if s.peek() != ':' {
		return nil, s.unexpected("':'")
	}
	s.pos++
	s.gap()
	return name, nil
}

func (s *scanner) literal(word string) error {
	for i := range len(word) {
		if s.peek() != word[i] {
			return s.unexpected(word)
		}
		s.pos++
	}
	return nil
}

func (s *scanner) number() error {
	if s.peek() == '-' {
		s.pos++
	}
	// A zero stands alone: what follows is then no part of a number, and the
	// caller refuses it.
	if s.peek() == '0' {
		s.pos++
	} else if err := s.digits(); err != nil {
		return err
	}
	if s.peek() == '.' {
		s.pos++
		if err := s.digits(); err != nil {
			return err
		}
	}
	if s.peek()|0x20 != 'e' {
		return nil
	}
	s.pos++
	if c := s.peek(); c == '+' || c == '-' {
		s.pos++
	}
	return s.digits()
}

// digits reads one decimal digit or more.
func (s *scanner) digits() error {
	if !isDigit(s.peek()) {
		return s.unexpected("a digit")
	}
	for isDigit(s.peek()) {
		s.pos++
	}
	return nil
}

// unexpected is the error that something else than wanted is at pos.
func (s *scanner) unexpected(wanted string) error {
	if s.pos >= len(s.text) {
		return &SyntaxError{s.pos, "the text ends where " + wanted + " should be"}
	}
	if bytes.HasPrefix(s.text[s.pos:], []byte("\ufeff")) {
		return &SyntaxError{s.pos, "a byte order mark"}
	}
	return &SyntaxError{s.pos, fmt.Sprintf("%q where %s should be", rune(s.text[s.pos]), wanted)}
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }
