package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/httpapi/client"
	"github.com/oncelog/oncelog/httpapi/wire"
)

var errNoLeader = errors.New("the cluster has no leader now")

func newStatus(c *console) *cobra.Command {
	var q inquiry
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the nodes of the cluster; without a leader the exit status is 1",
		Args:  atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return q.with(cmd.Context(), func(ctx context.Context, log *client.Client) error {
				view, err := log.Cluster(ctx)
				if err != nil {
					return err
				}
				if err := showCluster(c, q.output, &view); err != nil {
					return err
				}
				if view.Leader == "" {
					return errNoLeader
				}
				return nil
			})
		},
	}
	q.declare(cmd.Flags())
	return cmd
}

func showCluster(c *console, output string, view *oncelog.Cluster) error {
	if output == outputJSON {
		text, err := wire.AppendCluster(nil, view)
		if err != nil {
			return err
		}
		_, err = c.out.Write(append(text, '\n'))
		return err
	}
	t := newTable(c.out, "name", "role", "status", "level", "API", "raft", "gossip", "applied", "lag", "version", "id")
	for _, m := range view.Nodes {
		t.AppendRow([]any{m.Name, m.Role, m.Status, yesNo(m.Level), m.HTTPAddr, m.RaftAddr, m.GossipAddr, m.AppliedIndex, m.Lag, m.Version, m.ID})
	}
	state := toleranceText(view.Voters, view.FailureTolerance)
	if view.Leader == "" {
		state = fmt.Sprintf("no leader among %d voters", view.Voters)
	}
	t.SetCaption("cluster %s, term %d: %s", view.ID, view.Term, state)
	t.Render()
	return nil
}

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}
