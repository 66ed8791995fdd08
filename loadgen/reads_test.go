package loadgen

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
)

// topicLog is a log with three events of each of some topics.
func topicLog(t *testing.T, topics ...string) *fakeLog {
	t.Helper()
	log := newFakeLog()
	for _, topic := range topics {
		for _, id := range []string{"a", "b", "c"} {
			_, err := log.Publish(t.Context(), oncelog.Event{
				Topic: topic, EventID: id, Source: "s", Timestamp: time.Unix(1, 0), Payload: []byte(`{}`),
			})
			require.NoError(t, err)
		}
	}
	return log
}

func TestReadAsksEachQuestionOnce(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	asked := make(map[int64]int)
	r, err := Read(t.Context(), ReadConfig{Requests: 1000, Concurrency: 8}, func(_ context.Context, number int64) error {
		mu.Lock()
		defer mu.Unlock()
		asked[number]++
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, int64(1000), r.Requests)
	require.Len(t, asked, 1000)
	for number, times := range asked {
		require.Equal(t, 1, times, number)
		require.Less(t, number, int64(1000))
	}
}

func TestReadMeasures(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, err := Read(t.Context(), ReadConfig{Requests: 100, Concurrency: 10}, func(context.Context, int64) error {
			time.Sleep(50 * time.Millisecond)
			return nil
		})
		require.NoError(t, err)
		require.InDelta(t, 0.5, r.ElapsedSeconds, 1e-9)
		require.InDelta(t, 200, r.RequestsPerSecond, 1e-6)
		require.InDelta(t, 50, r.Latency.P50, 0.1)
		require.InDelta(t, 50, r.Latency.Max, 0.1)
	})
}

func TestReadEndsWithTheFirstFailure(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	_, err := Read(t.Context(), ReadConfig{Requests: 1 << 40, Concurrency: 4}, func(ctx context.Context, number int64) error {
		if number == 3 {
			return broken
		}
		<-ctx.Done()
		return ctx.Err()
	})
	require.ErrorIs(t, err, broken)
	require.ErrorContains(t, err, "read 3: broken")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = Read(ctx, ReadConfig{Requests: 1, Concurrency: 1}, func(context.Context, int64) error { return nil })
	require.ErrorIs(t, err, context.Canceled)
}

func TestReadGivesUpOnAnAnswerThatDoesNotCome(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, err := Read(t.Context(), ReadConfig{Requests: 1, Concurrency: 1}, func(ctx context.Context, _ int64) error {
			<-ctx.Done()
			return ctx.Err()
		})
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

func TestReadLimits(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]ReadConfig{
		"no requests":      {Requests: 0, Concurrency: 1},
		"no workers":       {Requests: 1, Concurrency: 0},
		"too many workers": {Requests: 1, Concurrency: 1 << 20},
	} {
		_, err := Read(t.Context(), cfg, func(context.Context, int64) error { return nil })
		require.ErrorIs(t, err, errWorkload, name)
	}
}

func TestTopicQuestion(t *testing.T) {
	t.Parallel()
	log := topicLog(t, "order", "login")
	ask := TopicQuestion(log, []string{"order", "login"}, oncelog.Linearizable)
	_, err := Read(t.Context(), ReadConfig{Requests: 10, Concurrency: 2}, ask)
	require.NoError(t, err)
	for name, test := range map[string]struct {
		node *crookedNode
		says string
	}{
		"nothing":       {&crookedNode{fakeLog: newFakeLog()}, `0 events of topic "order", not 1`},
		"another topic": {&crookedNode{fakeLog: log, bendEvents: func([]oncelog.Record) []oncelog.Record { return log.records[3:4] }}, `an event of topic "login", not "order"`},
		"too many":      {&crookedNode{fakeLog: log, bendEvents: func([]oncelog.Record) []oncelog.Record { return log.records[:3] }}, `3 events of topic "order", not 1`},
		"a failure":     {&crookedNode{fakeLog: log, failEvents: errors.New("cut")}, "cut"},
	} {
		require.ErrorContains(t, TopicQuestion(test.node, []string{"order"}, oncelog.Stale)(t.Context(), 0), test.says, name)
	}
}

func TestStatsQuestion(t *testing.T) {
	t.Parallel()
	log := topicLog(t, "order")
	require.NoError(t, StatsQuestion(log, 3, oncelog.Linearizable)(t.Context(), 0))
	err := StatsQuestion(log, 4, oncelog.Linearizable)(t.Context(), 0)
	require.ErrorIs(t, err, errAnswer)
	require.ErrorContains(t, err, "3 unique events, not 4")
	down := &crookedNode{fakeLog: log, failStats: errors.New("down")}
	require.ErrorContains(t, StatsQuestion(down, 3, oncelog.Linearizable)(t.Context(), 0), "down")
}
