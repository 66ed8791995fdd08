package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/httpapi/wire"
)

// request is one call of the API.
type request struct {
	method, path, accept string
	body                 []byte
	// events is how many it publishes.
	events int
}

// maxAnswerBytes bounds an answer that is read as a whole. The largest is that to
// a full batch of the longest names.
const maxAnswerBytes = 256 << 20

// transportError is a request without an answer that can be understood.
type transportError struct {
	cause error
	// sent says that the request may have reached the node.
	sent bool
	// whole says that the answer came in full: it would not be better next time.
	whole bool
}

func (e *transportError) Error() string { return e.cause.Error() }
func (e *transportError) Unwrap() error { return e.cause }

// answerError is a problem, with what the node said of when to come again.
type answerError struct {
	*wire.Problem
	retryAfter time.Duration
}

func (e *answerError) Unwrap() error { return e.Problem }

// do sends a request until it succeeds, fails for good, or ctx ends.
func (c *Client) do(ctx context.Context, r request, read func([]byte) error) error {
	var h history
	b := backoff{targets: len(c.rotation.nodes)}
	for {
		err := c.attempt(ctx, r, read)
		if err == nil {
			return nil
		}
		h.note(err)
		if errors.Is(err, oncelog.ErrQueueFull) {
			c.refused.Add(1)
		}
		if !c.retry || !retryable(err) {
			return h.conclude(r, err)
		}
		if b.wait(ctx, err) != nil {
			return h.conclude(r, fmt.Errorf("%w, after %d attempts: %w", context.Cause(ctx), b.attempts, err))
		}
		c.countResent(r)
	}
}

func (c *Client) countResent(r request) {
	c.resent.Add(1)
	c.resentEvents.Add(int64(r.events))
}

// history is what the attempts at one request can have done.
type history struct {
	// unknown: one of them may have reached the log without our being told.
	unknown bool
}

func (h *history) note(err error) {
	var lost *transportError
	if errors.As(err, &lost) && lost.sent {
		h.unknown = true
	}
	var problem *wire.Problem
	if errors.As(err, &problem) && problem.Outcome == wire.OutcomeUnknown {
		h.unknown = true
	}
}

// conclude is the error of a request as a whole. What its last attempt says may
// be true of that attempt only.
func (h *history) conclude(r request, last error) error {
	var lost *transportError
	switch {
	case r.events > 0 && h.unknown:
		return fmt.Errorf("%w: %v", oncelog.ErrOutcomeUnknown, last) //nolint:errorlint // "Not applied" must not be found in it.
	case !errors.As(last, &lost):
		return last
	case r.events > 0:
		return fmt.Errorf("%w: %w", oncelog.ErrNotApplied, last)
	}
	return &unanswered{last}
}

// unanswered is an oncelog.ErrUnavailable of a request that no node has answered.
// Whether there is a quorum is not known, so its words do not say.
type unanswered struct{ cause error }

func (e *unanswered) Error() string      { return "unavailable: " + e.cause.Error() }
func (e *unanswered) Unwrap() error      { return e.cause }
func (*unanswered) Is(target error) bool { return target == oncelog.ErrUnavailable }

// retryable tells what another node, or a later time, may do better.
func retryable(err error) bool {
	var problem *wire.Problem
	if errors.As(err, &problem) {
		return problem.Status == http.StatusTooManyRequests || problem.Status == http.StatusServiceUnavailable
	}
	var lost *transportError
	return errors.As(err, &lost) && !lost.whole
}

// attempt sends a request to the next node and reads its answer.
func (c *Client) attempt(ctx context.Context, r request, read func([]byte) error) error {
	t, trial := c.rotation.next(time.Now())
	return c.attemptAt(ctx, t, trial, r, read)
}

// attemptAt sends a request to one node and reads its answer.
func (c *Client) attemptAt(ctx context.Context, t *target, trial bool, r request, read func([]byte) error) error {
	res, err := c.send(ctx, t, trial, r)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	memory := c.texts.Get().(*[]byte)
	defer c.texts.Put(memory)
	text := bytes.NewBuffer((*memory)[:0])
	_, err = text.ReadFrom(io.LimitReader(res.Body, maxAnswerBytes))
	*memory = text.Bytes()
	if err != nil {
		return brokenOff(ctx, err)
	}
	if err := read(text.Bytes()); err != nil {
		return &transportError{cause: err, sent: true, whole: true}
	}
	return nil
}

// brokenOff is the error of an answer that came in part.
func brokenOff(ctx context.Context, err error) error {
	return &transportError{cause: errors.Join(ctx.Err(), err), sent: true}
}

// send sends a request to one node. The body of the answer, which is one of
// success, is the caller's to read and close.
func (c *Client) send(ctx context.Context, t *target, trial bool, r request) (*http.Response, error) {
	if ctx.Err() != nil {
		c.rotation.unclear(t)
		return nil, &transportError{cause: context.Cause(ctx)}
	}
	res, err := t.transport.roundTrip(ctx, r, c.patienceOf(ctx, trial))
	if err != nil {
		c.noteFailure(ctx, t, err)
		err = fmt.Errorf("%s %s%s: %w", r.method, t.base, r.path, err)
		return nil, &transportError{cause: err, sent: !isDial(err)}
	}
	c.rotation.answered(t)
	if res.StatusCode >= http.StatusMultipleChoices {
		defer func() { _ = res.Body.Close() }()
		return nil, problemOf(res)
	}
	return res, nil
}

// noteFailure leaves a node aside that did not take a request or did not answer
// it. Whoever gives a request up says nothing of the node.
func (c *Client) noteFailure(ctx context.Context, t *target, err error) {
	if ctx.Err() == nil && (isDial(err) || errors.Is(err, errSilent)) {
		c.rotation.silent(t, time.Now())
		return
	}
	c.rotation.unclear(t)
}

// isDial tells a connection that was never made: no request went over it.
func isDial(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// problemOf reads an answer that is an error.
func problemOf(res *http.Response) error {
	const most = 1 << 20
	text, err := io.ReadAll(io.LimitReader(res.Body, most))
	if err != nil {
		return &transportError{cause: err, sent: true}
	}
	p, err := wire.DecodeProblem(text)
	if err != nil || p.Status != res.StatusCode {
		// Something between us and the node has answered.
		p = &wire.Problem{Status: res.StatusCode, Detail: "unexpected answer: " + res.Status}
		if res.StatusCode >= http.StatusInternalServerError {
			p.Outcome = wire.OutcomeUnknown
		}
	}
	seconds, _ := strconv.Atoi(res.Header.Get("Retry-After"))
	return &answerError{Problem: p, retryAfter: time.Duration(max(seconds, 0)) * time.Second}
}

// backoff paces the attempts at one request: the first round over all targets is
// quick, since another node may well be able; then each round takes longer.
type backoff struct {
	targets  int
	attempts int
	// retryAfter is the longest that a node of this round has asked for.
	retryAfter time.Duration
}

const (
	firstBackoff = 10 * time.Millisecond
	maxBackoff   = time.Second
)

// wait waits before the next attempt, or until ctx ends.
func (b *backoff) wait(ctx context.Context, last error) error {
	timer := time.NewTimer(b.next(last))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// next is how long to wait after an attempt that ended in last.
func (b *backoff) next(last error) time.Duration {
	b.attempts++
	var answer *answerError
	if errors.As(last, &answer) {
		b.retryAfter = max(b.retryAfter, answer.retryAfter)
	}
	round := b.attempts / b.targets
	delay := firstBackoff
	for range round {
		delay = min(2*delay, maxBackoff)
	}
	// Half of it is chance, so that clients that failed together do not come
	// back together.
	delay = delay/2 + rand.N(delay/2+1)
	if b.attempts%b.targets == 0 {
		// So do those that were told the same time.
		delay = max(delay, b.retryAfter+rand.N(b.retryAfter/2+firstBackoff))
		b.retryAfter = 0
	}
	return delay
}
