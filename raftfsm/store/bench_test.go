package store

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
)

const (
	benchBatch  = 1_000
	benchStored = 2_000_000
)

// benchEvents appends the records of a batch of events of about 300 bytes, half
// of them random text, in four topics.
func benchEvents(dst []byte, from, n int, id func(i int) uint64) []byte {
	topics := []string{"login", "order", "payment", "sensor"}
	random := rand.New(rand.NewPCG(1, uint64(from)))
	var seed [16]byte
	noise := make([]byte, 45)
	for i := range n {
		k := id(from + i)
		binary.BigEndian.PutUint64(seed[:], k*0x9e3779b97f4a7c15)
		binary.BigEndian.PutUint64(seed[8:], k)
		for j := range noise {
			noise[j] = byte(random.Uint32())
		}
		e := oncelog.Event{
			Topic: topics[k%4], EventID: hex.EncodeToString(seed[:]), Source: "bench",
			Timestamp: time.Unix(0, int64(k)),
			Payload:   fmt.Appendf(nil, `{"message":"an event of the benchmark","sequence":%d,"user":"user-%d","noise":"%x","status":"accepted","region":"eu-west"}`, k, k%1000, noise),
		}
		dst = AppendRecord(dst, &e)
	}
	return dst
}

func sequence(i int) uint64 { return uint64(i) }

// benchStore opens a store on disk with n events in it.
func benchStore(b *testing.B, n int) *Store {
	s, err := Open(b.TempDir(), Options{})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, s.Close()) })
	var records []byte
	for from := 0; from < n; from += benchBatch {
		records = benchEvents(records[:0], from, benchBatch, sequence)
		benchApply(b, s, records)
	}
	return s
}

func benchApply(b *testing.B, s *Store, records ...[]byte) []Outcome {
	txn := s.Begin()
	staged := make([]Staged, len(records))
	var outcomes []Outcome
	for i, r := range records {
		var err error
		if staged[i], err = txn.Stage(r); err != nil {
			b.Fatal(err)
		}
	}
	err := txn.Resolve()
	for _, batch := range staged {
		if err == nil {
			_, outcomes, err = txn.Apply(batch, 1)
		}
	}
	if err == nil {
		err = txn.Commit(Position{Index: s.Applied().Index + 1, Term: 1})
	}
	if err != nil {
		b.Fatal(err)
	}
	return outcomes
}

// BenchmarkApplyNew applies new events to a store that holds millions, flushes
// and compactions included.
func BenchmarkApplyNew(b *testing.B) {
	s := benchStore(b, benchStored)
	from := benchStored
	var records []byte
	var spent time.Duration
	n := 0
	for b.Loop() {
		records = benchEvents(records[:0], from, benchBatch, sequence)
		start := time.Now()
		outcomes := benchApply(b, s, records)
		spent += time.Since(start)
		if outcomes[0].Duplicate {
			b.Fatal("a duplicate")
		}
		from += benchBatch
		n += benchBatch
	}
	b.ReportMetric(float64(n)/spent.Seconds(), "events/s")
}

// BenchmarkApplyDuplicates sends stored events again: any of all, or one of the
// newest hundred thousand.
func BenchmarkApplyDuplicates(b *testing.B) {
	s := benchStore(b, benchStored)
	for _, window := range []int{benchStored, 100_000} {
		b.Run(fmt.Sprintf("newest=%d", window), func(b *testing.B) {
			random := rand.New(rand.NewPCG(1, 2))
			var records []byte
			var spent time.Duration
			n := 0
			for b.Loop() {
				records = benchEvents(records[:0], 0, benchBatch, func(int) uint64 {
					return uint64(benchStored - 1 - random.IntN(window))
				})
				start := time.Now()
				outcomes := benchApply(b, s, records)
				spent += time.Since(start)
				if !outcomes[0].Duplicate {
					b.Fatal("not a duplicate")
				}
				n += benchBatch
			}
			b.ReportMetric(float64(n)/spent.Seconds(), "events/s")
		})
	}
}

// BenchmarkEvents reads stored events.
func BenchmarkEvents(b *testing.B) {
	const stored = 200_000
	s := benchStore(b, stored)
	for _, bench := range []struct {
		name string
		oncelog.Query
	}{
		{"all", oncelog.Query{}},
		{"descending", oncelog.Query{Order: oncelog.ByIDDescending}},
		{"topic", oncelog.Query{Topics: []string{"order"}}},
		{"page", oncelog.Query{After: stored / 2, Limit: 100}},
		{"key", oncelog.Query{Topics: []string{"login"}, EventID: "00000000000000000000000000000000"}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			n := 0
			start := time.Now()
			for b.Loop() {
				for _, err := range s.Events(bench.Query) {
					if err != nil {
						b.Fatal(err)
					}
					n++
				}
			}
			b.ReportMetric(float64(n)/time.Since(start).Seconds(), "events/s")
		})
	}
}
