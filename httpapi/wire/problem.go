package wire

import (
	"errors"
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json"

	"github.com/oncelog/oncelog"
)

// Code names a kind of problem, for programs.
type Code string

// The problems that the log itself knows. A server may have further ones that
// are only about HTTP.
const (
	CodeNotJSON        Code = "not_json"
	CodeInvalidEvent   Code = "invalid_event"
	CodeTooLarge       Code = "too_large"
	CodeNotFound       Code = "not_found"
	CodeQueueFull      Code = "queue_full"
	CodeNotApplied     Code = "not_applied"
	CodeOutcomeUnknown Code = "outcome_unknown"
	CodeUnavailable    Code = "unavailable"
	CodeNotReady       Code = "not_ready"
	CodeClosed         Code = "shutting_down"
	CodeDiskFull       Code = "disk_full"
	CodeRefused        Code = "refused"
	CodeInternal       Code = "internal"
)

// What became of the events of a request that failed.
const (
	OutcomeNotApplied = "not_applied"
	OutcomeUnknown    = "unknown"
)

// Problem is an error as the API answers it, an RFC 9457 problem document.
type Problem struct {
	Status int
	Code   Code
	Detail string
	// Errors lists the fields at fault, for a problem that has such.
	Errors []oncelog.FieldError
	// Outcome is OutcomeNotApplied, OutcomeUnknown, or "" where the question does
	// not arise: a request that is at fault itself changes nothing.
	Outcome string
	// Retryable says that the same request may succeed later. Sending it again is
	// always safe.
	Retryable bool
}

// ErrNotJSON means a text that is not I-JSON: every [*SyntaxError] is one.
var ErrNotJSON = errors.New("not I-JSON")

// Is makes a SyntaxError match [ErrNotJSON].
func (e *SyntaxError) Is(target error) bool { return target == ErrNotJSON }

// kind binds an error of the vocabulary to what the API answers for it.
type kind struct {
	err       error
	status    int
	code      Code
	outcome   string
	retryable bool
}

// kinds is read from the top: an error is of the first kind that it matches.
var kinds = []kind{
	{ErrNotJSON, http.StatusBadRequest, CodeNotJSON, "", false},
	{oncelog.ErrInvalid, http.StatusUnprocessableEntity, CodeInvalidEvent, "", false},
	{oncelog.ErrTooLarge, http.StatusRequestEntityTooLarge, CodeTooLarge, "", false},
	{oncelog.ErrNotFound, http.StatusNotFound, CodeNotFound, "", false},
	{oncelog.ErrRefused, http.StatusConflict, CodeRefused, "", false},
	{oncelog.ErrOutcomeUnknown, http.StatusServiceUnavailable, CodeOutcomeUnknown, OutcomeUnknown, true},
	{oncelog.ErrQueueFull, http.StatusTooManyRequests, CodeQueueFull, OutcomeNotApplied, true},
	{oncelog.ErrDiskFull, http.StatusInsufficientStorage, CodeDiskFull, OutcomeNotApplied, true},
	{oncelog.ErrNotApplied, http.StatusServiceUnavailable, CodeNotApplied, OutcomeNotApplied, true},
	{oncelog.ErrUnavailable, http.StatusServiceUnavailable, CodeUnavailable, OutcomeNotApplied, true},
	{oncelog.ErrUnavailable, http.StatusServiceUnavailable, CodeNotReady, OutcomeNotApplied, true},
	{oncelog.ErrClosed, http.StatusServiceUnavailable, CodeClosed, OutcomeUnknown, true},
}

// ProblemOf puts an error in the words of the API. An error that is not of the
// vocabulary is an internal one whose outcome is unknown, and its text, which
// may name files and addresses, stays inside.
func ProblemOf(err error) Problem {
	for _, k := range kinds {
		if !errors.Is(err, k.err) {
			continue
		}
		p := Problem{Status: k.status, Code: k.code, Detail: err.Error(), Outcome: k.outcome, Retryable: k.retryable}
		var invalid *oncelog.ValidationError
		if errors.As(err, &invalid) {
			p.Errors = invalid.Fields
		}
		return p
	}
	return Problem{
		Status: http.StatusInternalServerError, Code: CodeInternal,
		Detail: "the node failed to answer; its log says why", Outcome: OutcomeUnknown,
	}
}

// Unwrap is the error of the vocabulary that the problem stands for, or nil.
func (p *Problem) Unwrap() error {
	if p.Code == CodeInvalidEvent {
		return &oncelog.ValidationError{Fields: p.Errors}
	}
	for _, k := range kinds {
		if p.Code == k.code {
			return k.err
		}
	}
	return nil
}

// Error is the detail, with the code where there is none.
func (p *Problem) Error() string {
	if p.Detail == "" {
		return strconv.Itoa(p.Status) + " " + string(p.Code)
	}
	return p.Detail
}

// AppendProblem appends the problem document.
func AppendProblem(dst []byte, p *Problem) []byte {
	dst = append(dst, `{"status":`...)
	dst = strconv.AppendInt(dst, int64(p.Status), 10)
	dst = append(dst, ',')
	dst = p.appendMembers(dst)
	return append(dst, '}')
}

// appendMembers appends all members but the status, which a line of a stream has
// another use for.
func (p *Problem) appendMembers(dst []byte) []byte {
	dst = append(dst, `"type":"about:blank","title":`...)
	dst = appendString(dst, http.StatusText(p.Status))
	dst = append(dst, `,"detail":`...)
	dst = appendString(dst, p.Detail)
	dst = append(dst, `,"code":`...)
	dst = appendString(dst, string(p.Code))
	if p.Errors != nil {
		dst = append(dst, ',')
		dst = appendFaults(dst, p.Errors)
	}
	if p.Outcome != "" {
		dst = append(dst, `,"outcome":`...)
		dst = appendString(dst, p.Outcome)
		dst = append(dst, `,"retryable":`...)
		dst = strconv.AppendBool(dst, p.Retryable)
	}
	return dst
}

// DecodeProblem reads a problem document.
func DecodeProblem(text []byte) (*Problem, error) {
	var doc struct {
		Status int    `json:"status"`
		Code   Code   `json:"code"`
		Detail string `json:"detail"`
		Errors []struct {
			Pointer string `json:"pointer"`
			Detail  string `json:"detail"`
		} `json:"errors"`
		Outcome   string `json:"outcome"`
		Retryable bool   `json:"retryable"`
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		return nil, err
	}
	p := &Problem{Status: doc.Status, Code: doc.Code, Detail: doc.Detail, Outcome: doc.Outcome, Retryable: doc.Retryable}
	for _, e := range doc.Errors {
		p.Errors = append(p.Errors, oncelog.FieldError(e))
	}
	return p, nil
}
