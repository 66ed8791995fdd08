package wire

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/oncelog/oncelog"
)

// ErrAnswer means JSON that is not the answer that the API promises.
var ErrAnswer = errors.New("not an answer of this API")

// Receipt reads the answer to one event.
func (d *Decoder) Receipt(text []byte) (oncelog.Receipt, error) {
	var r oncelog.Receipt
	err := d.read(text, func() error { return d.receipt(&r) })
	return r, err
}

// BatchAnswer reads the receipts in the answer to a batch. Its numbers must agree
// with them.
func (d *Decoder) BatchAnswer(text []byte) ([]oncelog.Receipt, error) {
	var receipts []oncelog.Receipt
	var received uint64
	s := &d.scan
	err := d.read(text, func() error {
		return d.answer(func(name []byte) (err error) {
			switch string(name) {
			case "received":
				received, err = s.uint()
				return err
			case "results":
				receipts = make([]oncelog.Receipt, 0, min(received, oncelog.MaxBatchEvents))
				return d.array(func() error {
					receipts = append(receipts, oncelog.Receipt{})
					return d.receipt(&receipts[len(receipts)-1])
				})
			}
			return s.skip()
		})
	})
	if err == nil && received != uint64(len(receipts)) {
		err = fmt.Errorf("%w: %d events received and %d receipts", ErrAnswer, received, len(receipts))
	}
	return receipts, err
}

// Record reads a stored event.
func (d *Decoder) Record(text []byte) (oncelog.Record, error) {
	var r oncelog.Record
	err := d.read(text, func() error {
		return d.answer(func(name []byte) error { return d.recordMember(&r, name) })
	})
	if err == nil && (r.ID == 0 || r.Validate() != nil) {
		err = fmt.Errorf("%w: an event without all its fields", ErrAnswer)
	}
	return r, err
}

func (d *Decoder) recordMember(r *oncelog.Record, name []byte) (err error) {
	s := &d.scan
	switch string(name) {
	case "id":
		r.ID, err = s.uint()
	case "topic":
		r.Topic, err = d.stringValue()
	case "event_id":
		r.EventID, err = d.stringValue()
	case "source":
		r.Source, err = d.stringValue()
	case "timestamp":
		r.Timestamp, err = d.timeValue()
	case "processed_at":
		r.ProcessedAt, err = d.timeValue()
	case "payload":
		r.Payload, err = s.compact()
	default:
		err = s.skip()
	}
	return err
}

func (d *Decoder) receipt(r *oncelog.Receipt) error {
	err := d.answer(func(name []byte) (err error) {
		s := &d.scan
		switch string(name) {
		case "status":
			r.Status, err = d.status()
		case "topic":
			r.Topic, err = d.stringValue()
		case "event_id":
			r.EventID, err = d.stringValue()
		case "id":
			r.ID, err = s.uint()
		case "conflict":
			r.Conflict = s.peek() == 't'
			err = s.skip()
		default:
			err = s.skip()
		}
		return err
	})
	if err == nil && (r.Status == 0 || r.ID == 0) {
		err = fmt.Errorf("%w: a receipt without a status or an id", ErrAnswer)
	}
	return err
}

func (d *Decoder) status() (oncelog.Status, error) {
	word, err := d.stringValue()
	if err != nil {
		return 0, err
	}
	for _, s := range [...]oncelog.Status{oncelog.Stored, oncelog.Duplicate} {
		if word == s.String() {
			return s, nil
		}
	}
	return 0, fmt.Errorf("%w: the status %q", ErrAnswer, clip([]byte(word)))
}

// answer reads an object.
func (d *Decoder) answer(member func(name []byte) error) error {
	if d.scan.peek() != '{' {
		return d.scan.unexpected("an object")
	}
	return d.scan.members(member)
}

func (d *Decoder) array(element func() error) error {
	if d.scan.peek() != '[' {
		return d.scan.unexpected("an array")
	}
	return d.scan.elements(element)
}

func (d *Decoder) stringValue() (string, error) {
	if d.scan.peek() != '"' {
		return "", d.scan.unexpected("a string")
	}
	return d.scan.string()
}

func (d *Decoder) timeValue() (time.Time, error) {
	before := len(d.scan.out)
	text, err := d.stringValue()
	if err != nil {
		return time.Time{}, err
	}
	t, err := oncelog.ParseTimestamp(text)
	d.scan.out = d.scan.out[:before]
	if err != nil {
		return time.Time{}, fmt.Errorf("%w: a time %w", ErrAnswer, err)
	}
	return t, nil
}

// uint reads a whole number.
func (s *scanner) uint() (uint64, error) {
	at := s.pos
	if err := s.number(); err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(string(s.text[at:s.pos]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	return n, nil
}
