package wire

import (
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"github.com/oncelog/oncelog"
)

// maxMembers bounds the fields of an event, known or not. More than that are not
// worth a list, nor the memory to look for duplicate names among them.
const maxMembers = 1000

// The fields of an event, as bits.
const (
	topicField = 1 << iota
	eventIDField
	timestampField
	sourceField
	payloadField

	allFields = payloadField<<1 - 1
)

var fieldNames = [...]string{"topic", "event_id", "timestamp", "source", "payload"}

// form is what was seen of an event.
type form struct {
	// seen are the fields that are there, bad those of them that could not be
	// read: their fault is noted already.
	seen, bad uint8
	count     int
}

func (d *Decoder) event(e *oncelog.Event) error {
	if d.scan.peek() != '{' {
		d.member = ""
		d.fault("", "must be a JSON object")
		return d.scan.skip()
	}
	var f form
	err := d.scan.members(func(name []byte) error { return d.field(e, &f, name) })
	if err != nil {
		return err
	}
	d.member = ""
	return d.check(e, &f)
}

// field reads the value of one member of an event.
func (d *Decoder) field(e *oncelog.Event, f *form, name []byte) error {
	if f.count++; f.count > maxMembers {
		d.member = ""
		d.fault("", fmt.Sprintf("has more than %d fields", maxMembers))
		return errStop
	}
	switch string(name) {
	case "topic":
		return d.text(&e.Topic, f, topicField)
	case "event_id":
		return d.text(&e.EventID, f, eventIDField)
	case "source":
		return d.text(&e.Source, f, sourceField)
	case "timestamp":
		return d.timestamp(e, f)
	case "payload":
		return d.payload(e, f)
	}
	d.member = string(name)
	d.fault(d.member, unknownField(d.member))
	return d.scan.skip()
}

func unknownField(name string) string {
	for _, known := range fieldNames {
		if strings.EqualFold(known, name) {
			return fmt.Sprintf("is no field of an event; its name is %q", known)
		}
	}
	return "is no field of an event"
}

// text reads a field that must be a string; Validate looks at what is in it.
func (d *Decoder) text(dst *string, f *form, field uint8) (err error) {
	f.seen |= field
	if d.scan.peek() != '"' {
		return d.badKind(f, field, "must be a string")
	}
	*dst, err = d.scan.string()
	return err
}

func (d *Decoder) timestamp(e *oncelog.Event, f *form) error {
	f.seen |= timestampField
	s := &d.scan
	if s.peek() != '"' {
		return d.badKind(f, timestampField, "must be a string")
	}
	before := len(s.out)
	text, err := s.string()
	if err != nil {
		return err
	}
	if e.Timestamp, err = oncelog.ParseTimestamp(text); err != nil {
		f.bad |= timestampField
		d.fault("timestamp", err.Error())
	}
	// Nobody holds the text any more.
	s.out = s.out[:before]
	return nil
}

func (d *Decoder) payload(e *oncelog.Event, f *form) (err error) {
	f.seen |= payloadField
	if d.scan.peek() != '{' {
		return d.badKind(f, payloadField, "must be a JSON object")
	}
	d.member = "payload"
	e.Payload, err = d.scan.compact()
	return err
}

// badKind notes that a field has the wrong kind of value, and passes over it.
func (d *Decoder) badKind(f *form, field uint8, detail string) error {
	f.bad |= field
	d.member = fieldNames[bits.TrailingZeros8(field)]
	d.fault(d.member, detail)
	return d.scan.skip()
}

// check looks at an event as a whole, once all of its text is read.
func (d *Decoder) check(e *oncelog.Event, f *form) error {
	err := e.Validate()
	if err == nil && f.seen == allFields {
		return nil
	}
	for i, name := range fieldNames {
		if f.seen&(1<<i) == 0 {
			d.fault(name, "is required")
		}
	}
	var invalid *oncelog.ValidationError
	if !errors.As(err, &invalid) {
		return err
	}
	for _, fault := range invalid.Fields {
		i := slices.Index(fieldNames[:], strings.TrimPrefix(fault.Pointer, "/"))
		// What is missing or unreadable has its fault already.
		if i >= 0 && f.seen&^f.bad&(1<<i) != 0 {
			d.fault(fieldNames[i], fault.Detail)
		}
	}
	return nil
}

func (d *Decoder) fault(member, detail string) { d.faults.add(d.at, member, detail) }
