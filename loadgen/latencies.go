package loadgen

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Latencies are kept in microseconds, to three digits, up to slowest.
const slowest = 10 * time.Minute

// latencies is how long requests took. Those who share one lock it.
type latencies struct{ histogram *hdrhistogram.Histogram }

func newLatencies() latencies {
	return latencies{hdrhistogram.New(1, slowest.Microseconds(), 3)}
}

func (l latencies) record(took time.Duration) {
	// Within the range given to it the histogram takes every value.
	_ = l.histogram.RecordValue(min(max(took.Microseconds(), 1), slowest.Microseconds()))
}

func (l latencies) summary() Latency {
	at := func(percentile float64) float64 {
		return float64(l.histogram.ValueAtPercentile(percentile)) / 1000
	}
	return Latency{P50: at(50), P90: at(90), P99: at(99), P999: at(99.9), Max: float64(l.histogram.Max()) / 1000}
}
