package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"

	"github.com/oncelog/oncelog/loadgen"
)

// eventLog is a running cluster that takes a workload.
type eventLog interface {
	loadgen.Publisher
	// Stored yields the JSON of each event that the log holds, once all replicas
	// are level. A text is good until the next one.
	Stored(ctx context.Context) iter.Seq2[[]byte, error]
	// Close stops the cluster and waits for its processes.
	Close() error
}

// contender is one of the logs that are compared.
type contender struct {
	name string
	// start starts a fresh cluster in an empty directory, ready to take so many
	// requests at once.
	start func(ctx context.Context, dir string, concurrency int) (eventLog, error)
}

// round is what one log made of the workload.
type round struct {
	Log   string `json:"log"`
	Round int    `json:"round"`
	loadgen.Report
	// Faults is why the round does not count; none if it does.
	Faults []string `json:"faults,omitempty"`
}

func (r round) sound() bool { return len(r.Faults) == 0 }

// play runs a round in a new directory below parent. That is kept, with the logs
// of the processes in it, where something is at fault.
func (c contender) play(ctx context.Context, parent string, number int, cfg loadgen.Config, want content) round {
	r := round{Log: c.name, Round: number}
	dir, err := os.MkdirTemp(parent, c.name+"-")
	if err == nil {
		err = r.run(ctx, c, dir, cfg, want)
	}
	if err != nil {
		r.Faults = append(r.Faults, err.Error())
	}
	if r.sound() || ctx.Err() != nil {
		_ = os.RemoveAll(dir)
		return r
	}
	r.Faults = append(r.Faults, "what was left is in "+dir)
	return r
}

func (r *round) run(ctx context.Context, c contender, dir string, cfg loadgen.Config, want content) (err error) {
	log, err := c.start(ctx, dir, cfg.Concurrency)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	load, err := loadgen.New(cfg, log)
	if err != nil {
		return err
	}
	r.Report = load.Run(ctx)
	got, err := contentOf(log.Stored(ctx))
	if err != nil {
		return err
	}
	r.Faults = faults(r.Report, got, want)
	return nil
}

// faults is what is wrong with a run and with what the log then held.
func faults(r loadgen.Report, got, want content) (found []string) {
	if r.Ended != loadgen.Complete || r.Unacked > 0 {
		found = append(found, fmt.Sprintf("run %s, %d of %d events not acknowledged, failed attempts %v", r.Ended, r.Unacked, r.Sent, r.Errors))
	}
	// An event that was sent again may be told to be a duplicate of itself.
	if r.Stored > want.events || r.Stored+r.ResentEvents < want.events {
		found = append(found, fmt.Sprintf("%d events acknowledged as stored, and not %d", r.Stored, want.events))
	}
	switch {
	case got.events != want.events:
		found = append(found, fmt.Sprintf("%d events read back, and not %d", got.events, want.events))
	case got.sum != want.sum:
		found = append(found, "what was read back is not what was sent")
	}
	return found
}
