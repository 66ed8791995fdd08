package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/httpapi/client"
	"github.com/oncelog/oncelog/httpapi/wire"
)

func newLeave(c *console) *cobra.Command {
	var q inquiry
	var force bool
	cmd := &cobra.Command{
		Use:   "leave [NODE]",
		Short: "Remove a node, by its name or id, from the cluster for good",
		Long: `Remove a node, by its name or id, from the cluster for good. Without NODE it is
the one node that --targets names.

The node hands its part on if it leads, is removed from the voters, and stops. Its
data directory can not be used again. It is refused where the voters that are left
would have no majority. To stop a node for a while, stop its process.`,
		Example: `  oncelog leave --targets http://127.0.0.1:8083
  oncelog leave n4
  oncelog leave n4 --force         it is dead, and nothing comes in its place`,
		Args: atMost(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 && len(q.targets) != 1 {
				return usage("--targets names %d nodes: say which of them leaves, by its name or id", len(q.targets))
			}
			return q.with(cmd.Context(), func(ctx context.Context, log *client.Client) error {
				node, err := leaver(ctx, log, args)
				if err != nil {
					return err
				}
				departed, err := log.Leave(ctx, node, force)
				if err != nil {
					return err
				}
				return showDeparture(c, q.output, &departed)
			})
		},
	}
	q.declare(cmd.Flags())
	cmd.Flags().BoolVar(&force, "force", false, "remove a node that is dead and has no successor")
	return cmd
}

// leaver is the node that is to leave: the one named, or else the one asked.
func leaver(ctx context.Context, log *client.Client, args []string) (string, error) {
	if len(args) > 0 {
		return args[0], nil
	}
	stats, err := log.Stats(ctx, oncelog.Stale)
	return stats.Node, err
}

func showDeparture(c *console, output string, d *oncelog.Departure) error {
	if output == outputJSON {
		text, err := wire.AppendDeparture(nil, d)
		if err != nil {
			return err
		}
		_, err = c.out.Write(append(text, '\n'))
		return err
	}
	_, err := fmt.Fprintf(c.out, "%s (%s) has left; %s\n", d.Name, d.ID, toleranceText(d.Voters, d.FailureTolerance))
	return err
}

// toleranceText says how many failures a cluster survives.
func toleranceText(voters, tolerance int) string {
	plural := func(n int, noun string) string {
		if n != 1 {
			noun += "s"
		}
		return fmt.Sprintf("%d %s", n, noun)
	}
	return fmt.Sprintf("%s, the cluster survives %s", plural(voters, "voter"), plural(tolerance, "more failure"))
}
