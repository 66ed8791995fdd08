package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/httpapi/wire"
)

// publisher is a loadgen.Publisher to JetStream. An event's message id is its
// key, by which the stream knows it again.
//
// JetStream refuses an event whose first message is still on its way to the
// quorum, as "duplicate message id is in process". It is then to be sent again,
// which the publisher does and counts.
type publisher struct {
	// slots holds each connection as often as it may be used at once.
	slots  chan jetstream.JetStream
	resent atomic.Int64
}

// publishPatience is how long a message may wait for its turn and for its
// acknowledgement.
const publishPatience = 30 * time.Second

// newPublisher spreads so many calls at once over connections, each of which has
// at most window messages unacknowledged.
func newPublisher(conns []*nats.Conn, concurrency, window int) (*publisher, error) {
	streams := make([]jetstream.JetStream, len(conns))
	for i, c := range conns {
		js, err := jetstream.New(c, jetstream.WithPublishAsyncMaxPending(window), jetstream.WithPublishAsyncTimeout(publishPatience))
		if err != nil {
			return nil, err
		}
		streams[i] = js
	}
	p := &publisher{slots: make(chan jetstream.JetStream, concurrency)}
	for i := range concurrency {
		p.slots <- streams[i%len(streams)]
	}
	return p, nil
}

// Resent and ResentEvents count what was refused as being in process.
func (p *publisher) Resent() int64       { return p.resent.Load() }
func (p *publisher) ResentEvents() int64 { return p.resent.Load() }

// Refused is 0: JetStream has its own ways to hold a publisher up.
func (*publisher) Refused() int64 { return 0 }

// Publish sends one event and waits for its acknowledgement.
func (p *publisher) Publish(ctx context.Context, e oncelog.Event) (oncelog.Receipt, error) {
	js := <-p.slots
	defer func() { p.slots <- js }()
	for {
		m, err := message(e)
		if err != nil {
			return oncelog.Receipt{}, err
		}
		ack, err := js.PublishMsg(ctx, m)
		switch {
		case err == nil:
			return receipt(e, ack), nil
		case !inProcess(err):
			return oncelog.Receipt{}, fmt.Errorf("jetstream: %w", err)
		}
		p.pause(1)
	}
}

// PublishBatch sends events as fast as the window lets them, and waits until all
// are acknowledged.
func (p *publisher) PublishBatch(ctx context.Context, events []oncelog.Event) ([]oncelog.Receipt, error) {
	js := <-p.slots
	defer func() { p.slots <- js }()
	receipts := make([]oncelog.Receipt, len(events))
	todo := make([]int, len(events))
	for i := range todo {
		todo[i] = i
	}
	for {
		refused, err := publishWindowed(ctx, js, events, receipts, todo)
		if err != nil || len(refused) == 0 {
			return receipts, err
		}
		todo = refused
		p.pause(len(refused))
	}
}

// pause waits before n events are sent again.
func (p *publisher) pause(n int) {
	const resendAfter = 5 * time.Millisecond
	p.resent.Add(int64(n))
	time.Sleep(resendAfter)
}

// publishWindowed sends the events of the indexes todo and fills in their
// receipts. It returns the indexes of those to send again.
func publishWindowed(ctx context.Context, js jetstream.JetStream, events []oncelog.Event, receipts []oncelog.Receipt, todo []int) (refused []int, err error) {
	futures := make([]jetstream.PubAckFuture, len(todo))
	for n, i := range todo {
		m, err := message(events[i])
		if err != nil {
			return nil, err
		}
		if futures[n], err = js.PublishMsgAsync(m, jetstream.WithStallWait(publishPatience)); err != nil {
			return nil, fmt.Errorf("jetstream: %w", err)
		}
	}
	for n, i := range todo {
		select {
		case ack := <-futures[n].Ok():
			receipts[i] = receipt(events[i], ack)
		case err := <-futures[n].Err():
			if !inProcess(err) {
				return nil, fmt.Errorf("jetstream: %w", err)
			}
			refused = append(refused, i)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return refused, nil
}

// message is an event as JetStream gets it: the JSON that oncelog gets.
func message(e oncelog.Event) (*nats.Msg, error) {
	body, err := wire.AppendEvent(nil, &e)
	if err != nil {
		return nil, err
	}
	m := &nats.Msg{Subject: subjects + e.Topic, Data: body, Header: nats.Header{}}
	m.Header.Set(jetstream.MsgIDHeader, e.Topic+"/"+e.EventID)
	return m, nil
}

func receipt(e oncelog.Event, ack *jetstream.PubAck) oncelog.Receipt {
	r := oncelog.Receipt{Key: e.Key(), Status: oncelog.Stored, ID: ack.Sequence}
	if ack.Duplicate {
		r.Status = oncelog.Duplicate
	}
	return r
}

// inProcess tells that an event's first message has no outcome yet.
func inProcess(err error) bool {
	var refusal *jetstream.APIError
	return errors.As(err, &refusal) && refusal.ErrorCode == jetstream.ErrorCode(server.JSStreamDuplicateMessageConflict)
}
