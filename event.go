package oncelog

import (
	"fmt"
	"time"
	"unicode/utf8"
)

// Event is what a publisher sends.
type Event struct {
	// Topic and EventID together are the event's [Key].
	Topic   string
	EventID string
	// Timestamp is the publisher's own time of the event. It orders nothing.
	Timestamp time.Time
	// Source names who sent the event.
	Source string
	// Payload is one JSON object, without white space between tokens.
	Payload []byte
}

// Key identifies an event: at most one event per key is ever stored.
type Key struct {
	Topic   string
	EventID string
}

// Key returns the event's identity.
func (e *Event) Key() Key { return Key{Topic: e.Topic, EventID: e.EventID} }

// Record is an event as the log holds it.
type Record struct {
	// ID is the event's position in the log's total order: 1, 2, 3 and so on
	// without gaps, the same on every node.
	ID uint64
	Event
	// ProcessedAt is when the leader took the event, by the leader's clock.
	ProcessedAt time.Time
}

// Validate reports every field of e that breaks a rule, as a
// [*ValidationError], or nil. It checks the names, the timestamp's range and
// the payload's size; that the payload is one compact JSON object is for
// whoever parsed it to see to.
func (e *Event) Validate() error {
	var faults []FieldError
	fault := func(pointer, detail string) {
		if detail != "" {
			faults = append(faults, FieldError{Pointer: pointer, Detail: detail})
		}
	}
	fault("/topic", nameFault(e.Topic))
	fault("/event_id", nameFault(e.EventID))
	fault("/timestamp", timestampFault(e.Timestamp))
	fault("/source", nameFault(e.Source))
	if len(e.Payload) == 0 {
		fault("/payload", "is required")
	}
	if len(faults) > 0 {
		return &ValidationError{Fields: faults}
	}
	if len(e.Payload) > MaxPayloadBytes {
		return fmt.Errorf("payload of %d bytes: %w (at most %d)", len(e.Payload), ErrTooLarge, MaxPayloadBytes)
	}
	return nil
}

// nameFault says what is wrong with a topic, an event id or a source, or "".
func nameFault(s string) string {
	switch {
	case s == "":
		return "must not be empty"
	case len(s) > MaxNameBytes:
		return fmt.Sprintf("is %d bytes long; at most %d are allowed", len(s), MaxNameBytes)
	}
	for i, r := range s {
		if r < 0x20 || (r >= 0x7f && r <= 0x9f) {
			return fmt.Sprintf("has the control character %U at byte %d", r, i)
		}
		if r == utf8.RuneError {
			if _, size := utf8.DecodeRuneInString(s[i:]); size == 1 {
				return fmt.Sprintf("is not valid UTF-8 at byte %d", i)
			}
		}
	}
	return ""
}
