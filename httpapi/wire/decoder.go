package wire

import (
	"errors"
	"fmt"

	"github.com/oncelog/oncelog"
)

// Decoder reads texts of the API. Its zero value is ready; it is not safe for
// concurrent use. Keeping one for many texts saves allocations.
//
// Strings and payloads in its results are copies out of the text, which the
// caller may reuse at once. They never change, so they may be kept for as long
// as wanted, but one of them keeps alive the others that were read around it
// (up to 16 KiB, or all of a larger text): who keeps a few for long should clone
// them.
type Decoder struct {
	scan   scanner
	faults faultList
	// at and member are the place in the text, for the pointer to a fault.
	at     int
	member string
}

// errStop ends the reading of a text whose faults are in the decoder's list.
var errStop = errors.New("stop")

// Event reads one event: the body of a request, or a line of a stream. It answers
// with a [*SyntaxError], an [oncelog.ErrInvalid] or an [oncelog.ErrTooLarge]
// where it is none.
func (d *Decoder) Event(text []byte) (oncelog.Event, error) {
	var e oncelog.Event
	err := d.read(text, func() error { return d.event(&e) })
	if err != nil {
		return oncelog.Event{}, err
	}
	return e, nil
}

// Batch reads an array of 1 to [oncelog.MaxBatchEvents] events and appends them
// to dst. It answers with errors as Event does, a fault of an event having the
// event's index before it ("/3/source"); nothing is appended then.
func (d *Decoder) Batch(dst []oncelog.Event, text []byte) ([]oncelog.Event, error) {
	events := dst
	err := d.read(text, func() (err error) {
		events, err = d.batch(dst)
		return err
	})
	if err != nil {
		clear(events[len(dst):])
		return dst, err
	}
	return events, nil
}

// read reads the whole text with one call of value, and gathers what is wrong.
func (d *Decoder) read(text []byte, value func() error) error {
	d.faults, d.at, d.member = faultList{}, noElement, ""
	s := &d.scan
	s.reset(text)
	defer s.release()
	s.gap()
	err := value()
	if err == nil {
		err = s.end()
	}
	switch {
	case errors.Is(err, errTooDeep):
		d.faults.add(d.at, d.member, fmt.Sprintf("nests deeper than %d levels", oncelog.MaxPayloadDepth))
	case errors.Is(err, errTooLong):
		return fmt.Errorf("a value of more than %d bytes: %w", oncelog.MaxPayloadBytes, oncelog.ErrTooLarge)
	case err != nil && !errors.Is(err, errStop):
		return err
	}
	return d.faults.err()
}

func (d *Decoder) batch(events []oncelog.Event) ([]oncelog.Event, error) {
	s := &d.scan
	if s.peek() != '[' {
		d.fault("", "must be an array of events")
		return events, s.skip()
	}
	d.at = 0
	err := s.elements(func() error {
		if d.at == oncelog.MaxBatchEvents {
			return fmt.Errorf("a batch of more than %d events: %w", oncelog.MaxBatchEvents, oncelog.ErrTooLarge)
		}
		events = append(events, oncelog.Event{})
		if err := d.event(&events[len(events)-1]); err != nil {
			return err
		}
		d.at++
		return nil
	})
	if err == nil && d.at == 0 {
		d.at = noElement
		d.fault("", "must hold at least one event")
	}
	return events, err
}
