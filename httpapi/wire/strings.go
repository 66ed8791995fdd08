package wire

import (
	"bytes"
	"unicode/utf8"
	"unsafe"

	"github.com/go-json-experiment/json/jsontext"
)

// plain tells the bytes that stand for themselves in a string.
var plain = func() (table [256]bool) {
	for c := ' '; c < utf8.RuneSelf; c++ {
		table[c] = c != '"' && c != '\\'
	}
	return table
}()

// string reads a string as the characters that it stands for. The result points
// into out.
func (s *scanner) string() (string, error) {
	at, start := s.pos, len(s.out)
	raw, escaped, err := s.str()
	if err != nil {
		return "", err
	}
	if !escaped {
		s.out = append(s.out, raw...)
	} else if s.out, err = s.unquote(s.out, at); err != nil {
		return "", err
	}
	return unsafe.String(unsafe.SliceData(s.out[start:]), len(s.out)-start), nil
}

// unquote appends the characters of the string token that str has just read from
// offset at on.
func (s *scanner) unquote(dst []byte, at int) ([]byte, error) {
	dst, err := jsontext.AppendUnquote(dst, s.text[at:s.pos])
	if err != nil {
		return dst, &SyntaxError{at, "a string that cannot be read"}
	}
	return dst, nil
}

// str reads a string token and returns what stands between its quotes as it
// stands there, part of the text, and whether there are escapes in it.
func (s *scanner) str() (raw []byte, escaped bool, err error) {
	start := s.pos + 1
	i := start
	for {
		for i < len(s.text) && plain[s.text[i]] {
			i++
		}
		s.pos = i
		switch c := s.peek(); {
		case c == '"':
			s.pos++
			return s.text[start:i], escaped, nil
		case c == '\\':
			escaped = true
			if err := s.escape(); err != nil {
				return nil, false, err
			}
			i = s.pos
		case c < ' ':
			return nil, false, s.unexpected("more of a string")
		default:
			r, size := utf8.DecodeRune(s.text[i:])
			if r == utf8.RuneError && size == 1 {
				return nil, false, &SyntaxError{i, "invalid UTF-8"}
			}
			i += size
		}
	}
}

// escape reads one escape sequence, or the two that make one character beyond
// the basic plane.
func (s *scanner) escape() error {
	at := s.pos
	s.pos++
	switch s.peek() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.pos++
		return nil
	case 'u':
	default:
		return s.unexpected("an escape sequence")
	}
	first, ok := s.hex4()
	if !ok {
		return s.unexpected("four hexadecimal digits")
	}
	switch {
	case first < 0xd800 || first > 0xdfff:
		return nil
	case first < 0xdc00 && bytes.HasPrefix(s.text[s.pos:], []byte(`\u`)):
		s.pos++
		if second, ok := s.hex4(); ok && second >= 0xdc00 && second <= 0xdfff {
			return nil
		}
	}
	return &SyntaxError{at, "a lone surrogate"}
}

// hex4 reads a 'u' and four hexadecimal digits.
func (s *scanner) hex4() (n uint32, ok bool) {
	s.pos++
	for range 4 {
		c := s.peek()
		switch {
		case isDigit(c):
			n = n<<4 | uint32(c-'0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			n = n<<4 | uint32(c|0x20-'a'+10)
		default:
			return 0, false
		}
		s.pos++
	}
	return n, true
}
