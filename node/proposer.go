package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/raftfsm"
	"github.com/oncelog/oncelog/raftfsm/store"
)

const (
	// maxBatches is how many batches a node has under way at once. More, and smaller
	// ones, wait less for each other on the way to an entry of the log; each costs a
	// call.
	maxBatches = 8
	// maxBatchedBytes bounds what these batches hold together, but for the last: with
	// as much from each of three nodes the leader has all it can do. More would only
	// wait there, and in memory for longer.
	maxBatchedBytes = maxEntries * raftfsm.MaxCommandBytes
	// maxUnsettled bounds how far the numbers of unsettled batches may lie apart,
	// and so what the state machine remembers of this session.
	maxUnsettled = 256
	// retryPause is the wait before a batch is sent again, unless a new leader
	// shows up sooner.
	retryPause = 50 * time.Millisecond
	// attemptTime is what an attempt should have: a batch that has less left is not
	// tried once more where the answer is certain already.
	attemptTime = time.Second
	// answerGrace is how long a request whose time is up still waits for its
	// batch to say how far it got.
	answerGrace = 100 * time.Millisecond
)

// submitter makes one attempt to have a command applied.
type submitter interface {
	submit(ctx context.Context, command []byte) ([]store.Outcome, error)
}

// proposer joins the events of all requests in flight into batches and sends
// each until it is answered or given up.
type proposer struct {
	session raftfsm.SessionID
	way     submitter
	// moved returns a channel that is closed when another leader shows up.
	moved      func() <-chan struct{}
	queueBytes int64

	// mu guards what follows; changed is signalled when any of it changes.
	mu      sync.Mutex
	changed sync.Cond
	// queue holds the pieces that wait for a batch, in order of arrival.
	queue []*piece
	// bytes is the size of all pieces that were taken and not answered.
	//
	// Invariant: at most queueBytes.
	bytes int64
	// next is the number of the next batch; unsettled the numbers under way, and
	// batched the size of their pieces.
	next      uint64
	unsettled map[uint64]bool
	batched   int64
	closed    bool
	// admission refuses what would wait too long.
	admission admission

	senders sync.WaitGroup
	// sending ends, by giveUp, the attempts of all batches.
	sending context.Context
	giveUp  context.CancelFunc
}

// piece is a part of one request's events that travels whole in one batch.
type piece struct {
	records  []byte
	events   int
	deadline time.Time
	// answer gets the one answer; it never blocks.
	answer chan pieceAnswer
	// taken is set, under the proposer's mu, when a batch has taken the piece.
	taken bool
}

// pieceOverhead is about what a piece takes in memory besides its records.
const pieceOverhead = 256

func (c *piece) size() int64 { return int64(len(c.records)) + pieceOverhead }

type pieceAnswer struct {
	outcomes []store.Outcome
	err      error
}

// batch is some pieces under one number.
type batch struct {
	number   uint64
	command  []byte
	pieces   []*piece
	deadline time.Time
}

func (b *batch) events() (n int) {
	for _, c := range b.pieces {
		n += c.events
	}
	return n
}

func (b *batch) size() (n int64) {
	for _, c := range b.pieces {
		n += c.size()
	}
	return n
}

func newProposer(session raftfsm.SessionID, way submitter, moved func() <-chan struct{}, queueBytes int64) *proposer {
	p := &proposer{
		session: session, way: way, moved: moved, queueBytes: queueBytes, next: 1, unsettled: make(map[uint64]bool),
		admission: newAdmission(),
	}
	p.changed.L = &p.mu
	p.sending, p.giveUp = context.WithCancel(context.Background())
	return p
}

// enqueue takes pieces in, all or none.
func (p *proposer) enqueue(pieces []*piece) error {
	var size int64
	for _, c := range pieces {
		size += c.size()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.admit(size, pieces[0].deadline); err != nil {
		return err
	}
	p.bytes += size
	p.queue = append(p.queue, pieces...)
	p.changed.Signal()
	return nil
}

// admits tells whether enqueue would take so many bytes now, so that nobody reads
// and decodes them for nothing.
func (p *proposer) admits(size int64, deadline time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.admit(size, deadline)
}

func (p *proposer) admit(size int64, deadline time.Time) error {
	now := time.Now()
	switch {
	case p.closed:
		return fmt.Errorf("%w: the node is shutting down", oncelog.ErrNotApplied)
	case p.bytes+size > p.queueBytes:
		return p.admission.refuse(now, p.bytes, size, deadline.Sub(now))
	}
	return p.admission.admit(now, p.bytes, size, deadline.Sub(now))
}

// wait returns the answers to pieces, in order. When ctx ends first, the pieces
// that no batch has are withdrawn, and the errors tell of the others what their
// batches knew by then.
func (p *proposer) wait(ctx context.Context, pieces []*piece) []pieceAnswer {
	answers := make([]pieceAnswer, len(pieces))
	i := 0
	for ; i < len(pieces); i++ {
		select {
		case answers[i] = <-pieces[i].answer:
			continue
		case <-ctx.Done():
		}
		break
	}
	var taken []int
	for ; i < len(pieces); i++ {
		if p.withdraw(pieces[i]) {
			answers[i].err = oncelog.ErrNotApplied
		} else {
			taken = append(taken, i)
		}
	}
	// The batches most likely give up at this very moment, and know more.
	grace, cancel := context.WithTimeout(context.Background(), answerGrace)
	defer cancel()
	for _, i := range taken {
		select {
		case answers[i] = <-pieces[i].answer:
		case <-grace.Done():
			answers[i].err = oncelog.ErrOutcomeUnknown
		}
	}
	return answers
}

// withdraw takes a piece back, unless a batch has it.
func (p *proposer) withdraw(c *piece) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.taken {
		return false
	}
	for i, queued := range p.queue {
		if queued == c {
			p.queue = append(p.queue[:i], p.queue[i+1:]...)
			p.bytes -= c.size()
			break
		}
	}
	c.taken = true
	return true
}

// run sends batches until close has been called and all are answered.
func (p *proposer) run() {
	for {
		b := p.fill()
		if b == nil {
			break
		}
		p.senders.Go(func() { p.send(b) })
	}
	p.senders.Wait()
	p.giveUp()
}

// close takes no more pieces and makes run end: once all that was taken is
// answered, or given up when ctx ends.
func (p *proposer) close(ctx context.Context) {
	p.mu.Lock()
	p.closed = true
	p.changed.Broadcast()
	p.mu.Unlock()
	context.AfterFunc(ctx, p.giveUp)
}

// fill waits until a batch may go and makes it of the pieces that wait. It
// returns nil after close.
func (p *proposer) fill() *batch {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.queue) == 0 || !p.mayStart() {
		if p.closed && len(p.queue) == 0 {
			return nil
		}
		p.changed.Wait()
	}
	b := &batch{number: p.next}
	p.next++
	p.unsettled[b.number] = true
	b.pieces = p.take()
	p.batched += b.size()
	b.command = p.encode(b)
	for _, c := range b.pieces {
		if c.deadline.After(b.deadline) {
			b.deadline = c.deadline
		}
	}
	return b
}

func (p *proposer) mayStart() bool {
	return len(p.unsettled) < maxBatches && p.batched < maxBatchedBytes && p.next-p.settled() < maxUnsettled
}

// settled is the lowest number that still waits for its answer.
func (p *proposer) settled() uint64 {
	lowest := p.next
	for number := range p.unsettled {
		lowest = min(lowest, number)
	}
	return lowest
}

// take removes pieces from the queue's head, up to a command's size.
func (p *proposer) take() []*piece {
	n, size := 0, 0
	for n < len(p.queue) && (n == 0 || size+len(p.queue[n].records) <= raftfsm.MaxCommandBytes) {
		size += len(p.queue[n].records)
		p.queue[n].taken = true
		n++
	}
	pieces := append([]*piece(nil), p.queue[:n]...)
	clear(p.queue[:n])
	p.queue = p.queue[n:]
	return pieces
}

func (p *proposer) encode(b *batch) []byte {
	parts := make([][]byte, len(b.pieces))
	for i, c := range b.pieces {
		parts[i] = c.records
	}
	return raftfsm.EncodePublish(raftfsm.Batch{
		Session: p.session, Number: b.number, Settled: p.settled(), Events: b.events(),
	}, parts...)
}

// send has one batch applied, attempt by attempt, and answers its pieces.
func (p *proposer) send(b *batch) {
	ctx, cancel := context.WithDeadline(p.sending, b.deadline)
	defer cancel()
	outcomes, err := p.attempts(ctx, b.command)
	if events := b.events(); err == nil && len(outcomes) != events {
		err = fmt.Errorf("%w: %d answers to %d events", oncelog.ErrOutcomeUnknown, len(outcomes), events)
	}
	p.settle(b, err == nil)
	for _, c := range b.pieces {
		answer := pieceAnswer{err: err}
		if err == nil {
			answer.outcomes = outcomes[:c.events:c.events]
			outcomes = outcomes[c.events:]
		}
		c.answer <- answer
	}
}

// attempts sends a command again and again, which the session makes safe. Once
// an attempt may have been applied, only an answer of the state machine can
// tell; until then the outcome is unknown.
func (p *proposer) attempts(ctx context.Context, command []byte) ([]store.Outcome, error) {
	perhaps := false
	for {
		moved := p.moved()
		outcomes, err := p.attempt(ctx, moved, command)
		switch {
		case err == nil:
			return outcomes, nil
		case errors.Is(err, raftfsm.ErrSessionExpired),
			perhaps && errors.Is(err, raftfsm.ErrNotMember):
			// A node that is taken in again begins a new session, to which a batch
			// that was applied in the old one would be new.
			return nil, because(oncelog.ErrOutcomeUnknown, err)
		case !certainlyNotApplied(err):
			perhaps = true
		case !perhaps && errors.Is(err, oncelog.ErrDiskFull) && !timeLeft(ctx, attemptTime):
			return nil, err
		}
		select {
		case <-moved:
		case <-time.After(retryPause):
		case <-ctx.Done():
			if perhaps {
				return nil, because(oncelog.ErrOutcomeUnknown, err)
			}
			return nil, because(oncelog.ErrNotApplied, err)
		}
	}
}

// timeLeft tells whether ctx goes on for at least d.
func timeLeft(ctx context.Context, d time.Duration) bool {
	deadline, ok := ctx.Deadline()
	return !ok || time.Until(deadline) >= d
}

// certainlyNotApplied tells the errors of an attempt that left no trace.
func certainlyNotApplied(err error) bool {
	return errors.Is(err, oncelog.ErrNotApplied) || errors.Is(err, raftfsm.ErrNotMember) || errors.Is(err, oncelog.ErrDiskFull)
}

// attempt is given up when another leader shows up: the one that it went to may
// be paused, and would hold it.
func (p *proposer) attempt(ctx context.Context, moved <-chan struct{}, command []byte) ([]store.Outcome, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-moved:
			cancel()
		case <-ctx.Done():
		}
	}()
	return p.way.submit(ctx, command)
}

// settle ends a batch: it will never be sent again.
func (p *proposer) settle(b *batch, answered bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.unsettled, b.number)
	size := b.size()
	p.bytes -= size
	p.batched -= size
	if answered {
		p.admission.settled(time.Now(), size, p.bytes)
	}
	p.changed.Broadcast()
}
