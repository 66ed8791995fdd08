package loadgen

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// Ending is why a run ended.
type Ending string

// The ways in which a run ends.
const (
	// Complete: the whole workload was sent.
	Complete Ending = "complete"
	// TimeOver: the duration was over first, or Finish was called.
	TimeOver Ending = "time over"
	// Canceled: the run was told to stop, and requests in flight were cut off.
	Canceled Ending = "canceled"
)

// Report is how a run went. Sent = Stored + Duplicates + Unacked.
type Report struct {
	Seed  uint64 `json:"seed"`
	Ended Ending `json:"ended"`
	// Planned is the number of events in the workload, Sent how many of them
	// were sent, counting one that had to be sent again once.
	Planned int64 `json:"planned"`
	Sent    int64 `json:"sent"`
	// Stored, Duplicates and, among these, Conflicts are what was acknowledged;
	// Unacked is what was given up.
	Stored     int64 `json:"stored"`
	Duplicates int64 `json:"duplicates"`
	Conflicts  int64 `json:"conflicts"`
	Unacked    int64 `json:"unacked"`
	// Requests counts each request once, Resent how often one was sent again,
	// and ResentEvents the events in those, each time.
	Requests     int64 `json:"requests"`
	Resent       int64 `json:"resent"`
	ResentEvents int64 `json:"resent_events"`
	// Refused counts the answers that a node's queue was full (429). Such a request
	// waits for as long as it is told, and is sent again.
	Refused int64 `json:"refused"`
	// Errors counts failed attempts by kind. Most of them were then made good.
	Errors          map[string]int64 `json:"errors"`
	ElapsedSeconds  float64          `json:"elapsed_seconds"`
	EventsPerSecond float64          `json:"events_per_second"`
	Latency         Latency          `json:"latency_ms"`
	// Verdict is set by whoever has the run verified.
	Verdict *Verdict `json:"verdict,omitempty"`
}

// Latency is how long requests took until acknowledged, resending included, in
// milliseconds.
type Latency struct {
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p99_9"`
	Max  float64 `json:"max"`
}

// OK reports whether every event sent was acknowledged and, if there is a
// verdict, that it is good.
func (r Report) OK() bool {
	return r.Unacked == 0 && r.Ended != Canceled && (r.Verdict == nil || r.Verdict.OK)
}

// WriteTable writes r for people. That w fails is w's to know.
func (r Report) WriteTable(w io.Writer) {
	t := newTable(w)
	t.AppendRows([]table.Row{
		{"run", fmt.Sprintf("%s, seed %d", r.Ended, r.Seed)},
		{"events sent", r.sentText()},
		{"stored", r.Stored},
		{"duplicates", r.Duplicates},
		{"conflicts", r.Conflicts},
		{"not acknowledged", r.Unacked},
		{"requests", fmt.Sprintf("%d; sent again %d, with %d events", r.Requests, r.Resent, r.ResentEvents)},
		{"refused, queue full", r.Refused},
		{"failed attempts", r.errorsText()},
		{"elapsed", fmt.Sprintf("%.2f s", r.ElapsedSeconds)},
		{"throughput", fmt.Sprintf("%.0f events/s", r.EventsPerSecond)},
		{"latency", fmt.Sprintf("p50 %.1f  p90 %.1f  p99 %.1f  p99.9 %.1f  max %.1f ms",
			r.Latency.P50, r.Latency.P90, r.Latency.P99, r.Latency.P999, r.Latency.Max)},
	})
	t.Render()
	if r.Verdict != nil {
		r.Verdict.WriteTable(w)
	}
}

func (r Report) sentText() string {
	if r.Planned == 0 || r.Sent == r.Planned {
		return fmt.Sprint(r.Sent)
	}
	return fmt.Sprintf("%d of %d", r.Sent, r.Planned)
}

func (r Report) errorsText() string {
	if len(r.Errors) == 0 {
		return "none"
	}
	var parts []string
	for _, kind := range slices.Sorted(maps.Keys(r.Errors)) {
		parts = append(parts, fmt.Sprintf("%s %d", kind, r.Errors[kind]))
	}
	return strings.Join(parts, ", ")
}

// WriteTable writes v for people, one check a line.
func (v Verdict) WriteTable(w io.Writer) {
	t := newTable(w)
	t.AppendHeader(table.Row{"check", "", "found"})
	for _, c := range v.Checks {
		t.AppendRow(table.Row{c.Name, word(c.OK), c.Detail})
	}
	t.AppendFooter(table.Row{"verdict", word(v.OK), ""})
	t.Render()
}

func word(ok bool) string {
	if ok {
		return "ok"
	}
	return "FAILED"
}

func newTable(w io.Writer) table.Writer {
	t := table.NewWriter()
	t.SetOutputMirror(w)
	t.SetStyle(table.StyleLight)
	t.Style().Format.Header = text.FormatDefault
	t.Style().Format.Footer = text.FormatDefault
	return t
}
