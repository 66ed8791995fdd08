package oncelog

import (
	"errors"
	"strings"
	"time"
)

// The errors that callers tell apart, with errors.Is.
var (
	// ErrInvalid: the request is well formed but is no event. Nothing was
	// stored. It comes as a [*ValidationError].
	ErrInvalid = errors.New("not an event")
	// ErrTooLarge: a payload, batch or body over its limit. Nothing was stored.
	ErrTooLarge = errors.New("over the size limit")
	// ErrNotFound: there is no such thing.
	ErrNotFound = errors.New("not found")
	// ErrQueueFull: the node holds as many unanswered events as it may, or as it can
	// have stored in time. Nothing was stored; try again later. It may come as a
	// [*QueueFullError], which says when.
	ErrQueueFull = errors.New("the node's queue is full")
	// ErrNotApplied: no quorum took the events in time, and none ever will:
	// nothing was stored.
	ErrNotApplied = errors.New("not applied: no quorum within the deadline")
	// ErrOutcomeUnknown: the events may or may not be stored. Sending them again
	// is always safe.
	ErrOutcomeUnknown = errors.New("outcome unknown: no answer from a quorum within the deadline")
	// ErrUnavailable: a read, or an operation on the cluster, found no quorum or
	// no leader in time.
	ErrUnavailable = errors.New("no quorum within the deadline")
	// ErrRefused: an operation on the cluster that would not be safe now. Nothing
	// has changed.
	ErrRefused = errors.New("refused")
	// ErrDiskFull: the disk is nearly full; reads go on, writes wait.
	ErrDiskFull = errors.New("the disk is nearly full")
	// ErrCorrupt: what was read back is not what was written.
	ErrCorrupt = errors.New("corrupt data")
	// ErrClosed: the thing asked has been shut down.
	ErrClosed = errors.New("closed")
)

// FieldError is one field that breaks a rule.
type FieldError struct {
	// Pointer is the field's place as a JSON pointer (RFC 6901), such as
	// "/3/event_id"; "" is the text as a whole.
	Pointer string
	// Detail says what is wrong, so that it reads after the pointer.
	Detail string
}

// ValidationError lists every field at fault. It is an [ErrInvalid].
type ValidationError struct{ Fields []FieldError }

// Error lists the fields, the first three in words.
func (e *ValidationError) Error() string {
	const shown = 3
	parts := make([]string, 0, shown+1)
	for i, f := range e.Fields {
		if i == shown {
			parts = append(parts, "…")
			break
		}
		parts = append(parts, strings.TrimPrefix(f.Pointer+" "+f.Detail, " "))
	}
	return ErrInvalid.Error() + ": " + strings.Join(parts, "; ")
}

// Is makes a ValidationError match [ErrInvalid].
func (e *ValidationError) Is(target error) bool { return target == ErrInvalid }

// QueueFullError is an [ErrQueueFull] of a node that can tell when there will most
// likely be room.
type QueueFullError struct{ RetryAfter time.Duration }

// Error is the text of [ErrQueueFull].
func (e *QueueFullError) Error() string { return ErrQueueFull.Error() }

// Is makes a QueueFullError match [ErrQueueFull].
func (e *QueueFullError) Is(target error) bool { return target == ErrQueueFull }
