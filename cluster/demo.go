package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/httpapi/client"
	"github.com/oncelog/oncelog/loadgen"
)

// DemoOptions say what a demonstration is made of.
type DemoOptions struct {
	// Binary is the program whose command serve is a node.
	Binary string
	// Dir takes the data of the three nodes. It should be empty.
	Dir string
	// Workload is what is published, MinDemoEvents or more.
	Workload loadgen.Workload
	// Rate is how many events are published in a second; 0 means as many as
	// can be.
	Rate float64
	// Narration takes a line for each thing that happens.
	Narration io.Writer
}

// MinDemoEvents is how many events it takes for something to happen in their midst.
const MinDemoEvents = 1000

// DefaultDemo publishes 30,000 events in about ten seconds. Binary, Dir and
// Narration are left to set.
func DefaultDemo() DemoOptions {
	o := DemoOptions{Workload: loadgen.DefaultWorkload(), Rate: 3000}
	o.Workload.Events = 30_000
	return o
}

// DemoReport is what became of a demonstration.
type DemoReport struct {
	// Killed is the first leader, Successor the node that led next.
	Killed    string `json:"killed"`
	Successor string `json:"successor"`
	// AckedBefore is how many events were acknowledged when the leader was killed.
	AckedBefore int64 `json:"acked_before"`
	// ElectionSeconds is the time from the kill until the others followed the
	// successor; GapSeconds is the longest time without an acknowledgement.
	ElectionSeconds float64 `json:"election_seconds"`
	GapSeconds      float64 `json:"gap_seconds"`
	// Load has the verdict.
	Load loadgen.Report `json:"load"`
}

// OK reports whether everything that had to hold did.
func (r DemoReport) OK() bool { return r.Load.Verdict != nil && r.Load.OK() }

// WriteTable writes r for people. That w fails is w's to know.
func (r DemoReport) WriteTable(w io.Writer) {
	t := table.NewWriter()
	t.SetOutputMirror(w)
	t.SetStyle(table.StyleLight)
	t.AppendRows([]table.Row{
		{"killed in mid-load", fmt.Sprintf("%s, the leader, after %d acknowledged events", r.Killed, r.AckedBefore)},
		{"next leader", fmt.Sprintf("%s, %.2f s later", r.Successor, r.ElectionSeconds)},
		{"gap in acked writes", fmt.Sprintf("%.2f s", r.GapSeconds)},
	})
	t.Render()
	r.Load.WriteTable(w)
}

// demo is a demonstration under way.
type demo struct {
	DemoOptions
	*Cluster
	begin time.Time
	// voice is held for a line of the narration: the load tells of itself too.
	voice  sync.Mutex
	load   *loadgen.Load
	meter  meter
	report DemoReport
}

// Demo starts three processes, publishes to them, kills the leader in mid-load,
// starts it again, and proves what the cluster then holds. An error means that
// the demonstration could not be given; the verdict is in the report.
func Demo(ctx context.Context, o DemoOptions) (report DemoReport, err error) {
	if o.Workload.Events < MinDemoEvents {
		return DemoReport{}, fmt.Errorf("%w: a demonstration with %d events; it takes %d", ErrOptions, o.Workload.Events, MinDemoEvents)
	}
	c, err := NewProcesses(o.Binary, Options{Nodes: 3, Dir: o.Dir})
	if err != nil {
		return DemoReport{}, err
	}
	d := &demo{DemoOptions: o, Cluster: c, begin: time.Now()}
	defer func() {
		d.say("stopping the nodes")
		err = errors.Join(err, c.Close())
	}()
	err = d.give(ctx)
	return d.report, err
}

// say narrates.
func (d *demo) say(format string, args ...any) {
	d.voice.Lock()
	defer d.voice.Unlock()
	_, _ = fmt.Fprintf(d.Narration, "%6.2f s  %s\n", time.Since(d.begin).Seconds(), fmt.Sprintf(format, args...))
}

// give is the whole of the demonstration.
func (d *demo) give(ctx context.Context) error {
	d.say("starting three nodes in %s", d.Dir)
	if err := d.Start(ctx); err != nil {
		return err
	}
	leader, err := d.Leader(ctx)
	if err != nil {
		return err
	}
	d.say("the cluster is up: %s; %s leads", d.Cluster, leader.Name())
	baseline, err := loadgen.Baseline(ctx, d.Readers())
	if err != nil {
		return err
	}
	if err := d.publish(ctx, leader); err != nil {
		return err
	}
	return d.verify(ctx, baseline)
}

// publish runs the load and meanwhile brings the fault about. Either's failure
// ends the other.
func (d *demo) publish(ctx context.Context, leader *Node) error {
	all, err := d.Client()
	if err != nil {
		return err
	}
	defer all.Close()
	if err := d.prepare(all); err != nil {
		return err
	}
	w := d.Workload
	d.say("publishing %d events to all three, %.0f %% of them duplicates, seed %d", w.Events, 100*w.Duplicates, w.Seed)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan loadgen.Report, 1)
	go func() {
		done <- d.load.Run(ctx)
		cancel(errLoadOver)
	}()
	fault := d.failover(ctx, leader)
	if fault != nil && errors.Is(context.Cause(ctx), errLoadOver) {
		fault = errLoadOver
	}
	if fault != nil {
		cancel(fault)
	}
	d.report.Load = <-done
	return fault
}

// errLoadOver: the load has ended before what was to happen in its midst.
var errLoadOver = errors.New("the load was over too soon; it needs more events or a lower rate")

func (d *demo) prepare(all *client.Client) (err error) {
	cfg := loadgen.DefaultConfig()
	// Small batches show a gap as it is.
	cfg.Concurrency, cfg.Batch, cfg.Rate = 32, 20, d.Rate
	cfg.Workload, cfg.Verify = d.Workload, true
	cfg.History = d.meter.record
	cfg.Progress = func(p loadgen.Progress) {
		d.say("  load: %d of %d events acknowledged, %.0f events/s", p.Stored+p.Duplicates, p.Planned, p.EventsPerSecond)
	}
	d.load, err = loadgen.New(cfg, all)
	return err
}

// failover kills the leader at a third of the load, waits for the next one, and
// starts the killed node again at two thirds.
func (d *demo) failover(ctx context.Context, leader *Node) error {
	if err := d.meter.reach(ctx, d.Workload.Events/3); err != nil {
		return err
	}
	victim := leader.String()
	d.report.Killed, d.report.AckedBefore = leader.Name(), d.meter.arm()
	killed := time.Now()
	if err := leader.Kill(); err != nil {
		return err
	}
	d.say("killed %s, the leader, with kill -9 after %d acknowledged events", victim, d.report.AckedBefore)
	next, err := d.Leader(ctx)
	if err != nil {
		return err
	}
	d.report.Successor, d.report.ElectionSeconds = next.Name(), time.Since(killed).Seconds()
	d.say("%s leads since %.2f s after the kill", next.Name(), d.report.ElectionSeconds)
	if err := d.meter.reach(ctx, d.Workload.Events*2/3); err != nil {
		return err
	}
	d.report.GapSeconds = d.meter.longestGap().Seconds()
	d.say("the gap in acked writes was %.2f s", d.report.GapSeconds)
	if err := leader.Start(); err != nil {
		return err
	}
	d.say("started %s again", leader)
	return nil
}

// verify waits until all three are level and reads everything back from each.
func (d *demo) verify(ctx context.Context, baseline oncelog.Stats) error {
	d.say("the load is over: %d events acknowledged", d.report.Load.Stored+d.report.Load.Duplicates)
	if err := d.WaitReady(ctx); err != nil {
		return err
	}
	level, err := d.WaitLevel(ctx)
	if err != nil {
		return err
	}
	d.say("all three are level at index %d; reading everything back from each", level[0].AppliedIndex)
	verdict, err := d.load.Verify(ctx, d.Readers(), baseline, d.report.Load)
	if err != nil {
		return err
	}
	if err := d.judge(ctx, &verdict); err != nil {
		return err
	}
	d.report.Load.Verdict = &verdict
	return nil
}

// judge adds the checks over all nodes to the load's own verdict.
func (d *demo) judge(ctx context.Context, v *loadgen.Verdict) error {
	contents, err := d.Contents(ctx)
	if err != nil {
		return err
	}
	for _, c := range []struct {
		name  string
		check func([]Contents) error
	}{
		{"I2 exactly once", CheckExactlyOnce},
		{"I3 agreement", CheckAgreement},
		{"I5 exact counters", CheckCounters},
	} {
		line := loadgen.Check{Name: c.name, OK: true, Detail: "holds over all nodes"}
		if err := c.check(contents); err != nil {
			line.OK, line.Detail = false, err.Error()
		}
		v.Checks = append(v.Checks, line)
		v.OK = v.OK && line.OK
	}
	return nil
}
