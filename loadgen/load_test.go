package loadgen

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
)

func newLoad(t *testing.T, log *fakeLog, change func(*Config)) *Load {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Workload.Events = 2000
	cfg.Concurrency, cfg.Verify = 8, true
	if change != nil {
		change(&cfg)
	}
	load, err := New(cfg, log)
	require.NoError(t, err)
	return load
}

func TestRunCountsExactly(t *testing.T) {
	t.Parallel()
	for _, batch := range []int{1, 7, 100} {
		t.Run(fmt.Sprint(batch), func(t *testing.T) {
			t.Parallel()
			log := newFakeLog()
			r := newLoad(t, log, func(c *Config) {
				c.Workload.Events = 20_000
				c.Batch = batch
			}).Run(t.Context())
			require.Equal(t, Complete, r.Ended)
			require.Equal(t, int64(20_000), r.Sent)
			require.Equal(t, int64(14_000), r.Stored)
			require.Equal(t, int64(6000), r.Duplicates)
			require.Equal(t, (int64(20_000)+int64(batch)-1)/int64(batch), r.Requests)
			require.Zero(t, r.Unacked+r.Conflicts+r.Resent)
			require.Empty(t, r.Errors)
			require.True(t, r.OK())
			require.Len(t, log.records, 14_000)
		})
	}
}

// What a full queue refused is counted for itself, from where the run begins.
func TestRunCountsRefusals(t *testing.T) {
	t.Parallel()
	log := newFakeLog()
	log.refused.Store(10)
	log.before = func(_ context.Context, request int64) (bool, error) {
		if request <= 3 {
			log.refused.Add(1)
		}
		return false, nil
	}
	r := newLoad(t, log, nil).Run(t.Context())
	require.Equal(t, int64(3), r.Refused)
	require.True(t, r.OK())
}

func TestSecondRunIsAllDuplicates(t *testing.T) {
	t.Parallel()
	log := newFakeLog()
	newLoad(t, log, nil).Run(t.Context())
	again := newLoad(t, log, func(c *Config) { c.Batch = 1 })
	baseline, err := Baseline(t.Context(), []Node{{"n1", log}})
	require.NoError(t, err)
	r := again.Run(t.Context())
	require.Zero(t, r.Stored)
	require.Equal(t, int64(2000), r.Duplicates)
	require.Zero(t, r.Conflicts)
	verdict, err := again.Verify(t.Context(), []Node{{"n1", log}}, baseline, r)
	require.NoError(t, err)
	require.True(t, verdict.OK, verdict)
}

func TestRateIsKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newLoad(t, newFakeLog(), func(c *Config) { c.Rate, c.Batch = 100, 10 }).Run(t.Context())
		// The last of 200 batches is due after 199 tenths of a second.
		require.InDelta(t, 19.9, r.ElapsedSeconds, 1e-6)
		require.Equal(t, int64(2000), r.Sent)
		require.Less(t, r.Latency.Max, 1.0)
	})
}

// A log that stalls is charged with the requests that were due meanwhile.
func TestStallShowsInLatency(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog()
		log.before = func(_ context.Context, request int64) (bool, error) {
			if request == 1 {
				time.Sleep(15 * time.Second)
			}
			return false, nil
		}
		r := newLoad(t, log, func(c *Config) { c.Rate, c.Batch, c.Concurrency = 100, 10, 1 }).Run(t.Context())
		require.Greater(t, r.Latency.Max, 14_900.0)
		require.Greater(t, r.Latency.P50, 1000.0, "three in four waited too")
	})
}

func TestDurationEndsTheRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newLoad(t, newFakeLog(), func(c *Config) {
			c.Workload.Events, c.Rate, c.Batch, c.Duration = 0, 1000, 10, 5*time.Second
		}).Run(t.Context())
		require.Equal(t, TimeOver, r.Ended)
		require.InDelta(t, 5000, r.Sent, 100)
		require.Zero(t, r.Unacked)
		require.True(t, r.OK())
	})
}

func TestFinishLetsTheLastRequestsBeAnswered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog()
		log.before = func(context.Context, int64) (bool, error) {
			time.Sleep(time.Second)
			return false, nil
		}
		load := newLoad(t, log, func(c *Config) { c.Workload.Events, c.Batch, c.Concurrency = 100_000, 10, 4 })
		time.AfterFunc(5500*time.Millisecond, load.Finish)
		r := load.Run(t.Context())
		require.Equal(t, TimeOver, r.Ended)
		require.Equal(t, int64(6*4*10), r.Sent)
		require.Zero(t, r.Unacked)
		require.True(t, r.OK())
	})
}

func TestCancelEndsTheRunEarly(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	log := newFakeLog()
	log.before = func(ctx context.Context, request int64) (bool, error) {
		if request < 5 {
			return false, nil
		}
		cancel()
		<-ctx.Done()
		return true, ctx.Err()
	}
	load := newLoad(t, log, func(c *Config) { c.Batch = 10 })
	r := load.Run(ctx)
	require.Equal(t, Canceled, r.Ended)
	require.Less(t, r.Sent, int64(2000))
	require.Positive(t, r.Unacked)
	require.Equal(t, r.Sent, r.Stored+r.Duplicates+r.Unacked)
	require.False(t, r.OK())

	// What was cut off was applied all the same, and that is no fault.
	verdict, err := load.Verify(t.Context(), []Node{{"n1", log}}, oncelog.Stats{}, r)
	require.NoError(t, err)
	require.True(t, verdict.OK, verdict)
}

func TestFailuresAreMadeGood(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog()
		log.before = func(_ context.Context, request int64) (bool, error) {
			switch request % 10 {
			case 1:
				return false, oncelog.ErrQueueFull
			case 2:
				return false, fmt.Errorf("wrapped: %w", oncelog.ErrNotApplied)
			case 3:
				return true, oncelog.ErrOutcomeUnknown
			case 4:
				return true, errors.New("connection reset")
			}
			return false, nil
		}
		load := newLoad(t, log, func(c *Config) { c.Batch = 10 })
		r := load.Run(t.Context())
		require.Equal(t, int64(2000), r.Stored+r.Duplicates)
		require.Zero(t, r.Unacked)
		require.Positive(t, r.Errors["queue_full"])
		require.Positive(t, r.Errors["not_applied"])
		require.Positive(t, r.Errors["outcome_unknown"])
		require.Positive(t, r.Errors["other"])
		require.Positive(t, r.Resent)
		verdict, err := load.Verify(t.Context(), []Node{{"n1", log}}, oncelog.Stats{}, r)
		require.NoError(t, err)
		require.True(t, verdict.OK, verdict)
	})
}

func TestPatienceEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog()
		log.before = func(context.Context, int64) (bool, error) { return false, oncelog.ErrNotApplied }
		var ops []Operation
		r := newLoad(t, log, func(c *Config) {
			c.Workload.Events, c.Concurrency, c.Patience = 100, 1, 10*time.Second
			c.History = func(op Operation) { ops = append(ops, op) }
		}).Run(t.Context())
		require.Equal(t, int64(100), r.Unacked)
		require.InDelta(t, 10, r.ElapsedSeconds, 1e-3)
		require.Len(t, ops, 100)
		require.Equal(t, NotApplied, ops[0].Outcome)
		require.False(t, r.OK())
	})
}

func TestInvalidIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	log := newFakeLog()
	log.before = func(context.Context, int64) (bool, error) { return false, &oncelog.ValidationError{} }
	r := newLoad(t, log, nil).Run(t.Context())
	require.Equal(t, r.Sent, r.Unacked)
	require.Equal(t, map[string]int64{"invalid": r.Requests}, r.Errors)
	require.Zero(t, r.Resent)
}

func TestAnswersAreChecked(t *testing.T) {
	t.Parallel()
	for name, bend := range map[string]func(*oncelog.Receipt){
		"no id":       func(r *oncelog.Receipt) { r.ID = 0 },
		"no status":   func(r *oncelog.Receipt) { r.Status = 0 },
		"another key": func(r *oncelog.Receipt) { r.EventID += "x" },
	} {
		log := newFakeLog()
		log.receipt = bend
		r := newLoad(t, log, nil).Run(t.Context())
		require.Equal(t, map[string]int64{"bad_answer": r.Requests}, r.Errors, name)
		require.Equal(t, r.Sent, r.Unacked, name)
	}
}

func TestHistory(t *testing.T) {
	t.Parallel()
	log := newFakeLog()
	var mu sync.Mutex
	outcomes := make(map[Outcome]int)
	newLoad(t, log, func(c *Config) {
		c.Batch = 50
		c.History = func(op Operation) {
			mu.Lock()
			defer mu.Unlock()
			outcomes[op.Outcome]++
			if op.ID == 0 || op.End < op.Start || op.Worker < 0 || op.Worker >= 8 || op.Key.EventID == "" {
				t.Errorf("operation %+v", op)
			}
		}
	}).Run(t.Context())
	require.Equal(t, map[Outcome]int{Stored: 1400, Duplicate: 600}, outcomes)
}

func TestHistoryOfAnUnknownOutcome(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog()
		log.before = func(_ context.Context, request int64) (bool, error) {
			if request == 1 {
				return false, oncelog.ErrOutcomeUnknown
			}
			return false, oncelog.ErrNotApplied
		}
		var ops []Operation
		newLoad(t, log, func(c *Config) {
			c.Workload.Events, c.Concurrency, c.Batch = 1, 1, 1
			c.History = func(op Operation) { ops = append(ops, op) }
		}).Run(t.Context())
		require.Len(t, ops, 1)
		require.Equal(t, Unknown, ops[0].Outcome, "the first attempt may have been applied")
	})
}

func TestProgress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var seen []Progress
		newLoad(t, newFakeLog(), func(c *Config) {
			c.Rate, c.Batch = 100, 10
			c.Progress = func(p Progress) { seen = append(seen, p) }
		}).Run(t.Context())
		require.Len(t, seen, 20)
		for i, p := range seen {
			require.Equal(t, i == len(seen)-1, p.Final)
			require.InDelta(t, 100, p.EventsPerSecond, 15)
		}
		last := seen[len(seen)-1]
		require.Equal(t, int64(2000), last.Sent)
		require.Equal(t, int64(2000), last.Stored+last.Duplicates)
	})
}

func TestProgressLines(t *testing.T) {
	t.Parallel()
	var plain, terminal bytes.Buffer
	lines, line := writeLines(&plain, 5*time.Second), rewriteLine(&terminal)
	for i := range 12 {
		p := Progress{Elapsed: time.Duration(i) * time.Second, Planned: 200, Sent: int64(i), Final: i == 11}
		lines(p)
		line(p)
	}
	require.Equal(t, 3, strings.Count(plain.String(), "\n"), plain.String())
	require.Equal(t, 1, strings.Count(terminal.String(), "\n"))
	require.Equal(t, 12, strings.Count(terminal.String(), "\r"))

	f, err := os.Create(filepath.Join(t.TempDir(), "progress"))
	require.NoError(t, err)
	ProgressTo(f)(Progress{Final: true})
	require.NoError(t, f.Close())
	written, err := os.ReadFile(f.Name())
	require.NoError(t, err)
	require.NotContains(t, string(written), "\r")
	require.Contains(t, string(written), "events/s")
}

func TestReportIsReadable(t *testing.T) {
	t.Parallel()
	r := newLoad(t, newFakeLog(), nil).Run(t.Context())
	r.Errors = map[string]int64{"queue_full": 2, "deadline": 1}
	r.Verdict = &Verdict{Checks: []Check{{Name: "a check", Detail: "found wanting"}}}
	var table bytes.Buffer
	r.WriteTable(&table)
	for _, want := range []string{"1400", "deadline 1, queue_full 2", "found wanting", "FAILED", "verdict"} {
		require.Contains(t, table.String(), want)
	}
	text, err := json.Marshal(r)
	require.NoError(t, err)
	for _, want := range []string{`"stored":1400`, `"p99_9":`, `"events_per_second":`, `"ended":"complete"`} {
		require.Contains(t, string(text), want)
	}
}

func BenchmarkRun(b *testing.B) {
	cfg := DefaultConfig()
	cfg.Workload.Events, cfg.Verify = 20_000, true
	var events int64
	for b.Loop() {
		load, err := New(cfg, newFakeLog())
		require.NoError(b, err)
		events += load.Run(b.Context()).Sent
	}
	b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
}
