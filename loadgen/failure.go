package loadgen

import (
	"context"
	"errors"

	"github.com/oncelog/oncelog"
)

// errAnswer marks an answer that is none to what was asked.
var errAnswer = errors.New("loadgen: the answer does not fit the request")

// givenUp is why a request was not tried any more. It is unknown if any of its
// attempts may have been applied.
type givenUp struct {
	error
	unknown bool
}

func (g givenUp) Unwrap() error { return g.error }

// kind sorts failures for the report and for what to do next.
type kind struct {
	name string
	// final failures are not tried again.
	final bool
	// notApplied failures certainly stored nothing.
	notApplied bool
}

// kindOf sorts a failed attempt. What is not known to have stored nothing may
// have stored everything.
func kindOf(err error) kind {
	for _, k := range []struct {
		err error
		kind
	}{
		{errAnswer, kind{name: "bad_answer", final: true}},
		{oncelog.ErrInvalid, kind{name: "invalid", final: true, notApplied: true}},
		{oncelog.ErrTooLarge, kind{name: "too_large", final: true, notApplied: true}},
		{oncelog.ErrNotApplied, kind{name: "not_applied", notApplied: true}},
		{oncelog.ErrQueueFull, kind{name: "queue_full", notApplied: true}},
		{oncelog.ErrDiskFull, kind{name: "disk_full", notApplied: true}},
		{oncelog.ErrOutcomeUnknown, kind{name: "outcome_unknown"}},
		{context.Canceled, kind{name: "canceled"}},
		{context.DeadlineExceeded, kind{name: "deadline"}},
	} {
		if errors.Is(err, k.err) {
			return k.kind
		}
	}
	return kind{name: "other"}
}
