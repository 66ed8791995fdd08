package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/httpapi/client"
)

// BenchOptions say what a benchmark is made of.
type BenchOptions struct {
	// Binary is the program whose command serve is a node, Version what it calls
	// itself.
	Binary  string
	Version string
	// Dir takes the nodes' data. Data that is there already is used: that is how
	// a large database is measured.
	Dir string
	// Nodes is how many there are, 1 to 7.
	Nodes int
	// Events is how many a case publishes in batches, MinBenchEvents or more. The
	// other cases do a part of it, such that each takes about as long.
	Events int64
	// Rounds is how often each case is measured, 1 or more.
	Rounds int
	// Seed decides what the events are.
	Seed uint64
	// Only names the cases; none means all of [BenchCases] but those that take long.
	Only []string
	// ProfileDir, if set, takes CPU profiles of a round more, which is not
	// measured: ProfileTime, in whole seconds, of each case.
	ProfileDir  string
	ProfileTime time.Duration
	// Progress, if set, takes a line for each thing that happens.
	Progress io.Writer
}

// MinBenchEvents is how many events it takes for every case to have something to do.
const MinBenchEvents = 1000

// DefaultBench takes about two minutes on two cores. Binary and Dir are left to set.
func DefaultBench() BenchOptions {
	return BenchOptions{Nodes: 3, Events: 100_000, Rounds: 3, Seed: 1, ProfileTime: 5 * time.Second}
}

func (o BenchOptions) validate() error {
	switch {
	case o.Nodes < 1 || o.Nodes > maxNodes:
		return fmt.Errorf("%w: %d nodes; 1 to %d are possible", ErrOptions, o.Nodes, maxNodes)
	case o.Events < MinBenchEvents:
		return fmt.Errorf("%w: a benchmark with %d events; it takes %d", ErrOptions, o.Events, MinBenchEvents)
	case o.Rounds < 1:
		return fmt.Errorf("%w: %d rounds", ErrOptions, o.Rounds)
	case o.ProfileDir != "" && o.ProfileTime < time.Second:
		return fmt.Errorf("%w: profiles of %s; 1 s is the least", ErrOptions, o.ProfileTime)
	}
	return nil
}

// cases are those wanted, in the order of [BenchCases].
func (o BenchOptions) cases() ([]BenchCase, error) {
	all := slices.DeleteFunc(BenchCases(), func(c BenchCase) bool { return o.Nodes == 1 && c.audience == askFollowers })
	for _, name := range o.Only {
		if !slices.ContainsFunc(all, func(c BenchCase) bool { return c.Name == name }) {
			return nil, fmt.Errorf("%w: no case %q with %d nodes; there are %s", ErrOptions, name, o.Nodes, caseNames(all))
		}
	}
	return slices.DeleteFunc(all, func(c BenchCase) bool {
		return !slices.Contains(o.Only, c.Name) && (c.ByName || len(o.Only) > 0)
	}), nil
}

func caseNames(cases []BenchCase) string {
	names := make([]string, len(cases))
	for i, c := range cases {
		names[i] = c.Name
	}
	return strings.Join(names, ", ")
}

// bench is a benchmark under way.
type bench struct {
	*Cluster
	options BenchOptions
	cases   []BenchCase
	// pprof is where each node, by name, serves its profiles; empty without them.
	pprof map[string]string
	// clients are by the targets that they ask.
	clients map[string]*client.Client
	report  BenchReport
}

// Bench starts a cluster of processes and measures each case in turn, round by
// round, so that what disturbs the machine disturbs them all. What the log holds
// is checked after each: a case that did something else than it should is an
// error and not a number.
func Bench(ctx context.Context, o BenchOptions) (report BenchReport, err error) {
	if err := o.validate(); err != nil {
		return BenchReport{}, err
	}
	b := &bench{options: o, clients: make(map[string]*client.Client)}
	if b.cases, err = o.cases(); err != nil {
		return BenchReport{}, err
	}
	if b.Cluster, err = b.newCluster(); err != nil {
		return BenchReport{}, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	err = b.run(ctx)
	return b.report, err
}

func (b *bench) newCluster() (*Cluster, error) {
	o := Options{Nodes: b.options.Nodes, Dir: b.options.Dir}
	if b.options.ProfileDir == "" {
		return NewProcesses(b.options.Binary, o)
	}
	return b.newProfiled(o)
}

func (b *bench) close() error {
	for _, c := range b.clients {
		c.Close()
	}
	return b.Cluster.Close()
}

// say tells of the progress.
func (b *bench) say(format string, args ...any) {
	if b.options.Progress != nil {
		_, _ = fmt.Fprintf(b.options.Progress, format+"\n", args...)
	}
}

// run is the whole of the benchmark.
func (b *bench) run(ctx context.Context) error {
	b.say("starting %d nodes in %s", b.options.Nodes, b.options.Dir)
	if err := b.Start(ctx); err != nil {
		return err
	}
	before, err := b.Nodes()[0].stats(ctx, oncelog.Linearizable)
	if err != nil {
		return err
	}
	b.say("warming up, with %d events in the log", before.Unique)
	for _, c := range warmUp() {
		if _, err := b.measure(ctx, c); err != nil {
			return fmt.Errorf("warm-up: %w", err)
		}
	}
	if err := b.rounds(ctx); err != nil {
		return err
	}
	if b.options.ProfileDir != "" {
		if err := b.profile(ctx); err != nil {
			return fmt.Errorf("profiles: %w", err)
		}
	}
	return b.conclude(ctx, before)
}

// rounds measures every case once in each round.
func (b *bench) rounds(ctx context.Context) error {
	results := make([]BenchResult, len(b.cases))
	for round := range b.options.Rounds {
		for i, c := range b.cases {
			r, err := b.measure(ctx, c)
			if err != nil {
				return fmt.Errorf("%s, round %d: %w", c.Name, round+1, err)
			}
			b.say("round %d of %d  %s  %.0f %s/s", round+1, b.options.Rounds, c.Name, r.PerSecond, c.Unit)
			results[i].BenchCase = c
			results[i].Rounds = append(results[i].Rounds, r)
		}
	}
	for i := range results {
		results[i].summarize()
	}
	b.report.Cases = results
	return nil
}

// conclude completes the report with what is there now.
func (b *bench) conclude(ctx context.Context, before oncelog.Stats) error {
	level, err := b.WaitLevel(ctx)
	if err != nil {
		return err
	}
	r := &b.report
	r.Machine = Machine{
		Cores: runtime.NumCPU(), OS: runtime.GOOS, Arch: runtime.GOARCH, Go: runtime.Version(), Oncelog: b.options.Version,
	}
	r.Rounds, r.Seed, r.Events = b.options.Rounds, b.options.Seed, b.options.Events
	r.Log = LogSize{EventsBefore: before.Unique, EventsAfter: level[0].Unique}
	for _, n := range b.Nodes() {
		size, err := sizeOf(n.Dir())
		if err != nil {
			return err
		}
		r.Log.Nodes = append(r.Log.Nodes, NodeSize{Node: n.Name(), Bytes: size})
	}
	return nil
}

// sizeOf is how many bytes the files in a directory have. A running node removes
// some meanwhile.
func sizeOf(dir string) (bytes int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			var info fs.FileInfo
			if info, err = e.Info(); err == nil {
				bytes += info.Size()
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	return bytes, err
}
