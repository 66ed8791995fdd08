package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/httpapi/client"
)

// eventsOptions are the flags of events.
type eventsOptions struct {
	inquiry
	query        oncelog.Query
	since, until string
	order        string
	consistency  string
}

func newEvents(c *console) *cobra.Command {
	var o eventsOptions
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Show stored events",
		Args:  atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.complete(); err != nil {
				return err
			}
			return showEvents(cmd.Context(), c, o)
		},
	}
	o.declare(cmd.Flags())
	return cmd
}

func (o *eventsOptions) declare(flags *pflag.FlagSet) {
	o.inquiry.declare(flags)
	flags.StringSliceVar(&o.query.Topics, "topic", nil, "only of these topics")
	flags.StringVar(&o.query.EventID, "event-id", "", "only with this event id")
	flags.StringVar(&o.query.Source, "source", "", "only of this source")
	flags.Uint64Var(&o.query.After, "after", 0, "only behind this id")
	flags.Uint64Var(&o.query.Before, "before", 0, "only before this id")
	flags.StringVar(&o.since, "since", "", "only with this timestamp or a later one")
	flags.StringVar(&o.until, "until", "", "only with a timestamp before this one")
	flags.IntVar(&o.query.Limit, "limit", 0, "at most so many, 0 for all")
	choiceVar(flags, &o.order, "order", "order of the events", "id", "-id")
	consistencyVar(flags, &o.consistency)
}

func consistencyVar(flags *pflag.FlagSet, value *string) {
	choiceVar(flags, value, "consistency", "how recent the answer must be",
		oncelog.Linearizable.String(), oncelog.Stale.String())
}

func consistencyOf(word string) oncelog.Consistency {
	if word == oncelog.Stale.String() {
		return oncelog.Stale
	}
	return oncelog.Linearizable
}

// complete makes the query of the flags.
func (o *eventsOptions) complete() error {
	if o.query.Limit < 0 {
		return usage("--limit %d: must be 0 or more", o.query.Limit)
	}
	if o.order == "-id" {
		o.query.Order = oncelog.ByIDDescending
	}
	for _, bound := range []struct {
		flag, text string
		at         *time.Time
	}{{"since", o.since, &o.query.Since}, {"until", o.until, &o.query.Until}} {
		if bound.text == "" {
			continue
		}
		at, err := oncelog.ParseTimestamp(bound.text)
		if err != nil {
			return usage("--%s %q: %w", bound.flag, bound.text, err)
		}
		*bound.at = at
	}
	return nil
}

func showEvents(ctx context.Context, c *console, o eventsOptions) error {
	log, err := o.targets.open()
	if err != nil {
		return err
	}
	defer log.Close()
	out := newRows(c.out, o.output, "id", "topic", "event_id", "timestamp", "source", "payload")
	defer out.flush()
	return eachEvent(ctx, log, o.query, consistencyOf(o.consistency), o.timeout, out.record)
}

// eachEvent calls take with each event. It fails when none comes for the time-out.
func eachEvent(ctx context.Context, log *client.Client, q oncelog.Query, consistency oncelog.Consistency,
	timeout time.Duration, take func(*oncelog.Record) error,
) error {
	p := newPatience(ctx, timeout)
	defer p.end()
	for r, err := range log.Events(p.ctx, q, consistency) {
		if err != nil {
			return err
		}
		// Whoever reads the output may take as long as they like.
		p.suspend()
		if err := take(&r); err != nil {
			return err
		}
		p.renew()
	}
	return nil
}
