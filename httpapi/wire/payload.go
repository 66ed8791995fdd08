package wire

import (
	"errors"
	"fmt"

	"github.com/oncelog/oncelog"
)

// CompactPayload checks that text is one I-JSON object within the limits of a
// payload, and returns it without white space between its tokens, otherwise to
// the byte. The result is memory of its own. Errors are a [*SyntaxError], an
// [oncelog.ErrInvalid] with the pointer "/payload", or an [oncelog.ErrTooLarge].
func CompactPayload(text []byte) ([]byte, error) {
	return AppendPayload(make([]byte, 0, len(text)), text)
}

// AppendPayload appends to dst what CompactPayload returns, or nothing where that
// is an error.
func AppendPayload(dst, text []byte) ([]byte, error) {
	var names [fewNames][]byte
	s := scanner{text: text, out: dst, names: names[:0]}
	s.gap()
	isObject := s.peek() == '{'
	_, err := s.compact()
	if err == nil {
		err = s.end()
	}
	switch {
	case err != nil:
		return dst, payloadError(err)
	case !isObject:
		return dst, payloadFault("must be a JSON object")
	}
	return s.out, nil
}

// payloadError puts a scanner's error in the words of the API.
func payloadError(err error) error {
	switch {
	case errors.Is(err, errTooDeep):
		return payloadFault(fmt.Sprintf("nests deeper than %d levels", oncelog.MaxPayloadDepth))
	case errors.Is(err, errTooLong):
		return fmt.Errorf("a payload of more than %d bytes: %w", oncelog.MaxPayloadBytes, oncelog.ErrTooLarge)
	}
	return err
}

func payloadFault(detail string) error {
	return &oncelog.ValidationError{Fields: []oncelog.FieldError{{Pointer: "/payload", Detail: detail}}}
}
