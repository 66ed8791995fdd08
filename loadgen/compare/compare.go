package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/oncelog/oncelog/loadgen"
)

// comparison is the whole of what was measured.
type comparison struct {
	Machine   string  `json:"machine"`
	Sync      string  `json:"jetstream_sync"`
	Workloads []match `json:"workloads"`
}

// match is one workload through both logs.
type match struct {
	Workload    string  `json:"workload"`
	Events      int64   `json:"events"`
	Duplicates  float64 `json:"duplicates"`
	Payload     int     `json:"payload_bytes"`
	Concurrency int     `json:"concurrency"`
	Batch       int     `json:"batch"`
	Seed        uint64  `json:"seed"`
	// Window is JetStream's, and Trials is what it was chosen by.
	Window int     `json:"jetstream_window,omitempty"`
	Trials []trial `json:"jetstream_trials,omitempty"`
	Rounds []round `json:"rounds"`
	Ratios *ratios `json:"ratios"`
}

// trial is a shorter run of JetStream with one window.
type trial struct {
	Window int `json:"window"`
	round
}

// sound tells whether no log was at fault in any round.
func (c comparison) sound() bool {
	for _, m := range c.Workloads {
		for _, r := range m.Rounds {
			if !r.sound() {
				return false
			}
		}
	}
	return true
}

// ring is where the logs meet.
type ring struct {
	options
	// dir takes what the rounds leave behind.
	dir      string
	binary   string
	progress io.Writer
}

// compare runs all rounds of all workloads. A log that fails is in the result; an
// error means that there is none.
func compare(ctx context.Context, o options, progress io.Writer) (c comparison, err error) {
	g := ring{options: o, binary: o.binary, progress: progress}
	c = comparison{Machine: machine(), Sync: o.sync}
	if g.dir, err = os.MkdirTemp(o.dir, "oncelog-compare-"); err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, g.clean()) }()
	if g.binary == "" {
		if g.binary, err = buildOncelog(ctx, g.dir); err != nil {
			return c, err
		}
	}
	for _, w := range []struct {
		name string
		load func(ctx context.Context) (match, error)
	}{{workloadBatch, g.batch}, {workloadSingle, g.single}} {
		if o.workload != workloadAll && o.workload != w.name {
			continue
		}
		m, err := w.load(ctx)
		if err != nil {
			return c, fmt.Errorf("%s: %w", w.name, err)
		}
		c.Workloads = append(c.Workloads, m)
	}
	return c, nil
}

// clean removes the program that was built, and the directory if no round has
// left something in it.
func (g ring) clean() error {
	if g.options.binary == "" {
		if err := os.Remove(g.binary); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	left, err := os.ReadDir(g.dir)
	if err != nil || len(left) > 0 {
		return err
	}
	return os.Remove(g.dir)
}

// batch sends batches of 1,000 to oncelog, and to JetStream as many messages as
// the window lets through, on one connection to each server.
func (g ring) batch(ctx context.Context) (match, error) {
	const requests = 12
	cfg := g.config(g.events, requests, 1000)
	window, trials, err := g.bestWindow(ctx, cfg)
	if err != nil {
		return match{}, err
	}
	m, err := g.match(ctx, workloadBatch, cfg, jetStreamOptions{sync: g.sync, conns: replicas, window: window})
	m.Window, m.Trials = window, trials
	return m, err
}

// single sends each event by itself and waits for it, 64 at once, each on a
// connection of its own.
func (g ring) single(ctx context.Context) (match, error) {
	const requests = 64
	return g.match(ctx, workloadSingle, g.config(g.singleEvents, requests, 1), jetStreamOptions{sync: g.sync, conns: requests, window: requests})
}

func (g ring) config(events int64, concurrency, batch int) loadgen.Config {
	cfg := loadgen.DefaultConfig()
	cfg.Workload.Events, cfg.Workload.Duplicates, cfg.Workload.Seed = events, g.duplicates, g.seed
	cfg.Concurrency, cfg.Batch = concurrency, batch
	return cfg
}

// bestWindow tries windows on a quarter of the events and returns the one with
// the highest throughput.
func (g ring) bestWindow(ctx context.Context, cfg loadgen.Config) (best int, trials []trial, err error) {
	if g.window > 0 {
		return g.window, nil, nil
	}
	cfg.Workload.Events = max(cfg.Workload.Events/4, 1)
	want, err := expect(ctx, cfg)
	if err != nil {
		return 0, nil, err
	}
	var highest float64
	for window := 256; window <= 4096; window *= 2 {
		t := trial{Window: window}
		c := jetStreamOf(jetStreamOptions{sync: g.sync, conns: replicas, window: window})
		if t.round, err = g.play(ctx, fmt.Sprintf("trial of the window %d", window), c, 0, cfg, want); err != nil {
			return 0, nil, err
		}
		trials = append(trials, t)
		if t.sound() && t.EventsPerSecond > highest {
			best, highest = window, t.EventsPerSecond
		}
	}
	if best == 0 {
		return 0, trials, errors.New("jetstream failed with every window")
	}
	return best, trials, nil
}

// match has the logs take the workload in turns.
func (g ring) match(ctx context.Context, name string, cfg loadgen.Config, o jetStreamOptions) (match, error) {
	w := cfg.Workload
	m := match{
		Workload: name, Events: w.Events, Duplicates: w.Duplicates, Payload: w.PayloadBytes,
		Concurrency: cfg.Concurrency, Batch: cfg.Batch, Seed: w.Seed,
	}
	want, err := expect(ctx, cfg)
	if err != nil {
		return m, err
	}
	for number := 1; number <= g.rounds; number++ {
		for _, c := range []contender{oncelogOf(g.binary), jetStreamOf(o)} {
			r, err := g.play(ctx, fmt.Sprintf("%s, round %d", name, number), c, number, cfg, want)
			if err != nil {
				return m, err
			}
			m.Rounds = append(m.Rounds, r)
		}
	}
	m.Ratios = ratiosOf(m.Rounds)
	return m, nil
}

// play has one log take the workload, and tells of it. An error means that ctx has
// ended.
func (g ring) play(ctx context.Context, what string, c contender, number int, cfg loadgen.Config, want content) (round, error) {
	r := c.play(ctx, g.dir, number, cfg, want)
	_, _ = fmt.Fprintf(g.progress, "%s: %s\n", what, r)
	return r, context.Cause(ctx)
}

// The names of the contenders.
const (
	nameOncelog   = "oncelog"
	nameJetStream = "jetstream"
)

func oncelogOf(binary string) contender {
	return contender{nameOncelog, func(ctx context.Context, dir string, concurrency int) (eventLog, error) {
		return startOncelog(ctx, binary, dir, concurrency)
	}}
}

func jetStreamOf(o jetStreamOptions) contender {
	return contender{nameJetStream, func(ctx context.Context, dir string, concurrency int) (eventLog, error) {
		return startJetStream(ctx, dir, concurrency, o)
	}}
}

// machine is what the numbers depend on.
func machine() string {
	load := "unknown"
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		load, _, _ = strings.Cut(string(text), " ")
	}
	return fmt.Sprintf("%s/%s, %d CPUs, load average %s before; %s; nats-server %s",
		runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), load, runtime.Version(), server.VERSION)
}
