package loadgen

import (
	"fmt"
	"io"
	"os"
	"time"
)

// Progress is how far a run is.
type Progress struct {
	Elapsed time.Duration
	// Planned is 0 where only a duration ends the run.
	Planned    int64
	Sent       int64
	Stored     int64
	Duplicates int64
	// Failures counts failed attempts.
	Failures int64
	// EventsPerSecond is of the last interval.
	EventsPerSecond float64
	// P99 is of the requests so far, in milliseconds.
	P99 float64
	// Final marks the last one.
	Final bool
}

// reportProgress calls Config.Progress until the returned function is called,
// which reports the end.
func (l *Load) reportProgress() (stop func()) {
	if l.cfg.Progress == nil {
		return func() {}
	}
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(l.cfg.ProgressInterval)
		defer ticker.Stop()
		var last Progress
		for !last.Final {
			select {
			case <-ticker.C:
			case <-quit:
				last.Final = true
			}
			last = l.progress(last)
			l.cfg.Progress(last)
		}
	}()
	return func() { close(quit); <-done }
}

// progress is how far the run is, with the rate since last.
func (l *Load) progress(last Progress) Progress {
	r := l.tally.report(time.Since(l.start))
	p := Progress{
		Elapsed: time.Since(l.start),
		Planned: l.cfg.Workload.Events,
		Sent:    r.Sent, Stored: r.Stored, Duplicates: r.Duplicates,
		P99:   r.Latency.P99,
		Final: last.Final,
	}
	for _, n := range r.Errors {
		p.Failures += n
	}
	if span := p.Elapsed - last.Elapsed; span > 0 {
		acked := p.Stored + p.Duplicates - last.Stored - last.Duplicates
		p.EventsPerSecond = float64(acked) / span.Seconds()
	}
	return p
}

// String is a line for people.
func (p Progress) String() string {
	sent := fmt.Sprint(p.Sent)
	if p.Planned > 0 {
		sent = fmt.Sprintf("%d of %d (%d%%)", p.Sent, p.Planned, 100*p.Sent/p.Planned)
	}
	return fmt.Sprintf("%4.0f s  sent %s  stored %d  duplicates %d  failures %d  %.0f events/s  p99 %.1f ms",
		p.Elapsed.Seconds(), sent, p.Stored, p.Duplicates, p.Failures, p.EventsPerSecond, p.P99)
}

// ProgressTo returns a Config.Progress that writes to f: on a terminal one line
// that is written over, elsewhere a line every five seconds.
func ProgressTo(f *os.File) func(Progress) {
	if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
		return rewriteLine(f)
	}
	return writeLines(f, 5*time.Second)
}

// rewriteLine clears the line before it writes it again.
func rewriteLine(w io.Writer) func(Progress) {
	return func(p Progress) {
		end := ""
		if p.Final {
			end = "\n"
		}
		_, _ = fmt.Fprintf(w, "\r\x1b[K%s%s", p, end)
	}
}

func writeLines(w io.Writer, every time.Duration) func(Progress) {
	next := every
	return func(p Progress) {
		if p.Elapsed < next && !p.Final {
			return
		}
		next = p.Elapsed + every
		_, _ = fmt.Fprintln(w, p)
	}
}
