package cluster

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog/loadgen"
)

// BenchmarkRestart kills a cluster of one with -9 and takes the time until it is
// ready again, with few and with many events stored.
func BenchmarkRestart(b *testing.B) {
	for _, events := range []int64{100_000, 2_000_000} {
		b.Run(fmt.Sprintf("events=%d", events), func(b *testing.B) {
			ctx := context.Background()
			c, err := StartProcesses(ctx, binary(), Options{Nodes: 1, Dir: b.TempDir()})
			require.NoError(b, err)
			b.Cleanup(func() { require.NoError(b, c.Close()) })
			publishMany(b, c, events)
			b.ResetTimer()
			for range b.N {
				b.StopTimer()
				require.NoError(b, c.Kill())
				b.StartTimer()
				begin := time.Now()
				require.NoError(b, c.Start(ctx))
				require.NoError(b, c.WaitReady(ctx))
				b.Logf("ready after %s", time.Since(begin).Round(time.Millisecond))
			}
		})
	}
}

func publishMany(b *testing.B, c *Cluster, events int64) {
	b.Helper()
	o := loadgen.DefaultConfig()
	o.Workload.Events, o.Workload.Duplicates = events, 0
	o.Batch, o.Concurrency = 1000, 8
	log, err := loadgen.Connect(c.Targets(), o.Concurrency)
	require.NoError(b, err)
	defer log.Close()
	load, err := loadgen.New(o, log.Publisher)
	require.NoError(b, err)
	report := load.Run(context.Background())
	require.Equal(b, events, report.Stored)
}
