package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/httpapi/client"
	"github.com/oncelog/oncelog/httpapi/wire"
)

func newStats(c *console) *cobra.Command {
	var q inquiry
	var consistency string
	cmd := &cobra.Command{
		Use:   "stats",
		Short: "Show the log in numbers",
		Args:  atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return q.with(cmd.Context(), func(ctx context.Context, log *client.Client) error {
				stats, err := log.Stats(ctx, consistencyOf(consistency))
				if err != nil {
					return err
				}
				return showStats(c, q.output, &stats)
			})
		},
	}
	q.declare(cmd.Flags())
	consistencyVar(cmd.Flags(), &consistency)
	return cmd
}

func showStats(c *console, output string, s *oncelog.Stats) error {
	if output == outputJSON {
		text, err := wire.AppendStats(nil, s)
		if err != nil {
			return err
		}
		_, err = c.out.Write(append(text, '\n'))
		return err
	}
	t := newTable(c.out)
	t.AppendRow([]any{"received", s.Received})
	t.AppendRow([]any{"unique", s.Unique})
	t.AppendRow([]any{"duplicates", s.Duplicates})
	t.AppendRow([]any{"conflicts", s.Conflicts})
	t.AppendSeparator()
	for _, topic := range s.Topics {
		t.AppendRow([]any{"topic " + topic.Topic, topic.Count})
	}
	t.AppendSeparator()
	t.AppendRow([]any{"node", s.Node})
	t.AppendRow([]any{"leader", s.Leader})
	t.AppendRow([]any{"term", s.Term})
	t.AppendRow([]any{"applied index", s.AppliedIndex})
	t.AppendRow([]any{"digest", s.Digest})
	t.AppendRow([]any{"uptime", s.Uptime.Round(time.Second)})
	t.Render()
	return nil
}
