package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/httpapi/client"
	"github.com/oncelog/oncelog/httpapi/wire"
)

const (
	// tailFirst is how many of the newest events tail begins with.
	tailFirst = 10
	// tailInterval is how often it looks for new ones.
	tailInterval = 500 * time.Millisecond
)

// tailing is a tail under way.
type tailing struct {
	inquiry
	console *console
	log     *client.Client
	query   oncelog.Query
	line    []byte
}

func newTail(c *console) *cobra.Command {
	t := &tailing{console: c}
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Show the newest events, and go on with each new one",
		Args:  atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return t.run(cmd.Context(), cmd.Flags().Changed("after"))
		},
	}
	flags := cmd.Flags()
	t.declare(flags)
	flags.StringSliceVar(&t.query.Topics, "topic", nil, "only of these topics")
	flags.Uint64Var(&t.query.After, "after", 0, "begin behind this id (default with the newest few)")
	return cmd
}

// run goes on until ctx ends, which is its good end.
func (t *tailing) run(ctx context.Context, fromID bool) (err error) {
	if t.log, err = t.targets.open(); err != nil {
		return err
	}
	defer t.log.Close()
	if !fromID {
		err = t.begin(ctx)
	}
	ticker := time.NewTicker(tailInterval)
	defer ticker.Stop()
	for err == nil {
		err = eachEvent(ctx, t.log, t.query, oncelog.Linearizable, t.timeout, t.show)
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			return nil
		}
	}
	return err
}

// begin shows the newest few events.
func (t *tailing) begin(ctx context.Context) error {
	q := t.query
	q.Order, q.Limit = oncelog.ByIDDescending, tailFirst
	var newest []oncelog.Record
	err := eachEvent(ctx, t.log, q, oncelog.Linearizable, t.timeout, func(r *oncelog.Record) error {
		newest = append(newest, *r)
		return nil
	})
	if err != nil {
		return err
	}
	for _, r := range slices.Backward(newest) {
		if err := t.show(&r); err != nil {
			return err
		}
	}
	return nil
}

// show writes an event on a line of its own: a table could not go on.
func (t *tailing) show(r *oncelog.Record) error {
	t.query.After = r.ID
	if t.output == outputJSON {
		t.line = wire.AppendRecord(t.line[:0], r)
	} else {
		t.line = fmt.Appendf(t.line[:0], "%d  %s  %s/%s  %s", r.ID, timeText(r.Timestamp), r.Topic, r.EventID, r.Payload)
	}
	t.line = append(t.line, '\n')
	_, err := t.console.out.Write(t.line)
	return err
}
