package cluster

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/httpapi/wire"
)

// linePause is the longest pause between two lines of a stream.
const linePause = 20 * time.Millisecond

// stream sends some events as one stream of lines. Each is an operation of its own,
// which begins with its line and ends with the answer to it. A line without an
// answer has an outcome that is not known, and one that was not sent has none.
func (a *asker) stream(ctx context.Context, n *Node, size int) {
	ops, events := a.compose(n, size, 0, 1)
	// The pauses are drawn here: chance is not for two goroutines.
	pauses := make([]time.Duration, size)
	for i := range pauses {
		pauses[i] = between(a.chance, 0, linePause)
	}
	body, lines := io.Pipe()
	var calls []time.Duration
	var saying sync.WaitGroup
	saying.Go(func() { calls = a.say(ctx, lines, events, pauses) })
	answered := a.hear(ctx, n, body, ops)
	_ = body.Close()
	saying.Wait()
	end := a.now()
	for i := range calls {
		ops[i].call = calls[i]
		if i >= answered {
			ops[i].told, ops[i].back = toldUnknown, end
		}
	}
	a.add(ops[:len(calls)]...)
}

// say writes lines until all are written or nobody takes them any more, and returns
// when it began with each.
func (a *asker) say(ctx context.Context, lines *io.PipeWriter, events []oncelog.Event, pauses []time.Duration) (calls []time.Duration) {
	for i := range events {
		text, err := wire.AppendEvent(nil, &events[i])
		if err != nil {
			a.fault(err)
			break
		}
		calls = append(calls, a.now())
		if _, err := lines.Write(append(text, '\n')); err != nil {
			break
		}
		rest(ctx, pauses[i])
	}
	_ = lines.Close()
	return calls
}

// hear takes the answers to lines, and returns to how many there was one.
func (a *asker) hear(ctx context.Context, n *Node, body io.Reader, ops []operation) (answered int) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, n.URL()+"/publish/batch", body)
	if err != nil {
		a.fault(err)
		return 0
	}
	r.Header.Set("Content-Type", "application/x-ndjson")
	answer, err := a.lines.Do(r)
	if err != nil {
		return 0
	}
	defer func() { _ = answer.Body.Close() }()
	switch answer.StatusCode {
	case http.StatusOK:
	case http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusInsufficientStorage:
		return 0
	default:
		a.fault(fmt.Errorf("an answer to a stream: %s", answer.Status))
		return 0
	}
	var d wire.Decoder
	for texts := bufio.NewReader(answer.Body); answered < len(ops); answered++ {
		// Half a line is where a node died.
		text, err := texts.ReadBytes('\n')
		if err != nil || bytes.Contains(text, []byte(`"status":"error"`)) {
			break
		}
		receipt, err := d.Receipt(text)
		if err != nil || receipt.Key != ops[answered].key {
			a.fault(fmt.Errorf("an answer to line %d of a stream, %v: %q, %w", answered+1, ops[answered].key, text, err))
			break
		}
		ops[answered].back = a.now()
		a.acknowledge(&ops[answered], receipt)
	}
	return answered
}
