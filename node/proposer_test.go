package node

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/raftfsm"
	"github.com/oncelog/oncelog/raftfsm/store"
)

// scriptedWay answers each attempt by a function and keeps what was sent.
type scriptedWay struct {
	mu   sync.Mutex
	sent []raftfsm.Batch
	next func(attempt int, b raftfsm.Batch) error
}

func (w *scriptedWay) submit(_ context.Context, command []byte) ([]store.Outcome, error) {
	c, err := raftfsm.Decode(command)
	if err != nil {
		return nil, err
	}
	b := c.Batches[0]
	w.mu.Lock()
	w.sent = append(w.sent, b)
	attempt := len(w.sent)
	w.mu.Unlock()
	if w.next != nil {
		if err := w.next(attempt, b); err != nil {
			return nil, err
		}
	}
	outcomes := make([]store.Outcome, b.Events)
	for i := range outcomes {
		outcomes[i].ID = b.Number*1000 + uint64(i)
	}
	return outcomes, nil
}

func (w *scriptedWay) batches() []raftfsm.Batch {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]raftfsm.Batch(nil), w.sent...)
}

// proposing runs a proposer over a way for the length of a bubble.
func proposing(t *testing.T, way submitter, queue int64, test func(t *testing.T, p *proposer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		never := make(chan struct{})
		p := newProposer(raftfsm.SessionID{Node: uuid.UUID{1}, Run: 7}, way, func() <-chan struct{} { return never }, queue)
		done := make(chan struct{})
		go func() { defer close(done); p.run() }()
		test(t, p)
		p.close(t.Context())
		<-done
		require.Zero(t, p.bytes, "every byte taken is given back")
	})
}

func events(n int, payload string) []oncelog.Event {
	es := make([]oncelog.Event, n)
	for i := range es {
		es[i] = oncelog.Event{Topic: "t", EventID: uuid.NewString(), Source: "s", Timestamp: time.Unix(1, 0), Payload: []byte(payload)}
	}
	return es
}

// ask enqueues events and waits for all answers.
func ask(ctx context.Context, p *proposer, es []oncelog.Event) error {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(time.Minute)
	}
	pieces := cut(es, deadline)
	if err := p.enqueue(pieces); err != nil {
		return err
	}
	for i, a := range p.wait(ctx, pieces) {
		if a.err != nil {
			return a.err
		}
		if len(a.outcomes) != pieces[i].events {
			return errors.New("not one answer per event")
		}
	}
	return nil
}

func TestProposerJoinsWhatWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		held, never := make(chan struct{}), make(chan struct{})
		way := &scriptedWay{next: func(int, raftfsm.Batch) error { <-held; return nil }}
		p := newProposer(raftfsm.SessionID{Run: 1}, way, func() <-chan struct{} { return never }, 1<<30)
		go p.run()
		var asking sync.WaitGroup
		for range maxBatches + 100 {
			asking.Go(func() { require.NoError(t, ask(t.Context(), p, events(1, "{}"))) })
			synctest.Wait()
		}
		require.Len(t, way.batches(), maxBatches, "the others wait")
		close(held)
		asking.Wait()
		p.close(t.Context())
		synctest.Wait()
		sent := way.batches()
		require.Len(t, sent, maxBatches+1, "all that waited went as one batch")
		require.Equal(t, 100, sent[maxBatches].Events)
	})
}

func TestProposerHasFullBatchesUnderWayByTheirBytes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		held, never := make(chan struct{}), make(chan struct{})
		way := &scriptedWay{next: func(int, raftfsm.Batch) error { <-held; return nil }}
		p := newProposer(raftfsm.SessionID{Run: 1}, way, func() <-chan struct{} { return never }, 1<<30)
		go p.run()
		var asking sync.WaitGroup
		full := maxBatchedBytes / raftfsm.MaxCommandBytes
		require.Less(t, full, maxBatches)
		for range full + 2 {
			asking.Go(func() { require.NoError(t, ask(t.Context(), p, []oncelog.Event{fullEvent()})) })
		}
		synctest.Wait()
		underWay := len(way.batches()) // which are too long to print
		require.Equal(t, full, underWay, "what fills a batch goes at once, and no more than that many")
		close(held)
		asking.Wait()
		p.close(t.Context())
		synctest.Wait()
		sent := len(way.batches())
		require.Equal(t, full+2, sent)
	})
}

// fullEvent is an event that fills a batch alone.
func fullEvent() oncelog.Event {
	e := events(1, "")[0]
	e.Payload = append(append([]byte(`{"big":"`), bytesOf('y', raftfsm.MaxCommandBytes)...), `"}`...)
	return e
}

func TestProposerSendsTheSameBatchAgain(t *testing.T) {
	t.Parallel()
	way := &scriptedWay{next: func(attempt int, _ raftfsm.Batch) error {
		switch attempt {
		case 1:
			return oncelog.ErrNotApplied
		case 2:
			return raftfsm.ErrNotMember
		case 3:
			return oncelog.ErrOutcomeUnknown
		}
		return nil
	}}
	proposing(t, way, 1<<30, func(t *testing.T, p *proposer) {
		require.NoError(t, ask(t.Context(), p, events(3, "{}")))
		sent := way.batches()
		require.Len(t, sent, 4)
		for _, b := range sent {
			require.Equal(t, sent[0], b, "session, number and events stay the same")
		}
		require.NoError(t, ask(t.Context(), p, events(1, "{}")))
		last := way.batches()[4]
		require.Equal(t, uint64(2), last.Number)
		require.Equal(t, uint64(2), last.Settled, "the answered batch is settled")
	})
}

func TestProposerTellsTheOutcomeTruly(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		errs   []error
		expect error
	}{
		{"never applied", []error{oncelog.ErrNotApplied}, oncelog.ErrNotApplied},
		{"perhaps applied once", []error{oncelog.ErrNotApplied, oncelog.ErrOutcomeUnknown, oncelog.ErrNotApplied}, oncelog.ErrOutcomeUnknown},
		{"an error of no kind", []error{errors.New("broken pipe"), oncelog.ErrNotApplied}, oncelog.ErrOutcomeUnknown},
		{"the session has moved on", []error{raftfsm.ErrSessionExpired}, oncelog.ErrOutcomeUnknown},
		{"not a member", []error{raftfsm.ErrNotMember}, oncelog.ErrNotApplied},
		{"no member any more", []error{oncelog.ErrOutcomeUnknown, raftfsm.ErrNotMember}, oncelog.ErrOutcomeUnknown},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			way := &scriptedWay{next: func(attempt int, _ raftfsm.Batch) error {
				return test.errs[min(attempt, len(test.errs))-1]
			}}
			proposing(t, way, 1<<30, func(t *testing.T, p *proposer) {
				pieces := cut(events(1, "{}"), time.Now().Add(time.Second))
				require.NoError(t, p.enqueue(pieces))
				err := p.wait(t.Context(), pieces)[0].err
				require.ErrorIs(t, err, test.expect)
				require.Equal(t, 1, strings.Count(err.Error(), test.expect.Error()), "%v", err)
			})
		})
	}
}

func TestProposerWithdrawsWhatNoBatchHas(t *testing.T) {
	t.Parallel()
	way := &scriptedWay{next: func(int, raftfsm.Batch) error { return oncelog.ErrNotApplied }}
	proposing(t, way, 1<<30, func(t *testing.T, p *proposer) {
		require.NoError(t, p.enqueue(cut(events(1, "{}"), time.Now().Add(time.Minute))))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, ask(ctx, p, events(1, "{}")), oncelog.ErrNotApplied)
		p.mu.Lock()
		waiting := len(p.queue)
		p.mu.Unlock()
		require.Zero(t, waiting)
	})
}

func TestProposerBoundsItsQueue(t *testing.T) {
	t.Parallel()
	es := events(10, `{"k":"`+string(make([]byte, 0))+`v"}`)
	pieces := cut(es, time.Time{})
	size := pieces[0].size()
	hold := make(chan struct{})
	way := &scriptedWay{next: func(int, raftfsm.Batch) error { <-hold; return nil }}
	synctest.Test(t, func(t *testing.T) {
		hold = make(chan struct{})
		p := newProposer(raftfsm.SessionID{}, way, func() <-chan struct{} { return nil }, size)
		go p.run()
		var first sync.WaitGroup
		first.Go(func() { require.NoError(t, ask(t.Context(), p, es)) })
		synctest.Wait()
		require.ErrorIs(t, ask(t.Context(), p, es[:1]), oncelog.ErrQueueFull)
		close(hold)
		first.Wait()
		require.NoError(t, ask(t.Context(), p, es), "answered events make room")
		p.close(t.Context())
		synctest.Wait()
	})
}

func TestARequestOfManyPiecesEndsOnce(t *testing.T) {
	t.Parallel()
	way := &scriptedWay{next: func(int, raftfsm.Batch) error { return oncelog.ErrOutcomeUnknown }}
	proposing(t, way, 1<<30, func(t *testing.T, p *proposer) {
		pieces := cut(events(20_000, `{"text":"`+string(bytesOf('x', 280))+`"}`), time.Now().Add(time.Minute))
		tried := 0
		for size := int64(0); size < maxBatchedBytes; tried++ {
			size += pieces[tried].size()
		}
		require.Greater(t, len(pieces), tried+2)
		require.NoError(t, p.enqueue(pieces))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		before := time.Now()
		answers := p.wait(ctx, pieces)
		require.Equal(t, time.Second+answerGrace, time.Since(before))
		for i, a := range answers {
			want := oncelog.ErrNotApplied
			if i < tried {
				want = oncelog.ErrOutcomeUnknown
			}
			require.ErrorIs(t, a.err, want, "piece %d", i)
		}
	})
}

func TestAnAttemptEndsWhenAnotherLeaderShowsUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		moved := make(chan struct{})
		way := &pausedWay{}
		p := newProposer(raftfsm.SessionID{Run: 1}, way, func() <-chan struct{} { return moved }, 1<<30)
		go p.run()
		var asking sync.WaitGroup
		asking.Go(func() { require.NoError(t, ask(t.Context(), p, events(1, "{}"))) })
		synctest.Wait()
		close(moved)
		asking.Wait()
		require.Equal(t, 2, way.attempts)
		p.close(t.Context())
		synctest.Wait()
	})
}

// pausedWay is a leader that answers nothing at first.
type pausedWay struct{ attempts int }

func (w *pausedWay) submit(ctx context.Context, command []byte) ([]store.Outcome, error) {
	w.attempts++
	if w.attempts == 1 {
		<-ctx.Done()
		return nil, oncelog.ErrOutcomeUnknown
	}
	return (&scriptedWay{}).submit(ctx, command)
}

func TestProposerClosedTakesNothing(t *testing.T) {
	t.Parallel()
	proposing(t, &scriptedWay{}, 1<<30, func(t *testing.T, p *proposer) {
		p.close(t.Context())
		require.ErrorIs(t, ask(t.Context(), p, events(1, "{}")), oncelog.ErrNotApplied)
	})
}

func TestCutKeepsOrderAndSize(t *testing.T) {
	t.Parallel()
	es := events(5000, `{"text":"`+string(bytesOf('x', 280))+`"}`)
	es[100] = fullEvent()
	pieces := cut(es, time.Time{})
	require.Greater(t, len(pieces), 3)
	total := 0
	for _, c := range pieces {
		n, err := store.CountRecords(c.records)
		require.NoError(t, err)
		require.Equal(t, c.events, n)
		if n > 1 {
			require.LessOrEqual(t, len(c.records), raftfsm.MaxCommandBytes)
		}
		require.LessOrEqual(t, len(c.records), cap(c.records))
		total += n
	}
	require.Equal(t, len(es), total)
}

func bytesOf(c byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = c
	}
	return b
}
