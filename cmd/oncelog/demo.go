package main

import (
	"context"
	"errors"
	"os"

	"github.com/spf13/cobra"

	"github.com/oncelog/oncelog/cluster"
)

// errVerdict: what had to hold does not. The report says what.
var errVerdict = errors.New("the verdict is bad")

func newDemo(c *console) *cobra.Command {
	o := cluster.DefaultDemo()
	var output string
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show a cluster that survives a kill -9 of its leader under load",
		Long: `Show a cluster that survives a kill -9 of its leader under load.

Three nodes start on free ports and take events. A third of the way the leader is
killed, at two thirds it is started again. At the end everything is read back
from every node and held against what was acknowledged.`,
		Args: atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case o.Workload.Events < cluster.MinDemoEvents:
				return usage("--events %d: must be %d or more", o.Workload.Events, cluster.MinDemoEvents)
			case o.Rate < 0:
				return usage("--rate %v: must be 0 or more", o.Rate)
			}
			return runDemo(cmd.Context(), c, o, output)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.Dir, "data-dir", "", "empty directory for the nodes (default a temporary one, kept only if the verdict is bad)")
	flags.Int64Var(&o.Workload.Events, "events", o.Workload.Events, "how many events are published")
	flags.Float64Var(&o.Rate, "rate", o.Rate, "events per second, 0 for as many as can be")
	flags.Uint64Var(&o.Workload.Seed, "seed", o.Workload.Seed, "decides what the events are")
	outputVar(flags, &output)
	return cmd
}

func runDemo(ctx context.Context, c *console, o cluster.DemoOptions, output string) (err error) {
	o.Narration = c.err
	if o.Binary, err = os.Executable(); err != nil {
		return err
	}
	if o.Dir == "" {
		if o.Dir, err = os.MkdirTemp("", "oncelog-demo-"); err != nil {
			return err
		}
		defer func() { err = discard(c, o.Dir, err) }()
	}
	report, err := cluster.Demo(ctx, o)
	if err != nil {
		return err
	}
	if output == outputJSON {
		err = writeJSON(c.out, report)
	} else {
		report.WriteTable(c.out)
	}
	if err == nil && !report.OK() {
		err = errVerdict
	}
	return err
}

// discard removes a temporary directory, or says where it is if something failed.
func discard(c *console, dir string, failed error) error {
	if failed == nil {
		return os.RemoveAll(dir)
	}
	c.say("the nodes' data and logs are kept in %s", dir)
	return failed
}
