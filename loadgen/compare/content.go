package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"iter"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/httpapi/wire"
	"github.com/oncelog/oncelog/loadgen"
)

// content is what a log holds, in whatever order: how many events, and the sum of
// the first 8 bytes of the SHA-256 of each one's JSON.
type content struct {
	events int64
	sum    uint64
}

func (c *content) add(text []byte) {
	digest := sha256.Sum256(text)
	c.events++
	c.sum += binary.BigEndian.Uint64(digest[:])
}

// contentOf reads a log to its end.
func contentOf(stored iter.Seq2[[]byte, error]) (c content, err error) {
	for text, err := range stored {
		if err != nil {
			return c, fmt.Errorf("read back, after %d events: %w", c.events, err)
		}
		c.add(text)
	}
	return c, nil
}

// expect returns what a log must hold after a workload, by publishing it to a
// model.
func expect(ctx context.Context, cfg loadgen.Config) (content, error) {
	m := &model{ids: make(map[oncelog.Key]uint64)}
	cfg.Concurrency = 1
	load, err := loadgen.New(cfg, m)
	if err != nil {
		return content{}, err
	}
	if r := load.Run(ctx); !r.OK() {
		return content{}, fmt.Errorf("the workload was %s, after %d events: %w", r.Ended, r.Sent, context.Cause(ctx))
	}
	return m.content, nil
}

// model is a log that keeps what it has to of each event. It serves one caller.
type model struct {
	ids     map[oncelog.Key]uint64
	content content
	text    []byte
}

// Publish stores an event once.
func (m *model) Publish(_ context.Context, e oncelog.Event) (r oncelog.Receipt, err error) {
	r = oncelog.Receipt{Key: e.Key(), Status: oncelog.Duplicate, ID: m.ids[e.Key()]}
	if r.ID > 0 {
		return r, nil
	}
	if m.text, err = wire.AppendEvent(m.text[:0], &e); err != nil {
		return r, err
	}
	m.content.add(m.text)
	r.Status, r.ID = oncelog.Stored, uint64(m.content.events)
	m.ids[e.Key()] = r.ID
	return r, nil
}

// PublishBatch stores events one after the other.
func (m *model) PublishBatch(ctx context.Context, events []oncelog.Event) ([]oncelog.Receipt, error) {
	receipts := make([]oncelog.Receipt, len(events))
	for i, e := range events {
		var err error
		if receipts[i], err = m.Publish(ctx, e); err != nil {
			return nil, err
		}
	}
	return receipts, nil
}

// Resent, ResentEvents and Refused are 0: nothing fails here.
func (*model) Resent() int64       { return 0 }
func (*model) ResentEvents() int64 { return 0 }
func (*model) Refused() int64      { return 0 }
