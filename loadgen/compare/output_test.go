package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog/loadgen"
)

func played(log string, number int, rate, p50, p99 float64, faults ...string) round {
	return round{Log: log, Round: number, Faults: faults, Report: loadgen.Report{
		Sent: 10, Stored: 7, Duplicates: 3, EventsPerSecond: rate, Latency: loadgen.Latency{P50: p50, P99: p99},
	}}
}

func TestMedian(t *testing.T) {
	t.Parallel()
	for want, rates := range map[float64][]float64{5: {5}, 3: {9, 3, 1}, 2.5: {4, 1, 3, 2}} {
		var rounds []round
		for _, r := range rates {
			rounds = append(rounds, played(nameOncelog, 1, r, 0, 0))
		}
		require.InDelta(t, want, median(rounds, eventsPerSecond), 0)
	}
}

func TestRatios(t *testing.T) {
	t.Parallel()
	rounds := []round{
		played(nameOncelog, 1, 300, 1, 4), played(nameJetStream, 1, 100, 2, 2),
		played(nameOncelog, 2, 100, 1, 4), played(nameJetStream, 2, 200, 4, 1),
		played(nameOncelog, 3, 200, 1, 4), played(nameJetStream, 3, 9999, 9, 9, "lost an event"),
	}
	r := ratiosOf(rounds)
	require.Equal(t, ratio{OfMedians: 200. / 150, Low: 0.5, High: 3}, r.EventsPerSecond)
	require.Equal(t, ratio{OfMedians: 1. / 3, Low: 0.25, High: 0.5}, r.P50)
	require.Equal(t, ratio{OfMedians: 4 / 1.5, Low: 2, High: 4}, r.P99)
	require.Equal(t, "1.33 (0.50 to 3.00)", r.EventsPerSecond.String())

	require.Nil(t, ratiosOf(rounds[:1]))
	require.Nil(t, ratiosOf(rounds[4:]), "the only round of one log is at fault")
	require.Equal(t, &ratios{EventsPerSecond: ratio{OfMedians: 1.5}, P50: ratio{OfMedians: .5}, P99: ratio{OfMedians: 2}},
		ratiosOf([]round{rounds[0], played(nameJetStream, 2, 200, 2, 2)}), "no round that counts for both")
}

func TestTable(t *testing.T) {
	t.Parallel()
	m := match{
		Workload: workloadBatch, Events: 10, Duplicates: 0.3, Payload: 300, Concurrency: 12, Batch: 1000, Seed: 1, Window: 512,
		Rounds: []round{played(nameOncelog, 1, 300, 1, 4), played(nameJetStream, 1, 100, 2, 2), played(nameJetStream, 2, 0, 0, 0, "it died")},
	}
	m.Ratios = ratiosOf(m.Rounds)
	c := comparison{Machine: "a machine", Sync: syncAlways, Workloads: []match{m}}
	require.False(t, c.sound())
	var out bytes.Buffer
	require.NoError(t, c.write(&out, outputTable))
	require.Equal(t, `a machine, sync_interval always

batch: 10 events, 30 % of them repeats, payloads of 300 bytes, seed 1; 12 requests at once of 1000 events; JetStream's window 512 on each of 3 connections
┌────────┬───────────┬──────────┬────────┬────────┬──────┬────────┬────────────┬────────────┬───────────┐
│ round  │ log       │ events/s │ p50 ms │ p99 ms │ sent │ stored │ duplicates │ sent again │ read back │
├────────┼───────────┼──────────┼────────┼────────┼──────┼────────┼────────────┼────────────┼───────────┤
│ 1      │ oncelog   │      300 │    1.0 │    4.0 │   10 │      7 │          3 │          0 │ as sent   │
│ 1      │ jetstream │      100 │    2.0 │    2.0 │   10 │      7 │          3 │          0 │ as sent   │
│ 2      │ jetstream │        0 │    0.0 │    0.0 │   10 │      7 │          3 │          0 │ AT FAULT  │
├────────┼───────────┼──────────┼────────┼────────┼──────┼────────┼────────────┼────────────┼───────────┤
│ median │ oncelog   │      300 │    1.0 │    4.0 │      │        │            │            │           │
│ median │ jetstream │      100 │    2.0 │    2.0 │      │        │            │            │           │
└────────┴───────────┴──────────┴────────┴────────┴──────┴────────┴────────────┴────────────┴───────────┘
oncelog / jetstream: events/s 3.00 (3.00 to 3.00), p50 0.50 (0.50 to 0.50), p99 2.00 (2.00 to 2.00)
round 2 of jetstream: it died
`, out.String())
}
