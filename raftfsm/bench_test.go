package raftfsm

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/raftfsm/store"
)

// benchMachine is a state machine on the disk that holds a number of events.
func benchMachine(b *testing.B, events int) (*FSM, *history, *uint64) {
	b.Helper()
	s, err := store.Open(b.TempDir(), store.Options{})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, s.Close()) })
	f, err := New(s, func(err error) { b.Error(err) })
	require.NoError(b, err)
	h, number := &history{}, new(uint64)
	f.ApplyBatch([]*raft.Log{h.members(nodeA)})
	for range events / 1000 {
		publishBench(f, h, number, 1000)
	}
	_, err = s.Flush()
	require.NoError(b, err)
	return f, h, number
}

// publishBench applies one batch of new events of about 300 bytes.
func publishBench(f *FSM, h *history, number *uint64, n int) {
	*number++
	events := make([]oncelog.Event, n)
	for i := range events {
		events[i] = event("order", fmt.Sprintf("%020d-%08d", *number, i), `{"text":"`+strings.Repeat("x", 200)+`"}`)
	}
	f.ApplyBatch([]*raft.Log{h.publish(batchOf(nodeA, 1, *number, *number, events...))})
}

// written is how many bytes this process has written, as Linux counts them.
func written(b *testing.B) (n int64) {
	b.Helper()
	file, err := os.Open("/proc/self/io")
	require.NoError(b, err)
	defer func() { require.NoError(b, file.Close()) }()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		_, _ = fmt.Sscanf(lines.Text(), "wchar: %d", &n)
	}
	return n
}

// BenchmarkSnapshot takes a node's own snapshot after each 10,000 new events, with
// few and with many events stored before. Its cost must not grow with them.
func BenchmarkSnapshot(b *testing.B) {
	for _, events := range []int{100_000, 2_000_000} {
		b.Run(fmt.Sprintf("events=%d", events), func(b *testing.B) {
			f, h, number := benchMachine(b, events)
			var bytes int64
			b.ResetTimer()
			for range b.N {
				b.StopTimer()
				for range 10 {
					publishBench(f, h, number, 1000)
				}
				before := written(b)
				b.StartTimer()
				snapshot, err := f.Snapshot()
				require.NoError(b, err)
				require.NoError(b, snapshot.Persist(new(localSink)))
				b.StopTimer()
				bytes += written(b) - before
				b.StartTimer()
			}
			b.ReportMetric(float64(bytes)/float64(b.N)/(1<<20), "MiB/op")
		})
	}
}
