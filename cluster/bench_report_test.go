package cluster

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog/loadgen"
)

// updateVariable makes the tests write their golden files anew.
const updateVariable = "UPDATE_GOLDEN"

func requireGolden(t *testing.T, name string, text []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if os.Getenv(updateVariable) != "" {
		require.NoError(t, os.MkdirAll("testdata", 0o750))
		require.NoError(t, os.WriteFile(path, text, 0o600))
	}
	golden, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(golden), string(text))
}

// benchRound is a round with a node that leads and one that does not, whose
// numbers grow with its own.
func benchRound(n int, latency bool) BenchRound {
	r := BenchRound{LogEvents: uint64(1000 * n), Count: 1000, Seconds: float64(n), PerSecond: 1000 / float64(n), Resent: int64(n - 1)}
	if latency {
		r.Latency = &loadgen.Latency{P50: float64(n), P90: float64(n) + 0.1, P99: float64(n) + 0.25, P999: float64(n) + 0.5, Max: float64(n) + 1}
	}
	use := func(cpu time.Duration, mib uint64) processUse {
		return processUse{cpu: cpu, rss: mib << 20, anon: mib << 19}
	}
	ms := time.Duration(n) * time.Millisecond
	r.addUse("n1",
		map[string]processUse{"": use(time.Second, 10), "n1": use(time.Second, 90), "n2": use(2*time.Second, 90)},
		map[string]processUse{"": use(time.Second+10*ms, 20), "n1": use(time.Second+20*ms, 100), "n2": use(2*time.Second+5*ms, uint64(99+n))})
	return r
}

func benchReport() BenchReport {
	r := BenchReport{
		Machine: Machine{Cores: 2, OS: "linux", Arch: "amd64", Go: "go1.26.0", Oncelog: "v1.2.3"},
		Rounds:  3, Seed: 7, Events: 10_000, Elections: 1,
		Log: LogSize{EventsBefore: 5, EventsAfter: 12_345, Nodes: []NodeSize{{"n1", 3 << 20}, {"n2", 7<<20 + 1}}},
		Cases: []BenchResult{
			{BenchCase: BenchCase{Name: "single", About: "one by one", Unit: unitEvents}},
			{BenchCase: BenchCase{Name: "scan", About: "all", Unit: unitEvents}},
		},
	}
	for _, n := range []int{2, 1, 4} {
		r.Cases[0].Rounds = append(r.Cases[0].Rounds, benchRound(n, true))
		r.Cases[1].Rounds = append(r.Cases[1].Rounds, benchRound(n, false))
	}
	for i := range r.Cases {
		r.Cases[i].summarize()
	}
	return r
}

func TestBenchReport(t *testing.T) {
	t.Parallel()
	report := benchReport()
	var text bytes.Buffer
	report.WriteTable(&text)
	requireGolden(t, "bench.table.golden", text.Bytes())
	document, err := json.MarshalIndent(report, "", "  ")
	require.NoError(t, err)
	requireGolden(t, "bench.json.golden", document)
}

// Where the system tells nothing of processes, there are no columns for it.
func TestBenchReportWithoutUse(t *testing.T) {
	t.Parallel()
	report := benchReport()
	for i := range report.Cases {
		c := &report.Cases[i]
		for j := range c.Rounds {
			c.Rounds[j].Nodes, c.Rounds[j].NodesCPU, c.Rounds[j].LoadCPU = nil, 0, 0
		}
		c.NodesCPU, c.LoadCPU, c.MostRSS = nil, nil, 0
		c.MostAnon = 0
		c.summarize()
	}
	var text bytes.Buffer
	report.WriteTable(&text)
	require.NotContains(t, text.String(), "nodes µs")
	document, err := json.Marshal(report)
	require.NoError(t, err)
	require.NotContains(t, string(document), "rss")
	require.NotContains(t, string(document), "anon")
	require.NotContains(t, string(document), "cpu")
}

func TestSpreadOf(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		numbers []float64
		want    Spread
	}{
		{[]float64{5}, Spread{5, 5, 5}},
		{[]float64{4, 1}, Spread{2.5, 1, 4}},
		{[]float64{9, 1, 2}, Spread{2, 1, 9}},
		{[]float64{9, 1, 2, 4}, Spread{3, 1, 9}},
		{[]float64{3, 3, 3, 3, 3}, Spread{3, 3, 3}},
	} {
		given := append([]float64{}, test.numbers...)
		require.Equal(t, test.want, spreadOf(given))
		require.Equal(t, test.numbers, given, "the rounds keep their order")
	}
}
