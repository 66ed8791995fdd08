package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/oncelog/oncelog/cluster"
)

func newBench(c *console) *cobra.Command {
	o := cluster.DefaultBench()
	var output string
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure a whole cluster on this machine: publishing, forwarding, reading",
		Long: `Measure a whole cluster on this machine: publishing, forwarding, reading.

Nodes start on free ports, a process each, and every case is measured once in
each round. The nodes, the load and whatever else runs share the machine, so
compare within one run rather than between two. After each case the log is held
against what was done to it; a case that fails that is an error and no number.

The cases:
` + benchCases(),
		Example: `  oncelog bench --rounds 5 --output json
  oncelog bench --only batch,single --events 500000
  oncelog bench --only sustained,overload
  oncelog bench --only single --profile-dir /tmp/profiles`,
		Args: atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := validateBench(o); err != nil {
				return err
			}
			return runBench(cmd.Context(), c, o, output)
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&o.Nodes, "nodes", o.Nodes, "how many nodes, 1 to 7")
	flags.Int64Var(&o.Events, "events", o.Events, "how many events a case publishes in batches; the others do a part of it")
	flags.IntVar(&o.Rounds, "rounds", o.Rounds, "how often each case is measured")
	flags.Uint64Var(&o.Seed, "seed", o.Seed, "decides what the events are")
	flags.StringSliceVar(&o.Only, "only", nil, "cases to measure (default all but those that take long)")
	flags.StringVar(&o.Dir, "data-dir", "", "directory for the nodes, whose data is used again (default a temporary one, kept only if a case fails)")
	flags.StringVar(&o.ProfileDir, "profile-dir", "", "directory for CPU profiles of a further round (default none)")
	outputVar(flags, &output)
	return cmd
}

// benchCases are the cases for the help.
func benchCases() string {
	var b strings.Builder
	for _, c := range cluster.BenchCases() {
		fmt.Fprintf(&b, "  %-17s %s\n", c.Name, c.About)
	}
	return strings.TrimRight(b.String(), "\n")
}

// validateBench names the flag whose value is out of its range. Which cases there
// are is for the benchmark to see to.
func validateBench(o cluster.BenchOptions) error {
	switch {
	case o.Nodes < 1 || o.Nodes > maxNodes:
		return usage("--nodes %d: must be 1 to %d", o.Nodes, maxNodes)
	case o.Events < cluster.MinBenchEvents:
		return usage("--events %d: must be %d or more", o.Events, cluster.MinBenchEvents)
	case o.Rounds < 1:
		return usage("--rounds %d: must be 1 or more", o.Rounds)
	}
	return nil
}

func runBench(ctx context.Context, c *console, o cluster.BenchOptions, output string) (err error) {
	if f, ok := c.err.(*os.File); ok && isTerminal(f) {
		o.Progress = f
	}
	collectAt(loadGCPercent)
	o.Version = version().Version
	if o.Binary, err = os.Executable(); err != nil {
		return err
	}
	if o.Dir == "" {
		if o.Dir, err = os.MkdirTemp("", "oncelog-bench-"); err != nil {
			return err
		}
		defer func() { err = discardBench(c, o.Dir, err) }()
	}
	report, err := cluster.Bench(ctx, o)
	switch {
	case ctx.Err() != nil:
		return errBenchStopped
	case errors.Is(err, cluster.ErrOptions):
		return usageError{err}
	case err != nil:
		return err
	case output == outputJSON:
		return writeJSON(c.out, report)
	}
	report.WriteTable(c.out)
	return nil
}

var errBenchStopped = errors.New("the benchmark was stopped")

// discardBench removes a temporary directory, but for a benchmark that has failed.
func discardBench(c *console, dir string, failed error) error {
	if errors.Is(failed, errBenchStopped) || errors.As(failed, new(usageError)) {
		return errors.Join(failed, os.RemoveAll(dir))
	}
	return discard(c, dir, failed)
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
