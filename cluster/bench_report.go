package cluster

import (
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/oncelog/oncelog/loadgen"
)

// BenchReport is what a benchmark has found.
type BenchReport struct {
	Machine Machine `json:"machine"`
	// Rounds, Seed and Events are the options'.
	Rounds int    `json:"rounds"`
	Seed   uint64 `json:"seed"`
	Events int64  `json:"events"`
	// Elections counts the trials given up because the leader changed.
	Elections int           `json:"elections"`
	Log       LogSize       `json:"log"`
	Cases     []BenchResult `json:"cases"`
}

// Machine is where all nodes and the load ran.
type Machine struct {
	Cores   int    `json:"cores"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
	Go      string `json:"go"`
	Oncelog string `json:"oncelog"`
}

// LogSize is how large the log was.
type LogSize struct {
	// EventsBefore and EventsAfter count unique events, at the benchmark's begin
	// and end.
	EventsBefore uint64 `json:"events_before"`
	EventsAfter  uint64 `json:"events_after"`
	// Nodes are the sizes of all that the nodes keep, at the end.
	Nodes []NodeSize `json:"nodes"`
}

// NodeSize is what a node has on its disk.
type NodeSize struct {
	Node  string `json:"node"`
	Bytes int64  `json:"bytes"`
}

// BenchResult is a case with its rounds, and their summary.
type BenchResult struct {
	BenchCase
	PerSecond Spread `json:"per_second"`
	// P50, P99 and P999 are latencies in milliseconds; nil where there was one
	// request only.
	P50  *Spread `json:"p50_ms,omitempty"`
	P99  *Spread `json:"p99_ms,omitempty"`
	P999 *Spread `json:"p99_9_ms,omitempty"`
	// NodesCPU and LoadCPU are of [BenchRound]; nil on a system that does not tell.
	NodesCPU *Spread `json:"nodes_cpu_us,omitempty"`
	LoadCPU  *Spread `json:"load_cpu_us,omitempty"`
	// MostRSS and MostAnon are the most memory that a node had after a round, in
	// bytes; see [NodeUse].
	MostRSS  uint64       `json:"most_rss_bytes,omitempty"`
	MostAnon uint64       `json:"most_anon_bytes,omitempty"`
	Rounds   []BenchRound `json:"rounds"`
}

// BenchRound is one run of one case.
type BenchRound struct {
	// LogEvents is how many unique events the log held before.
	LogEvents uint64 `json:"log_events"`
	// Count is how many of the case's unit were done.
	Count   int64   `json:"count"`
	Seconds float64 `json:"seconds"`
	// PerSecond is Count divided by Seconds, but for a sustained load and an overload:
	// how they begin and end is no part of it.
	PerSecond float64          `json:"per_second"`
	Latency   *loadgen.Latency `json:"latency_ms,omitempty"`
	// Resent counts the requests that had to be sent again.
	Resent int64 `json:"resent"`
	// Refused counts the answers that a node's queue was full.
	Refused int64 `json:"refused,omitempty"`
	// NodesCPU is the processor time of all nodes together for one of the unit,
	// LoadCPU that of the load, in microseconds. Neighbours on the machine disturb
	// them less than any other number here.
	NodesCPU float64   `json:"nodes_cpu_us,omitempty"`
	LoadCPU  float64   `json:"load_cpu_us,omitempty"`
	Nodes    []NodeUse `json:"nodes,omitempty"`
}

// NodeUse is what one node's process took in a round.
type NodeUse struct {
	Node       string  `json:"node"`
	Leads      bool    `json:"leads"`
	CPUSeconds float64 `json:"cpu_seconds"`
	// RSSBytes is the resident memory after the round. It has the mapped files, as
	// far as they are in memory, which the kernel drops where it needs the room;
	// AnonBytes is the rest.
	RSSBytes  uint64 `json:"rss_bytes"`
	AnonBytes uint64 `json:"anon_bytes"`
}

// addUse takes in what the processes took between two moments. The load's is the
// one without a name.
func (r *BenchRound) addUse(leader string, before, after map[string]processUse) {
	for _, name := range slices.Sorted(maps.Keys(after)) {
		cpu := (after[name].cpu - before[name].cpu).Seconds()
		perUnit := cpu * 1e6 / float64(r.Count)
		if name == "" {
			r.LoadCPU = perUnit
			continue
		}
		r.NodesCPU += perUnit
		r.Nodes = append(r.Nodes, NodeUse{
			Node: name, Leads: name == leader, CPUSeconds: cpu, RSSBytes: after[name].rss, AnonBytes: after[name].anon,
		})
	}
}

// Spread is the middle of some numbers, and how far they lie apart.
type Spread struct {
	Median   float64 `json:"median"`
	Least    float64 `json:"least"`
	Greatest float64 `json:"greatest"`
}

// spreadOf takes one number or more. Of an even number of them the median is the
// mean of the two in the middle.
func spreadOf(numbers []float64) Spread {
	sorted := slices.Sorted(slices.Values(numbers))
	n := len(sorted)
	return Spread{Median: (sorted[(n-1)/2] + sorted[n/2]) / 2, Least: sorted[0], Greatest: sorted[n-1]}
}

// summarize fills the summary in from the rounds.
func (r *BenchResult) summarize() {
	over := func(value func(BenchRound) float64) Spread {
		numbers := make([]float64, len(r.Rounds))
		for i, round := range r.Rounds {
			numbers[i] = value(round)
		}
		return spreadOf(numbers)
	}
	some := func(value func(BenchRound) float64) *Spread {
		s := over(value)
		return &s
	}
	r.PerSecond = over(func(b BenchRound) float64 { return b.PerSecond })
	if r.Rounds[0].Latency != nil {
		r.P50 = some(func(b BenchRound) float64 { return b.Latency.P50 })
		r.P99 = some(func(b BenchRound) float64 { return b.Latency.P99 })
		r.P999 = some(func(b BenchRound) float64 { return b.Latency.P999 })
	}
	if r.Rounds[0].Nodes != nil {
		r.NodesCPU = some(func(b BenchRound) float64 { return b.NodesCPU })
		r.LoadCPU = some(func(b BenchRound) float64 { return b.LoadCPU })
	}
	for _, round := range r.Rounds {
		for _, n := range round.Nodes {
			r.MostRSS, r.MostAnon = max(r.MostRSS, n.RSSBytes), max(r.MostAnon, n.AnonBytes)
		}
	}
}

// WriteTable writes r for people. That w fails is w's to know.
func (r BenchReport) WriteTable(w io.Writer) {
	t := table.NewWriter()
	t.SetOutputMirror(w)
	t.SetStyle(table.StyleLight)
	t.Style().Format.Header = text.FormatDefault
	t.AppendHeader(table.Row{"case", "per second", "least..greatest", "p50 ms", "p99 ms", "p99.9 ms", "nodes µs", "load µs", "RSS MiB", "anon MiB"})
	var right []table.ColumnConfig
	for column := 2; column <= 10; column++ {
		right = append(right, table.ColumnConfig{Number: column, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	t.SetColumnConfigs(right)
	t.SuppressEmptyColumns()
	for _, c := range r.Cases {
		t.AppendRow(c.row())
	}
	t.Render()
	_, _ = fmt.Fprint(w, r.legend())
}

func (r BenchResult) row() table.Row {
	row := table.Row{
		r.Name, fmt.Sprintf("%.0f %s", r.PerSecond.Median, r.Unit), fmt.Sprintf("%.0f..%.0f", r.PerSecond.Least, r.PerSecond.Greatest),
		median(r.P50, "%.2f"), median(r.P99, "%.2f"), median(r.P999, "%.2f"), median(r.NodesCPU, "%.1f"), median(r.LoadCPU, "%.1f"),
	}
	if r.MostRSS == 0 {
		return append(row, "", "")
	}
	return append(row, fmt.Sprint(r.MostRSS>>20), fmt.Sprint(r.MostAnon>>20))
}

// median is a cell, empty where there is nothing.
func median(s *Spread, format string) string {
	if s == nil {
		return ""
	}
	return fmt.Sprintf(format, s.Median)
}

// legend says what the numbers are and what they are of.
func (r BenchReport) legend() string {
	var most int64
	for _, n := range r.Log.Nodes {
		most = max(most, n.Bytes)
	}
	s := fmt.Sprintf(`Medians of %d rounds, seed %d. µs is processor time for one event or read, of all %d nodes and of the load;
RSS is the most memory that a node had, mapped files included, anon without them.
The log went from %d to %d events, %d MiB a node.
oncelog %s, %s %s/%s, %d cores for all of it.
`, r.Rounds, r.Seed, len(r.Log.Nodes), r.Log.EventsBefore, r.Log.EventsAfter, most>>20,
		r.Machine.Oncelog, r.Machine.Go, r.Machine.OS, r.Machine.Arch, r.Machine.Cores)
	if r.Elections > 0 {
		s += fmt.Sprintf("Repeated because the leader changed meanwhile: %d.\n", r.Elections)
	}
	return s
}
