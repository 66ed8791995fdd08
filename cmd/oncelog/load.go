package main

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/loadgen"
)

// loadOptions are the flags of load.
type loadOptions struct {
	loadgen.Config
	targets targets
	output  string
}

func newLoad(c *console) *cobra.Command {
	o := loadOptions{Config: loadgen.DefaultConfig()}
	cmd := &cobra.Command{
		Use:   "load",
		Short: "Publish a workload, measure it, and prove what was stored",
		Long: `Publish a workload, measure it, and prove what was stored.

The same seed makes the same events: a second run against the same log finds
every one of them a duplicate.`,
		Example: `  oncelog load --targets http://127.0.0.1:8080,http://127.0.0.1:8081,http://127.0.0.1:8082 --verify`,
		Args:    atMost(0),
		RunE:    func(cmd *cobra.Command, _ []string) error { return runLoad(cmd.Context(), c, o) },
	}
	o.declare(cmd.Flags())
	return cmd
}

func (o *loadOptions) declare(flags *pflag.FlagSet) {
	w := &o.Workload
	o.targets.declare(flags)
	flags.Int64Var(&w.Events, "events", w.Events, "how many events, repeats included; 0 for no end")
	flags.Float64Var(&w.Duplicates, "duplicates", w.Duplicates, "share of them that repeat an earlier one, 0 or more, less than 1")
	flags.StringSliceVar(&w.Topics, "topics", w.Topics, "topics that they are spread over")
	flags.IntVar(&w.PayloadBytes, "payload-bytes", w.PayloadBytes, "size of each payload")
	flags.Uint64Var(&w.Seed, "seed", w.Seed, "decides what the events are")
	flags.IntVar(&o.Concurrency, "concurrency", o.Concurrency, "requests in flight at most")
	flags.IntVar(&o.Batch, "batch", o.Batch, "events in a request")
	flags.Float64Var(&o.Rate, "rate", o.Rate, "events per second, 0 for as many as can be")
	flags.DurationVar(&o.Duration, "duration", o.Duration, "end sooner, such as after 30s")
	flags.BoolVar(&o.Verify, "verify", o.Verify, "read everything back from every target; a bad verdict is exit status 1")
	flags.DurationVar(&o.Settle, "settle", o.Settle, "how long --verify waits for all targets to be level")
	outputVar(flags, &o.output)
}

// validate names the flag whose value is out of its range. What depends on
// several flags is for the load to see to.
func (o *loadOptions) validate() error {
	w := o.Workload
	switch {
	case w.Events < 0:
		return usage("--events %d: must be 0 or more", w.Events)
	case w.Events == 0 && o.Duration == 0:
		return usage("--events 0: must be 1 or more where no --duration ends the load")
	case w.Duplicates < 0 || w.Duplicates >= 1:
		return usage("--duplicates %v: must be 0 or more and less than 1", w.Duplicates)
	case o.Concurrency < 1:
		return usage("--concurrency %d: must be 1 or more", o.Concurrency)
	case o.Batch < 1 || o.Batch > oncelog.MaxBatchEvents:
		return usage("--batch %d: must be 1 to %d", o.Batch, oncelog.MaxBatchEvents)
	case o.Rate < 0:
		return usage("--rate %v: must be 0 or more", o.Rate)
	case o.Settle <= 0:
		return usage("--settle %s: must be more than 0", o.Settle)
	case o.Duration < 0:
		return usage("--duration %s: must be 0 or more", o.Duration)
	}
	return nil
}

func runLoad(ctx context.Context, c *console, o loadOptions) error {
	if err := o.validate(); err != nil {
		return err
	}
	collectAt(loadGCPercent)
	log, err := loadgen.Connect(o.targets, o.Concurrency)
	if err != nil {
		return badTargets(err)
	}
	defer log.Close()
	if f, ok := c.err.(*os.File); ok {
		o.Progress = loadgen.ProgressTo(f)
	}
	load, err := loadgen.New(o.Config, log.Publisher)
	if err != nil {
		return usageError{err}
	}
	report, err := publishLoad(ctx, load, o, log.Nodes)
	if err != nil {
		return err
	}
	if o.output == outputJSON {
		err = writeJSON(c.out, report)
	} else {
		report.WriteTable(c.out)
	}
	if err == nil && !report.OK() {
		err = errLoad(report)
	}
	return err
}

// publishLoad runs the load and, if that is wanted, has it verified.
func publishLoad(ctx context.Context, load *loadgen.Load, o loadOptions, nodes []loadgen.Node) (report loadgen.Report, err error) {
	var baseline oncelog.Stats
	if o.Verify {
		if baseline, err = baselineOf(ctx, nodes); err != nil {
			return report, err
		}
	}
	report = load.Run(ctx)
	if !o.Verify || ctx.Err() != nil {
		return report, nil
	}
	verdict, err := load.Verify(ctx, nodes, baseline, report)
	report.Verdict = &verdict
	return report, err
}

// baselineOf is bounded, unlike the load, which outlasts a failover.
func baselineOf(ctx context.Context, nodes []loadgen.Node) (oncelog.Stats, error) {
	const timeout = 10 * time.Second
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return loadgen.Baseline(ctx, nodes)
}

// errLoad is why a load's report is not good.
func errLoad(r loadgen.Report) error {
	switch {
	case r.Verdict != nil && !r.Verdict.OK:
		return errVerdict
	case r.Ended == loadgen.Canceled:
		return errors.New("the load was stopped")
	}
	return errors.New("not every event was acknowledged")
}
