// Command compare drives one and the same workload through a cluster of oncelog
// and one of NATS JetStream, in turns, and prints what each made of it.
//
// Invariants:
//   - both logs get the very same events, from the same driver, and are measured
//     by it in the same way,
//   - one cluster runs at a time, as three processes in a fresh directory,
//   - a round counts only if the log acknowledged every event and, read back,
//     holds each different one once and as it was sent.
//
// It measures the way of an event up to its acknowledgement on one machine with
// all nodes well: no reads, no faults, no network. README.md says what that
// leaves out.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
)

// The exit statuses.
const (
	exitGood = iota
	exitFailed
	exitUsage
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == serveCommand {
		os.Exit(serveNATS(os.Args[2], os.Stdin, os.Stderr))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal stops in order; the second, no longer caught, at once.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the command with its arguments; it returns the exit status.
func run(ctx context.Context, args []string, out, errOut io.Writer) int {
	o, err := parse(args, errOut)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitGood
	case err != nil:
		_, _ = fmt.Fprintln(errOut, "compare:", err)
		return exitUsage
	}
	c, err := compare(ctx, o, errOut)
	if err == nil {
		err = c.write(out, o.output)
	}
	if err != nil {
		_, _ = fmt.Fprintln(errOut, "compare:", err)
		return exitFailed
	}
	if !c.sound() {
		return exitFailed
	}
	return exitGood
}

// options are what the flags say.
type options struct {
	workload     string
	events       int64
	singleEvents int64
	duplicates   float64
	rounds       int
	seed         uint64
	sync         string
	window       int
	binary       string
	dir          string
	output       string
}

// The values of the flags that take a word.
const (
	workloadBatch  = "batch"
	workloadSingle = "single"
	workloadAll    = "all"
	syncAlways     = "always"
	syncDefault    = "default"
	outputTable    = "table"
	outputJSON     = "json"
)

// parse reads the command line.
func parse(args []string, errOut io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("compare", flag.ContinueOnError)
	flags.SetOutput(errOut)
	flags.StringVar(&o.workload, "workload", workloadAll, "batch, single or all")
	flags.Int64Var(&o.events, "events", 500_000, "events of the workload batch, repeats included")
	flags.Int64Var(&o.singleEvents, "single-events", 50_000, "events of the workload single")
	flags.Float64Var(&o.duplicates, "duplicates", 0.3, "share of events that repeat an earlier one")
	flags.IntVar(&o.rounds, "rounds", 3, "rounds of each workload, each through both logs")
	flags.Uint64Var(&o.seed, "seed", 1, "decides what the events are")
	flags.StringVar(&o.sync, "sync", syncAlways, "JetStream's sync_interval: always or default (2 minutes)")
	flags.IntVar(&o.window, "window", 0, "JetStream's unacknowledged messages a connection; 0 tries 256 to 4096")
	flags.StringVar(&o.binary, "binary", "", "oncelog's program; built from the sources if not given")
	flags.StringVar(&o.dir, "dir", "", "where the logs keep their data, on a disk; the system's temporary directory if not given")
	flags.StringVar(&o.output, "output", outputTable, "table or json")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("%q is too much: there are flags only", flags.Arg(0))
	}
	return o, o.validate()
}

func (o options) validate() error {
	for _, f := range []struct {
		name, value string
		allowed     []string
	}{
		{"workload", o.workload, []string{workloadBatch, workloadSingle, workloadAll}},
		{"sync", o.sync, []string{syncAlways, syncDefault}},
		{"output", o.output, []string{outputTable, outputJSON}},
	} {
		if !slices.Contains(f.allowed, f.value) {
			return fmt.Errorf("--%s %q: must be one of %v", f.name, f.value, f.allowed)
		}
	}
	switch {
	case o.events < 1 || o.singleEvents < 1:
		return errors.New("--events and --single-events must be 1 or more")
	case !(o.duplicates >= 0 && o.duplicates < 1):
		return fmt.Errorf("--duplicates %v: must be 0 or more and less than 1", o.duplicates)
	case o.rounds < 1:
		return fmt.Errorf("--rounds %d: must be 1 or more", o.rounds)
	case o.window < 0:
		return fmt.Errorf("--window %d: must be 0 or more", o.window)
	}
	return nil
}
