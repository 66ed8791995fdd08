package store

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
)

const (
	benchBatch = 1_000
	// benchStored is how many events are stored before what is measured at size.
	benchStored = 5_000_000
)

// generator makes the records of events of about 300 bytes in four topics, the
// same ones each time. A third of each is random text, which does not compress
// well.
type generator struct {
	noise   string
	records []byte
	payload []byte
	// spent is the processor time that went into making events.
	spent time.Duration
}

func newGenerator() *generator {
	random := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 1<<20)
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	return &generator{noise: hex.EncodeToString(noise)}
}

// batch returns the records of benchBatch events. They are valid until the next
// call.
func (g *generator) batch(number func(i int) uint64) []byte {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	start := cpuTime(syscall.RUSAGE_THREAD)
	g.records = g.records[:0]
	for i := range benchBatch {
		g.records = g.append(g.records, number(i))
	}
	g.spent += cpuTime(syscall.RUSAGE_THREAD) - start
	return g.records
}

func (g *generator) append(dst []byte, k uint64) []byte {
	topics := [...]string{"login", "order", "payment", "sensor"}
	scrambled := (k + 1) * 0x9e3779b97f4a7c15
	p := append(g.payload[:0], `{"message":"an event of the benchmark","sequence":`...)
	p = strconv.AppendUint(p, k, 10)
	p = append(p, `,"user":"user-`...)
	p = strconv.AppendUint(p, k%1000, 10)
	p = append(p, `","noise":"`...)
	p = append(p, g.noise[scrambled%(1<<20):][:90]...)
	g.payload = append(p, `","status":"accepted","region":"eu-west"}`...)
	var id [16]byte
	binary.BigEndian.PutUint64(id[:], scrambled)
	binary.BigEndian.PutUint64(id[8:], k)
	e := oncelog.Event{
		Topic: topics[k%4], EventID: hex.EncodeToString(id[:]), Source: "bench",
		Timestamp: time.Unix(0, int64(k)), Payload: g.payload,
	}
	return AppendRecord(dst, &e)
}

// cpuTime is the processor time of this process or thread, the system's part of
// it too. Neighbours on a shared machine change it less than the time on the wall.
func cpuTime(who int) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(who, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// meter measures what the store does, the work in the background included: all of
// the process but the making of the events. The rate is that of one core, so a
// benchmark that reports it runs with GOMAXPROCS=1.
type meter struct {
	generator *generator
	start     time.Time
	cpu, made time.Duration
	events    int
}

func (g *generator) meter() *meter {
	return &meter{generator: g, start: time.Now(), cpu: cpuTime(syscall.RUSAGE_SELF), made: g.spent}
}

func (m *meter) report(b *testing.B) {
	made := m.generator.spent - m.made
	cpu := cpuTime(syscall.RUSAGE_SELF) - m.cpu - made
	wall := time.Since(m.start) - made
	b.ReportMetric(float64(m.events)/wall.Seconds(), "events/s")
	b.ReportMetric(float64(cpu.Nanoseconds())/float64(m.events), "cpu-ns/event")
	b.ReportMetric(float64(residentBytes(b))/(1<<20), "MiB-rss")
}

// benchStore opens a store on disk.
func benchStore(b *testing.B) *Store {
	s, err := Open(b.TempDir(), Options{})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, s.Close()) })
	return s
}

// fill stores the events from..to, all new.
func (g *generator) fill(b *testing.B, s *Store, from, to int) {
	for ; from < to; from += benchBatch {
		outcomes := benchApply(b, s, g.batch(func(i int) uint64 { return uint64(from + i) }))
		if outcomes[0].Duplicate {
			b.Fatal("a duplicate")
		}
	}
}

func benchApply(b *testing.B, s *Store, records []byte) []Outcome {
	txn := s.Begin()
	var outcomes []Outcome
	staged, err := txn.Stage(records)
	if err == nil {
		err = txn.Resolve()
	}
	if err == nil {
		_, outcomes, err = txn.Apply(staged, 1)
	}
	if err == nil {
		err = txn.Commit(Position{Index: s.Applied().Index + 1, Term: 1})
	}
	if err != nil {
		b.Fatal(err)
	}
	return outcomes
}

// BenchmarkApply measures batches of 1,000 events on one store: new events into an
// empty store and into one that holds millions, then events that are stored
// already. Flushes and compactions are counted in; they come in bursts, and one
// flush is some 45 batches, so -benchtime 1000x says more than a second does.
func BenchmarkApply(b *testing.B) {
	s, g := benchStore(b), newGenerator()
	stored := 0
	measureNew := func(b *testing.B) {
		m := g.meter()
		for b.Loop() {
			g.fill(b, s, stored, stored+benchBatch)
			stored += benchBatch
			m.events += benchBatch
		}
		m.report(b)
	}
	b.Run("new/stored=0", measureNew)
	g.fill(b, s, stored, benchStored)
	stored = max(stored, benchStored)
	b.Run(fmt.Sprintf("new/stored=%d", benchStored), measureNew)
	random := rand.New(rand.NewPCG(1, 2))
	sent := 0
	for _, bench := range []struct {
		name   string
		number func(int) uint64
	}{
		{fmt.Sprintf("newest=%d", benchStored), func(int) uint64 { return uint64(stored - 1 - random.IntN(benchStored)) }},
		{"newest=100000", func(int) uint64 { return uint64(stored - 1 - random.IntN(100_000)) }},
		{"in-order", func(int) uint64 { sent++; return uint64(sent % (benchStored / 2)) }},
	} {
		b.Run("duplicates/"+bench.name, func(b *testing.B) {
			m := g.meter()
			for b.Loop() {
				if !benchApply(b, s, g.batch(bench.number))[0].Duplicate {
					b.Fatal("not a duplicate")
				}
				m.events += benchBatch
			}
			m.report(b)
		})
	}
}

// BenchmarkMixed is what a publisher sends who retries and starts over: of ten events
// three are old, half of those of the newest 1,000 and half of any age.
func BenchmarkMixed(b *testing.B) {
	s, g := benchStore(b), newGenerator()
	random := rand.New(rand.NewPCG(1, 2))
	fresh := uint64(0)
	next := func(int) uint64 {
		old := random.Uint64N(20)
		switch {
		case fresh == 0 || old >= 6:
			fresh++
			return fresh - 1
		case old < 3:
			return fresh - 1 - random.Uint64N(min(fresh, 1_000))
		}
		return random.Uint64N(fresh)
	}
	m := g.meter()
	for b.Loop() {
		benchApply(b, s, g.batch(next))
		m.events += benchBatch
	}
	m.report(b)
}

// BenchmarkFilter reads the keys of a million events into the filter, as each Open
// does in the background.
func BenchmarkFilter(b *testing.B) {
	const stored = 1_000_000
	s := benchStore(b)
	newGenerator().fill(b, s, 0, stored)
	_, err := s.Flush()
	require.NoError(b, err)
	for b.Loop() {
		if err := newKeyFilter(s.opts.FilterBytes).fill(b.Context(), s.gen.db); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(stored*float64(b.N)/b.Elapsed().Seconds(), "keys/s")
}

// residentBytes is the process's memory, as Linux counts it.
func residentBytes(b *testing.B) int {
	data, err := os.ReadFile("/proc/self/status")
	require.NoError(b, err)
	_, rest, _ := strings.Cut(string(data), "VmRSS:")
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	require.NoError(b, err)
	return kib << 10
}

// BenchmarkEvents reads stored events.
func BenchmarkEvents(b *testing.B) {
	const stored = 200_000
	s := benchStore(b)
	newGenerator().fill(b, s, 0, stored)
	for _, bench := range []struct {
		name string
		oncelog.Query
	}{
		{"all", oncelog.Query{}},
		{"descending", oncelog.Query{Order: oncelog.ByIDDescending}},
		{"topic", oncelog.Query{Topics: []string{"order"}}},
		{"page", oncelog.Query{After: stored / 2, Limit: 100}},
		{"key", oncelog.Query{Topics: []string{"login"}, EventID: "9e3779b97f4a7c150000000000000000"}},
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

// BenchmarkPage reads one event of a store whose tree has several levels, and
// whose newest events are in a memtable.
func BenchmarkPage(b *testing.B) {
	const stored = 320_000
	s := benchStore(b)
	newGenerator().fill(b, s, 0, stored)
	order := []string{"order"}
	random := rand.New(rand.NewPCG(1, 2))
	for _, bench := range []struct {
		name string
		next func() oncelog.Query
	}{
		{"first", func() oncelog.Query { return oncelog.Query{Topics: order, Limit: 2} }},
		{"last", func() oncelog.Query { return oncelog.Query{Topics: order, Limit: 2, Order: oncelog.ByIDDescending} }},
		{"middle", func() oncelog.Query { return oncelog.Query{Topics: order, Limit: 2, After: stored / 2} }},
		{"random", func() oncelog.Query {
			return oncelog.Query{Topics: order, Limit: 2, After: 1 + random.Uint64N(stored)}
		}},
		{"nothing-new", func() oncelog.Query { return oncelog.Query{Topics: order, Limit: 2, After: stored - 2} }},
		{"id", func() oncelog.Query { return oncelog.Query{After: stored / 2, Before: stored/2 + 2, Limit: 1} }},
		{"random-id", func() oncelog.Query {
			id := 2 + random.Uint64N(stored-2)
			return oncelog.Query{After: id - 1, Before: id + 1, Limit: 1}
		}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			start, n := cpuTime(syscall.RUSAGE_SELF), 0
			for b.Loop() {
				for _, err := range s.Events(bench.next()) {
					if err != nil {
						b.Fatal(err)
					}
					n++
				}
			}
			b.ReportMetric(float64((cpuTime(syscall.RUSAGE_SELF)-start).Nanoseconds())/float64(b.N), "cpu-ns/op")
			b.ReportMetric(float64(n)/float64(b.N), "events/op")
		})
	}
	b.Log(s.gen.db.Metrics().String())
}
