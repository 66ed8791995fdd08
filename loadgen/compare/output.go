package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// ratios are oncelog's numbers divided by JetStream's.
type ratios struct {
	EventsPerSecond ratio `json:"events_per_second"`
	P50             ratio `json:"p50"`
	P99             ratio `json:"p99"`
}

// ratio is that of the medians over all rounds that count. Low and High are the
// least and the greatest of a single round, where that counts for both logs; 0 if
// there is none.
type ratio struct {
	OfMedians float64 `json:"of_medians"`
	Low       float64 `json:"low"`
	High      float64 `json:"high"`
}

// String is the ratio with its spread.
func (r ratio) String() string {
	return fmt.Sprintf("%.2f (%.2f to %.2f)", r.OfMedians, r.Low, r.High)
}

// String is a line for people.
func (r *ratios) String() string {
	if r == nil {
		return "no ratio: one log has no round that counts"
	}
	return fmt.Sprintf("oncelog / jetstream: events/s %s, p50 %s, p99 %s", r.EventsPerSecond, r.P50, r.P99)
}

// The measures of a round.
func eventsPerSecond(r round) float64 { return r.EventsPerSecond }
func p50(r round) float64             { return r.Latency.P50 }
func p99(r round) float64             { return r.Latency.P99 }

// ratiosOf is nil where one log has no round that counts.
func ratiosOf(rounds []round) *ratios {
	ours, theirs := soundOf(rounds, nameOncelog), soundOf(rounds, nameJetStream)
	if len(ours) == 0 || len(theirs) == 0 {
		return nil
	}
	return &ratios{
		EventsPerSecond: ratioOf(ours, theirs, eventsPerSecond),
		P50:             ratioOf(ours, theirs, p50),
		P99:             ratioOf(ours, theirs, p99),
	}
}

// soundOf are the rounds of one log that count.
func soundOf(rounds []round, log string) []round {
	return slices.DeleteFunc(slices.Clone(rounds), func(r round) bool { return r.Log != log || !r.sound() })
}

func ratioOf(ours, theirs []round, measure func(round) float64) ratio {
	q := ratio{OfMedians: median(ours, measure) / median(theirs, measure)}
	for _, a := range ours {
		for _, b := range theirs {
			if a.Round != b.Round {
				continue
			}
			one := measure(a) / measure(b)
			if q.High == 0 {
				q.Low = one
			}
			q.Low, q.High = min(q.Low, one), max(q.High, one)
		}
	}
	return q
}

// median is that of a measure, for one round or more.
func median(rounds []round, measure func(round) float64) float64 {
	values := make([]float64, len(rounds))
	for i, r := range rounds {
		values[i] = measure(r)
	}
	slices.Sort(values)
	middle := len(values) / 2
	if len(values)%2 == 1 {
		return values[middle]
	}
	return (values[middle-1] + values[middle]) / 2
}

// String is a round in a line.
func (r round) String() string {
	s := fmt.Sprintf("%s %.0f events/s, p50 %.1f ms, p99 %.1f ms", r.Log, r.EventsPerSecond, r.Latency.P50, r.Latency.P99)
	if !r.sound() {
		s += "; AT FAULT: " + strings.Join(r.Faults, "; ")
	}
	return s
}

// write writes c in one of the forms of output.
func (c comparison) write(w io.Writer, form string) error {
	if form == outputJSON {
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		return e.Encode(c)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s, sync_interval %s\n", c.Machine, c.Sync)
	for _, m := range c.Workloads {
		b.WriteString("\n" + m.String())
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// String is the match for people: a table, and below it the ratios and what was
// at fault.
func (m match) String() string {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Format.Header = text.FormatDefault
	t.SetColumnConfigs([]table.ColumnConfig{{Number: 3, Align: text.AlignRight}, {Number: 4, Align: text.AlignRight}, {Number: 5, Align: text.AlignRight}})
	t.AppendHeader(table.Row{"round", "log", "events/s", "p50 ms", "p99 ms", "sent", "stored", "duplicates", "sent again", "read back"})
	var below strings.Builder
	for _, r := range m.Rounds {
		verdict := "as sent"
		if !r.sound() {
			verdict = "AT FAULT"
			fmt.Fprintf(&below, "round %d of %s: %s\n", r.Round, r.Log, strings.Join(r.Faults, "; "))
		}
		t.AppendRow(table.Row{
			r.Round, r.Log, whole(r.EventsPerSecond), tenths(r.Latency.P50), tenths(r.Latency.P99),
			r.Sent, r.Stored, r.Duplicates, r.ResentEvents, verdict,
		})
	}
	t.AppendSeparator()
	for _, log := range []string{nameOncelog, nameJetStream} {
		if rs := soundOf(m.Rounds, log); len(rs) > 0 {
			t.AppendRow(table.Row{"median", log, whole(median(rs, eventsPerSecond)), tenths(median(rs, p50)), tenths(median(rs, p99))})
		}
	}
	return fmt.Sprintf("%s\n%s\n%s\n%s", m.title(), t.Render(), m.Ratios, below.String())
}

func (m match) title() string {
	title := fmt.Sprintf("%s: %d events, %.0f %% of them repeats, payloads of %d bytes, seed %d; %d requests at once",
		m.Workload, m.Events, 100*m.Duplicates, m.Payload, m.Seed, m.Concurrency)
	if m.Batch > 1 {
		title += fmt.Sprintf(" of %d events; JetStream's window %d on each of %d connections", m.Batch, m.Window, replicas)
	}
	return title
}

func whole(v float64) string  { return fmt.Sprintf("%.0f", v) }
func tenths(v float64) string { return fmt.Sprintf("%.1f", v) }
