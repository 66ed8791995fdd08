package node

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
)

// benchCluster is three nodes in this process, with default timing.
func benchCluster(b *testing.B) []*Node {
	b.Helper()
	var nodes []*Node
	for i := range 3 {
		c := Config{
			Name: fmt.Sprintf("n%d", i+1), DataDir: b.TempDir(), BootstrapExpect: 3,
			HTTPAddr: "127.0.0.1:0", RaftAddr: "127.0.0.1:0", GossipAddr: "127.0.0.1:0",
		}
		if i > 0 {
			c.Join = []string{nodes[0].GossipAddr()}
		}
		n, err := New(c)
		require.NoError(b, err)
		b.Cleanup(func() { require.NoError(b, n.Close()) })
		nodes = append(nodes, n)
	}
	for _, n := range nodes {
		require.Eventually(b, func() bool { return n.Ready(context.Background()) == nil }, 30*time.Second, 20*time.Millisecond)
	}
	return nodes
}

// benchEvents makes events of about 300 bytes with ids that no other call has.
func benchEvents(n int, next *atomic.Int64) []oncelog.Event {
	es := make([]oncelog.Event, n)
	payload := []byte(`{"text":"` + string(bytesOf('x', 200)) + `"}`)
	for i := range es {
		es[i] = oncelog.Event{
			Topic: "order", EventID: fmt.Sprintf("event-%020d", next.Add(1)), Source: "bench",
			Timestamp: time.Unix(1, 0), Payload: payload,
		}
	}
	return es
}

func BenchmarkPublish(b *testing.B) {
	for _, size := range []int{1, 1000} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			nodes := benchCluster(b)
			var next, turn atomic.Int64
			b.SetParallelism(32)
			b.ResetTimer()
			begin, entries := cpuTime(), nodes[0].group.AppliedIndex()
			b.RunParallel(func(pb *testing.PB) {
				n := nodes[turn.Add(1)%3]
				for pb.Next() {
					_, err := n.publish(context.Background(), benchEvents(size, &next))
					if err != nil {
						b.Error(err)
						return
					}
				}
			})
			events := float64(b.N * size)
			b.ReportMetric(events/b.Elapsed().Seconds(), "events/s")
			b.ReportMetric(float64((cpuTime()-begin).Nanoseconds())/events, "cpu-ns/event")
			b.ReportMetric(events/float64(nodes[0].group.AppliedIndex()-entries), "events/entry")
		})
	}
}

func BenchmarkLinearizableStats(b *testing.B) {
	nodes := benchCluster(b)
	var turn atomic.Int64
	b.SetParallelism(32)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		n := nodes[turn.Add(1)%3]
		for pb.Next() {
			if err := n.prepare(context.Background(), oncelog.Linearizable); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "reads/s")
}

// BenchmarkPublishDuringSnapshots takes the latency of batches of 100 while all
// nodes do nothing else, and while each takes a snapshot five times a second.
func BenchmarkPublishDuringSnapshots(b *testing.B) {
	for _, snapshots := range []bool{false, true} {
		b.Run(fmt.Sprintf("snapshots=%t", snapshots), func(b *testing.B) {
			nodes := benchCluster(b)
			ctx, stop := context.WithCancel(context.Background())
			var taking sync.WaitGroup
			var taken atomic.Int64
			for _, n := range nodes {
				if snapshots {
					taking.Go(func() { snapshotOften(ctx, n, &taken) })
				}
			}
			var next, turn atomic.Int64
			var mu sync.Mutex
			var latencies []time.Duration
			b.SetParallelism(4)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				n := nodes[turn.Add(1)%3]
				for pb.Next() {
					begin := time.Now()
					if _, err := n.publish(ctx, benchEvents(100, &next)); err != nil {
						b.Error(err)
						return
					}
					mu.Lock()
					latencies = append(latencies, time.Since(begin))
					mu.Unlock()
				}
			})
			b.StopTimer()
			stop()
			taking.Wait()
			slices.Sort(latencies)
			b.ReportMetric(float64(latencies[len(latencies)/2].Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(latencies[len(latencies)*99/100].Microseconds())/1000, "p99-ms")
			b.ReportMetric(float64(taken.Load()), "snapshots")
		})
	}
}

func snapshotOften(ctx context.Context, n *Node, taken *atomic.Int64) {
	for ctx.Err() == nil {
		if n.group.Snapshot().Error() == nil {
			taken.Add(1)
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// cpuTime is what this process has used of all cores, which busy neighbours
// change less than the time on the clock.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
