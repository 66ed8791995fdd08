package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/httpapi/client"
	"github.com/oncelog/oncelog/loadgen"
)

// BenchCase is one thing that a benchmark measures.
type BenchCase struct {
	// Name is a word or two, About what is done, for people.
	Name  string `json:"name"`
	About string `json:"about"`
	// Unit is what is counted: events or reads.
	Unit string `json:"unit"`
	// ByName: it takes long, and is measured only where it is named.
	ByName bool `json:"-"`

	audience audience
	run      func(context.Context, *benchTrial) (measured, error)
}

// audience is the nodes that a case sends its requests to.
type audience int

const (
	askAll audience = iota
	askLeader
	askFollowers
)

const (
	unitEvents = "events"
	unitReads  = "reads"
	// connections is how many requests are under way at once in the cases with
	// small ones.
	connections = 64
	// batchSize is how many events a batch has, batches how many are under way.
	batchSize = 1000
	batches   = 16
)

// How many times less than the events of the batches a case does.
const (
	singleShare = 10
	aloneShare  = 200
	readShare   = 5
	statsShare  = 10
)

// BenchCases are all cases, in the order in which they are measured.
func BenchCases() []BenchCase {
	single, batch, alone := publishing(connections, 1, singleShare), publishing(batches, batchSize, 1), publishing(1, 1, aloneShare)
	fresh, stale := topicReading(oncelog.Linearizable), topicReading(oncelog.Stale)
	cases := []BenchCase{
		{Name: "single", About: "one event a request, 64 at once, to all nodes", Unit: unitEvents, audience: askAll, run: single},
		{Name: "single-leader", About: "the same, to the leader", Unit: unitEvents, audience: askLeader, run: single},
		{Name: "single-followers", About: "the same, to the others, which forward them", Unit: unitEvents, audience: askFollowers, run: single},
		{Name: "batch", About: "1,000 events a request, 16 at once, to all nodes", Unit: unitEvents, audience: askAll, run: batch},
		{Name: "batch-leader", About: "the same, to the leader", Unit: unitEvents, audience: askLeader, run: batch},
		{Name: "batch-followers", About: "the same, to the others, which forward them", Unit: unitEvents, audience: askFollowers, run: batch},
		{Name: "alone-leader", About: "one publisher, one event after the other, to the leader", Unit: unitEvents, audience: askLeader, run: alone},
		{Name: "alone-followers", About: "the same, to the others, which forward them", Unit: unitEvents, audience: askFollowers, run: alone},
		{Name: "read-leader", About: "the first event of a topic, 64 at once, linearizable, from the leader", Unit: unitReads, audience: askLeader, run: fresh},
		{Name: "read-followers", About: "the same, from the others", Unit: unitReads, audience: askFollowers, run: fresh},
		{Name: "stale-leader", About: "the same, stale, from the leader", Unit: unitReads, audience: askLeader, run: stale},
		{Name: "stale-followers", About: "the same, stale, from the others", Unit: unitReads, audience: askFollowers, run: stale},
		{Name: "stats", About: "the log's numbers, 64 at once, linearizable, from all nodes", Unit: unitReads, audience: askAll, run: statsReading},
		{Name: "scan-raw", About: "the whole log as NDJSON, linearizable, lines only counted", Unit: unitEvents, audience: askAll, run: rawScanning},
		{Name: "scan", About: "the same, every event parsed", Unit: unitEvents, audience: askAll, run: scanning},
	}
	return append(cases, sustainedCases()...)
}

// warmUp publishes what the reads will find, and makes the nodes and the load as
// quick as they get.
func warmUp() []BenchCase {
	return []BenchCase{
		{Name: "batches", audience: askAll, run: publishing(batches, batchSize, 1)},
		{Name: "single events", audience: askAll, run: publishing(connections, 1, singleShare)},
	}
}

// measured is what a case did, as the load saw it.
type measured struct {
	count   int64
	seconds float64
	// latency is nil where there is one request only.
	latency *loadgen.Latency
	// published is what the log must have taken in.
	published loadgen.Workload
	// resent and, in those, resentEvents are requests that had to be sent again;
	// refused counts the answers that a node's queue was full.
	resent, resentEvents, refused int64
	// perSecond is set where it is not count divided by seconds.
	perSecond float64
}

// errIncomplete is a load that has not done all that it was to do.
var errIncomplete = errors.New("not all of it was done")

// publishing publishes the benchmark's events, divided by a share, in batches, so
// many at once.
func publishing(concurrency, batch int, share int64) func(context.Context, *benchTrial) (measured, error) {
	return func(ctx context.Context, t *benchTrial) (measured, error) {
		cfg := loadgen.DefaultConfig()
		cfg.Concurrency, cfg.Batch, cfg.Workload = concurrency, batch, t.workload(share)
		return publish(ctx, cfg, t.client)
	}
}

// publish publishes a workload to its end.
func publish(ctx context.Context, cfg loadgen.Config, c *client.Client) (measured, error) {
	load, err := loadgen.New(cfg, c)
	if err != nil {
		return measured{}, err
	}
	r := load.Run(ctx)
	if ctx.Err() != nil {
		return measured{}, context.Cause(ctx)
	}
	if !r.OK() || r.Sent != r.Planned || r.Conflicts > 0 {
		return measured{}, fmt.Errorf("%w: %d of %d events sent, %d not acknowledged, %d conflicts, failed attempts %v",
			errIncomplete, r.Sent, r.Planned, r.Unacked, r.Conflicts, r.Errors)
	}
	return measured{
		count: r.Sent, seconds: r.ElapsedSeconds, latency: &r.Latency,
		published: cfg.Workload, resent: r.Resent, resentEvents: r.ResentEvents, refused: r.Refused,
	}, nil
}

// topicReading asks for one event of a topic at a time.
func topicReading(c oncelog.Consistency) func(context.Context, *benchTrial) (measured, error) {
	return func(ctx context.Context, t *benchTrial) (measured, error) {
		return t.read(ctx, readShare, loadgen.TopicQuestion(t.client, loadgen.DefaultWorkload().Topics, c))
	}
}

func statsReading(ctx context.Context, t *benchTrial) (measured, error) {
	return t.read(ctx, statsShare, loadgen.StatsQuestion(t.client, t.before.Unique, oncelog.Linearizable))
}

// read asks the same again and again.
func (t *benchTrial) read(ctx context.Context, share int64, ask loadgen.Question) (measured, error) {
	resent := t.client.Resent()
	r, err := loadgen.Read(ctx, loadgen.ReadConfig{Requests: t.events / share, Concurrency: connections}, ask)
	if err != nil {
		return measured{}, err
	}
	return measured{count: r.Requests, seconds: r.ElapsedSeconds, latency: &r.Latency, resent: t.client.Resent() - resent}, nil
}

func scanning(ctx context.Context, t *benchTrial) (measured, error) {
	return t.scan(func(n *Node) (uint64, error) { return loadgen.Scan(ctx, n.client, oncelog.Linearizable) })
}

func rawScanning(ctx context.Context, t *benchTrial) (measured, error) {
	return t.scan(func(n *Node) (uint64, error) { return loadgen.ScanRaw(ctx, n.URL(), oncelog.Linearizable) })
}

// scan reads the whole log from the last of the nodes asked, a follower if there
// is one.
func (t *benchTrial) scan(read func(*Node) (uint64, error)) (measured, error) {
	start := time.Now()
	events, err := read(t.follower())
	if err == nil && events != t.before.Unique {
		err = fmt.Errorf("%w: %d events read of %d", errIncomplete, events, t.before.Unique)
	}
	return measured{count: int64(events), seconds: time.Since(start).Seconds()}, err
}
