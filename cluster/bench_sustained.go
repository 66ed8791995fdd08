package cluster

import (
	"cmp"
	"context"
	"fmt"
	"sync"

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
)

// sustainedCases tell, side by side, what more load than can be served costs.
func sustainedCases() []BenchCase {
	return []BenchCase{
		{
			Name: "sustained", About: "1,000 events a request, 16 at once, for long (only where it is named)",
			Unit: unitEvents, audience: askAll, ByName: true,
			run: sustaining(batches),
		},
		{
			Name: "overload", About: "the same, 400 at once, which is too much for all to be served in time",
			Unit: unitEvents, audience: askAll, ByName: true, run: overloading,
		},
	}
}

func overloading(ctx context.Context, t *benchTrial) (measured, error) {
	m, err := sustaining(crowd)(ctx, t)
	if err == nil && m.refused == 0 {
		err = fmt.Errorf("%w: of %d requests at once none was refused; it takes more events", errIncomplete, crowd)
	}
	return m, err
}

// sustaining publishes for long, so many requests at once, and measures what is
// acknowledged meanwhile: from the first fifth of the events, when a crowd has met its
// first refusals, to the third, when it is still complete.
func sustaining(concurrency int) func(context.Context, *benchTrial) (measured, error) {
	return func(ctx context.Context, t *benchTrial) (measured, error) {
		acks := new(meter)
		cfg := loadgen.DefaultConfig()
		cfg.Concurrency, cfg.Batch, cfg.Workload, cfg.History = concurrency, batchSize, t.workload(1), acks.record
		cfg.Workload.Events *= sustainedTimes

		var perSecond float64
		var paceErr error
		var pacing sync.WaitGroup
		underWay, end := context.WithCancel(ctx)
		pacing.Go(func() {
			fifth := cfg.Workload.Events / 5
			perSecond, paceErr = acks.pace(underWay, fifth, 3*fifth)
		})
		m, err := publish(ctx, cfg, t.client)
		end()
		pacing.Wait()
		m.perSecond = perSecond
		return m, cmp.Or(err, paceErr)
	}
}
