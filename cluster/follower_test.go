package cluster

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog/loadgen"
)

// Followers are killed under load, one after the other, again and again. Clients of
// the others, which never send anything again, see no error; the leader leads on,
// and every event is counted exactly once.
func TestFollowerKilledAgainAndAgain(t *testing.T) {
	c := processes(t)
	const kills, events, between = 4, 3000, 400
	var sent, unique uint64
	var rounds []*trial
	for kill := range kills {
		leader, err := c.Leader(t.Context())
		require.NoError(t, err)
		fallen := c.others(leader)[kill%2]
		tr := newTrialOnce(t, c, c.others(fallen), func(cfg *loadgen.Config) {
			cfg.Workload.Events, cfg.Batch, cfg.Concurrency, cfg.Rate = events, 10, 16, 2000
		})
		report := tr.run(t, func(ctx context.Context) {
			require.NoError(t, tr.meter.reach(ctx, between))
			require.NoError(t, fallen.Kill())
			killed := tr.meter.count()
			require.Less(t, killed, int64(events-between), "the load was under way")
			require.NoError(t, tr.meter.reach(ctx, killed+between), "the others go on")
			require.NoError(t, fallen.Start())
		})
		require.Empty(t, report.Errors, "clients of the others see no error")
		rounds = append(rounds, tr)
		sent += uint64(report.Sent)
		unique += uint64(report.Stored)
		require.NoError(t, c.WaitReady(t.Context()))
		requireCounted(t, c, sent, unique, kill+1)
	}
	requireAllHeld(t, c, rounds)
}
