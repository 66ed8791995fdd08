package call

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"
)

// link is the connection to one node.
type link struct {
	// ready is closed when stream, or err where there is none, is set.
	ready  chan struct{}
	stream *stream
	err    error

	// mu guards what follows.
	mu sync.Mutex
	// waiting has the calls that wait for their reply, by number. It is nil once
	// the stream has ended.
	waiting map[uint64]chan<- Reply
	last    uint64
}

// call sends a call and waits for its reply.
func (l *link) call(ctx context.Context, m Method, body []byte) (Reply, error) {
	reply := make(chan Reply, 1)
	number, ok := l.begin(reply)
	if !ok || !l.stream.send(frame{kind: kindCall, number: number, code: uint8(m), millis: millis(ctx), body: body}) {
		return Reply{}, fmt.Errorf("%w: %w", ErrNotSent, l.stream.reason())
	}
	select {
	case r, ok := <-reply:
		if !ok {
			return Reply{}, fmt.Errorf("%w: %w", ErrNoReply, l.stream.reason())
		}
		return r, nil
	case <-ctx.Done():
		l.take(number)
		return Reply{}, fmt.Errorf("%w: %w", ErrNoReply, context.Cause(ctx))
	}
}

// millis is the time that ctx leaves, rounded up; 0 if it has no deadline.
func millis(ctx context.Context) uint32 {
	deadline, ok := ctx.Deadline()
	if !ok {
		return 0
	}
	left := time.Until(deadline)/time.Millisecond + 1
	return uint32(min(max(left, 1), math.MaxUint32))
}

func (l *link) begin(reply chan<- Reply) (number uint64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waiting == nil {
		return 0, false
	}
	l.last++
	l.waiting[l.last] = reply
	return l.last, true
}

// take returns who waits for the reply to a call, nil where nobody does any more.
func (l *link) take(number uint64) chan<- Reply {
	l.mu.Lock()
	defer l.mu.Unlock()
	reply := l.waiting[number]
	delete(l.waiting, number)
	return reply
}

// run hands out replies until the stream ends, and tells those who still wait.
func (l *link) run() {
	for {
		f, err := l.stream.receive()
		if err == nil && f.kind != kindReply {
			err = fmt.Errorf("%w: a call from the node that was dialled", errBadFrame)
		}
		if err != nil {
			l.stream.end(err)
			break
		}
		if reply := l.take(f.number); reply != nil {
			reply <- Reply{Status: Status(f.code), Body: f.body}
		}
	}
	l.stream.tasks.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, reply := range l.waiting {
		close(reply)
	}
	l.waiting = nil
}
