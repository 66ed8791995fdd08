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
		publishBench(f, h, number)
	}
	_, err = s.Flush()
	require.NoError(b, err)
	return f, h, number
}

// publishBench applies one batch of 1,000 new events.
func publishBench(f *FSM, h *history, number *uint64) {
	*number++
	f.ApplyBatch([]*raft.Log{h.publish(benchBatchOf(*number))})
}

// benchBatchOf is the command of one batch of 1,000 events of about 300 bytes.
func benchBatchOf(number uint64) Batch {
	events := make([]oncelog.Event, 1000)
	for i := range events {
		events[i] = event("order", fmt.Sprintf("%020d-%08d", number, i), `{"text":"`+strings.Repeat("x", 200)+`"}`)
	}
	return batchOf(nodeA, 1, number, number, events...)
}

// reportEvents gives the rate and the cost of one of the 1,000 events of an op.
func reportEvents(b *testing.B) {
	events := float64(b.N) * 1000
	b.ReportMetric(events/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/events, "ns/event")
}

// BenchmarkCodec makes and reads the commands of 1,000 events.
func BenchmarkCodec(b *testing.B) {
	batch := benchBatchOf(1)
	data := command(batch, 1)
	e := event("order", "00000000000000000001-00000001", `{"text":"`+strings.Repeat("x", 200)+`"}`)
	b.Run("record", func(b *testing.B) {
		b.ReportAllocs()
		var dst []byte
		for b.Loop() {
			dst = dst[:0]
			for range 1000 {
				dst = store.AppendRecord(dst, &e)
			}
		}
		reportEvents(b)
	})
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			EncodePublish(batch, batch.Records)
		}
		reportEvents(b)
	})
	b.Run("stamp", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			Stamp(data, 1)
		}
		reportEvents(b)
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := Decode(data); err != nil {
				b.Fatal(err)
			}
		}
		reportEvents(b)
	})
}

// BenchmarkApplyBatch applies one entry of 1,000 events that are stored already,
// all of it but the making of the entry: decoding, the session, the answers, the
// commit. What new events cost is the store's part; see its benchmarks.
func BenchmarkApplyBatch(b *testing.B) {
	f, h, number := benchMachine(b, 100_000)
	batch := benchBatchOf(1)
	b.ReportAllocs()
	for b.Loop() {
		*number++
		batch.Number, batch.Settled = *number, *number
		responses := f.ApplyBatch([]*raft.Log{h.publish(batch)})
		if !responses[0].([]BatchResult)[0].Outcomes[0].Duplicate {
			b.Fatal("not a duplicate")
		}
	}
	reportEvents(b)
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
					publishBench(f, h, number)
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
