package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"strconv"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/httpapi/wire"
)

// The problems that are only about HTTP; the others are those of [wire.ProblemOf].
const (
	codeBadRequest wire.Code = "bad_request"
	codeMethod     wire.Code = "method_not_allowed"
	codeAccept     wire.Code = "not_acceptable"
	codeStalled    wire.Code = "request_timeout"
	codeMediaType  wire.Code = "unsupported_media_type"
	codeEncoding   wire.Code = "unsupported_encoding"
)

// retryAfter is how long a client is asked to wait, in whole seconds: as long as the
// log says, or the second in which a leader is elected.
func retryAfter(err error) string {
	seconds := 1.0
	if full := (*oncelog.QueueFullError)(nil); errors.As(err, &full) {
		seconds = max(math.Ceil(full.RetryAfter.Seconds()), 1)
	}
	return strconv.FormatFloat(seconds, 'f', 0, 64)
}

// requestError is a problem that this package finds itself.
type requestError struct{ wire.Problem }

func (e *requestError) Error() string { return e.Detail }

func newRequestError(status int, code wire.Code, format string, args ...any) *requestError {
	return &requestError{wire.Problem{Status: status, Code: code, Detail: fmt.Sprintf(format, args...)}}
}

func badRequest(format string, args ...any) error {
	return newRequestError(http.StatusBadRequest, codeBadRequest, format, args...)
}

var (
	errMethod  = newRequestError(http.StatusMethodNotAllowed, codeMethod, "the path does not take this method; see Allow")
	errStalled = newRequestError(http.StatusRequestTimeout, codeStalled, "the body did not arrive in time")
)

// problemOf puts an error in the words of the API.
func problemOf(err error) wire.Problem {
	var own *requestError
	if errors.As(err, &own) {
		return own.Problem
	}
	return wire.ProblemOf(err)
}

// fail answers with a problem document. Nothing of another answer may have been
// written.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := problemOf(err)
	s.logInternal(r, p.Code, err)
	h := w.Header()
	if p.Status == http.StatusTooManyRequests || p.Status == http.StatusServiceUnavailable {
		h["Retry-After"] = []string{retryAfter(err)}
	}
	s.write(w, p.Status, problemType, wire.AppendProblem(nil, &p))
}

// logInternal keeps what the answer does not tell, unless it is only that the
// client went away.
func (s *Server) logInternal(r *http.Request, code wire.Code, err error) {
	if code != wire.CodeInternal || r.Context().Err() != nil {
		return
	}
	s.cfg.Logger.LogAttrs(r.Context(), slog.LevelWarn, "a request failed",
		slog.String("method", r.Method), slog.String("path", r.URL.Path), slog.Any("error", err))
}

// asUnknown says what a deadline that ended a publication means.
func asUnknown(err error) error { return deadlineAs(err, oncelog.ErrOutcomeUnknown) }

// asUnavailable says what a deadline that ended any other request means.
func asUnavailable(err error) error { return deadlineAs(err, oncelog.ErrUnavailable) }

func deadlineAs(err, meaning error) error {
	if errors.Is(err, context.DeadlineExceeded) && wire.ProblemOf(err).Code == wire.CodeInternal {
		return fmt.Errorf("%w: %w", meaning, err)
	}
	return err
}
