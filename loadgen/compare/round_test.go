package main

import (
	"context"
	"errors"
	"iter"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/httpapi/wire"
	"github.com/oncelog/oncelog/loadgen"
)

// A workload is the same however it is cut into requests, and another one with
// another seed.
func TestExpectIsOfTheEventsAlone(t *testing.T) {
	t.Parallel()
	cfg := loadgen.DefaultConfig()
	cfg.Workload.Events = 5000
	inBatches, err := expect(t.Context(), cfg)
	require.NoError(t, err)
	require.Equal(t, cfg.Workload.Unique(), inBatches.events)
	cfg.Batch = 1
	oneByOne, err := expect(t.Context(), cfg)
	require.NoError(t, err)
	require.Equal(t, inBatches, oneByOne)
	cfg.Workload.Seed++
	other, err := expect(t.Context(), cfg)
	require.NoError(t, err)
	require.NotEqual(t, inBatches.sum, other.sum)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = expect(ctx, cfg)
	require.ErrorIs(t, err, context.Canceled)
}

// memoryLog is a log in memory, bent by bend before it is read.
type memoryLog struct {
	model
	texts  [][]byte
	bend   func([][]byte) [][]byte
	closed bool
}

func (l *memoryLog) Publish(ctx context.Context, e oncelog.Event) (oncelog.Receipt, error) {
	r, err := l.model.Publish(ctx, e)
	if err == nil && r.Status == oncelog.Stored {
		var text []byte
		text, err = wire.AppendEvent(nil, &e)
		l.texts = append(l.texts, text)
	}
	return r, err
}

func (l *memoryLog) Stored(context.Context) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for _, text := range l.bend(l.texts) {
			if !yield(text, nil) {
				return
			}
		}
	}
}

func (l *memoryLog) Close() error {
	l.closed = true
	return nil
}

func TestPlayFindsWhatALogDoesWrong(t *testing.T) {
	t.Parallel()
	cfg := loadgen.DefaultConfig()
	cfg.Workload.Events, cfg.Concurrency, cfg.Batch = 100, 1, 1
	want, err := expect(t.Context(), cfg)
	require.NoError(t, err)
	for name, tc := range map[string]struct {
		bend func([][]byte) [][]byte
		says []string
	}{
		"right":   {func(all [][]byte) [][]byte { return all }, nil},
		"order":   {func(all [][]byte) [][]byte { slices.Reverse(all); return all }, nil},
		"loses":   {func(all [][]byte) [][]byte { return all[1:] }, []string{"69 events read back, and not 70"}},
		"doubles": {func(all [][]byte) [][]byte { return append(all, all[0]) }, []string{"71 events read back, and not 70"}},
		"alters":  {func(all [][]byte) [][]byte { all[3][9] ^= 1; return all }, []string{"what was read back is not what was sent"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := &memoryLog{model: model{ids: make(map[oncelog.Key]uint64)}, bend: tc.bend}
			c := contender{"memory", func(context.Context, string, int) (eventLog, error) { return log, nil }}
			dir := t.TempDir()
			r := c.play(t.Context(), dir, 7, cfg, want)
			require.True(t, log.closed)
			left, err := os.ReadDir(dir)
			require.NoError(t, err)
			if tc.says == nil {
				require.Empty(t, r.Faults)
				require.Empty(t, left)
				return
			}
			require.Equal(t, append(tc.says, "what was left is in "+dir+"/"+left[0].Name()), r.Faults)
		})
	}
}

func TestPlayReportsALogThatDoesNotStart(t *testing.T) {
	t.Parallel()
	broken := errors.New("no such luck")
	c := contender{"broken", func(context.Context, string, int) (eventLog, error) { return nil, broken }}
	r := c.play(t.Context(), t.TempDir(), 1, loadgen.DefaultConfig(), content{})
	require.False(t, r.sound())
	require.Contains(t, r.String(), "AT FAULT: no such luck")
}

func TestFaults(t *testing.T) {
	t.Parallel()
	held := content{events: 70, sum: 1}
	for name, tc := range map[string]struct {
		report loadgen.Report
		faulty bool
	}{
		"right":                 {loadgen.Report{Stored: 70}, false},
		"an answer lost":        {loadgen.Report{Stored: 69, ResentEvents: 1}, false},
		"an answer wrong":       {loadgen.Report{Stored: 69}, true},
		"stored twice":          {loadgen.Report{Stored: 71}, true},
		"an event given up":     {loadgen.Report{Stored: 70, Unacked: 1}, true},
		"ended before the time": {loadgen.Report{Stored: 70, Ended: loadgen.Canceled}, true},
	} {
		if tc.report.Ended == "" {
			tc.report.Ended = loadgen.Complete
		}
		require.Equal(t, tc.faulty, len(faults(tc.report, held, held)) > 0, name)
	}
}
