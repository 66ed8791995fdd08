package wire

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/oncelog/oncelog"
)

// MaxFaults is the greatest number of fields at fault that one answer lists; one
// more entry says how many there are beyond.
const MaxFaults = 100

// noElement stands for "the text is one event", in place of an index.
const noElement = -1

// faultList collects fields at fault, at most MaxFaults of them.
type faultList struct {
	fields   []oncelog.FieldError
	unlisted int
}

// add notes a fault of a member, of the event itself where member is "", in the
// element of a batch, or in the only event where that is noElement.
func (l *faultList) add(element int, member, detail string) {
	if len(l.fields) == MaxFaults {
		l.unlisted++
		return
	}
	pointer := ""
	if element != noElement {
		pointer = "/" + strconv.Itoa(element)
	}
	if member != "" {
		pointer += "/" + pointerEscaper.Replace(clip([]byte(member)))
	}
	l.fields = append(l.fields, oncelog.FieldError{Pointer: pointer, Detail: detail})
}

// pointerEscaper escapes a name in a JSON pointer (RFC 6901, section 3).
var pointerEscaper = strings.NewReplacer("~", "~0", "/", "~1")

// err is nil where nothing is at fault.
func (l *faultList) err() error {
	if len(l.fields) == 0 {
		return nil
	}
	fields := l.fields
	if l.unlisted > 0 {
		fields = append(fields, oncelog.FieldError{Detail: fmt.Sprintf("and %d more faults, not listed", l.unlisted)})
	}
	return &oncelog.ValidationError{Fields: fields}
}

// FieldFaults lists what is wrong with one event, whatever kind of error that
// is: it is what the answer to a bad line of a stream carries.
func FieldFaults(err error) []oncelog.FieldError {
	var invalid *oncelog.ValidationError
	if errors.As(err, &invalid) {
		return invalid.Fields
	}
	return []oncelog.FieldError{{Detail: err.Error()}}
}

// clip shortens a name for a message, between two characters.
func clip(name []byte) string {
	const most = 64
	if len(name) <= most {
		return string(name)
	}
	n := most
	for n > 0 && !utf8.RuneStart(name[n]) {
		n--
	}
	return string(name[:n]) + "…"
}
