package cluster

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/httpapi/client"
	"github.com/oncelog/oncelog/loadgen"
)

const (
	// crowd is how many batches are under way at once in an overload: so many that
	// the last of them could not be stored in time.
	crowd = 400
	// sustainedTimes is how many times the events of the other batches are published
	// here: flushes, compactions, and a crowd that is refused and comes back, take
	// their time.
	sustainedTimes = 20
	// paceInterval is how often the log is asked how much it holds.
	paceInterval = 20 * time.Millisecond
)

// sustainedCases tell, side by side, what more load than can be served costs.
func sustainedCases() []BenchCase {
	return []BenchCase{
		{
			Name: "sustained", About: "1,000 events a request, 16 at once, for long (only where it is named)",
			Unit: unitEvents, audience: askAll, ByName: true,
			run: func(ctx context.Context, t *benchTrial) (measured, error) { return sustaining(ctx, t, batches) },
		},
		{
			Name: "overload", About: "the same, 400 at once, which is too much for all to be served in time",
			Unit: unitEvents, audience: askAll, ByName: true, run: overloading,
		},
	}
}

func overloading(ctx context.Context, t *benchTrial) (measured, error) {
	m, err := sustaining(ctx, t, crowd)
	if err == nil && m.refused == 0 {
		err = fmt.Errorf("%w: of %d requests at once none was refused; it takes more events", errIncomplete, crowd)
	}
	return m, err
}

// sustaining publishes for long and measures what the log takes in meanwhile: from
// the first fifth of the events, when a crowd has met its first refusals, to the
// third, when it is still complete.
func sustaining(ctx context.Context, t *benchTrial, concurrency int) (measured, error) {
	c, err := client.New(urls(t.nodes), client.WithConcurrency(concurrency))
	if err != nil {
		return measured{}, err
	}
	defer c.Close()
	cfg := loadgen.DefaultConfig()
	cfg.Concurrency, cfg.Batch, cfg.Workload = concurrency, batchSize, t.workload(1)
	cfg.Workload.Events *= sustainedTimes

	var perSecond float64
	var paceErr error
	var pacing sync.WaitGroup
	underWay, end := context.WithCancel(ctx)
	pacing.Go(func() {
		fifth := uint64(cfg.Workload.Events / 5)
		perSecond, paceErr = t.pace(underWay, t.before.Received+fifth, t.before.Received+3*fifth)
	})
	m, err := publish(ctx, cfg, c)
	end()
	pacing.Wait()
	m.perSecond = perSecond
	return m, cmp.Or(err, paceErr)
}

// pace is how many events a second the log has received, from one number of them to
// another.
func (t *benchTrial) pace(ctx context.Context, from, to uint64) (float64, error) {
	first, begin, err := t.awaitReceived(ctx, from)
	if err != nil {
		return 0, err
	}
	last, end, err := t.awaitReceived(ctx, to)
	if err != nil {
		return 0, err
	}
	return float64(last-first) / end.Sub(begin).Seconds(), nil
}

// awaitReceived waits until the log has received so many events, or more, and
// returns how many, and when.
func (t *benchTrial) awaitReceived(ctx context.Context, least uint64) (uint64, time.Time, error) {
	ticker := time.NewTicker(paceInterval)
	defer ticker.Stop()
	for {
		s, err := t.leader.stats(ctx, oncelog.Stale)
		if err != nil {
			return 0, time.Time{}, err
		}
		if s.Received >= least {
			return s.Received, time.Now(), nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return 0, time.Time{}, fmt.Errorf("%w: the log had %d events of %d when the load ended", errIncomplete, s.Received, least)
		}
	}
}
