package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"github.com/oncelog/oncelog/httpapi/client"
)

// targets are the nodes that a client's command asks.
type targets []string

func (t *targets) declare(flags *pflag.FlagSet) {
	flags.StringSliceVar((*[]string)(t), "targets", []string{"http://127.0.0.1:8080"}, "base URLs of the nodes' APIs")
}

// open returns a client of all of them, for the caller to close.
func (t targets) open() (*client.Client, error) {
	c, err := client.New(t)
	if err != nil {
		return nil, badTargets(err)
	}
	return c, nil
}

func badTargets(err error) error {
	return usage("--targets: must be base URLs such as http://127.0.0.1:8080: %w", err)
}

// inquiry is what the small commands have in common: whom to ask, for how long,
// and the form of the answer.
type inquiry struct {
	targets targets
	timeout time.Duration
	output  string
}

func (q *inquiry) declare(flags *pflag.FlagSet) {
	q.targets.declare(flags)
	flags.DurationVar(&q.timeout, "timeout", 10*time.Second, "how long to wait for an answer")
	outputVar(flags, &q.output)
}

// with calls ask with an open client and a bounded context.
func (q *inquiry) with(ctx context.Context, ask func(context.Context, *client.Client) error) error {
	if q.timeout <= 0 {
		return usage("--timeout %s: must be more than 0", q.timeout)
	}
	c, err := q.targets.open()
	if err != nil {
		return err
	}
	defer c.Close()
	p := newPatience(ctx, q.timeout)
	defer p.end()
	return ask(p.ctx, c)
}

// patience is a context that ends when nothing has happened for a while.
type patience struct {
	ctx   context.Context
	end   func()
	timer *time.Timer
	limit time.Duration
}

func newPatience(ctx context.Context, limit time.Duration) *patience {
	ctx, cancel := context.WithCancelCause(ctx)
	p := &patience{ctx: ctx, limit: limit}
	p.timer = time.AfterFunc(limit, func() { cancel(fmt.Errorf("no answer for %s", limit)) })
	p.end = func() {
		p.timer.Stop()
		cancel(nil)
	}
	return p
}

// suspend stops the waiting, renew begins it anew.
func (p *patience) suspend() { p.timer.Stop() }
func (p *patience) renew()   { p.timer.Reset(p.limit) }
