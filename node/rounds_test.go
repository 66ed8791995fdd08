package node

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
)

func TestRoundsShareOneAsking(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var tasks tasks
		var asked atomic.Uint64
		r := rounds{tasks: &tasks, ask: func() (uint64, error) {
			time.Sleep(time.Second)
			return asked.Add(1), nil
		}}
		var waiting sync.WaitGroup
		answers := make([]uint64, 50)
		for i := range answers {
			waiting.Go(func() {
				var err error
				answers[i], err = r.get(t.Context())
				require.NoError(t, err)
			})
			synctest.Wait()
		}
		waiting.Wait()
		require.Equal(t, uint64(1), answers[0])
		for _, a := range answers[1:] {
			require.Equal(t, uint64(2), a, "who comes while a round runs gets the answer of the next")
		}
		tasks.close()
	})
}

func TestRoundsLetGo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var tasks tasks
		broken := errors.New("broken")
		r := rounds{tasks: &tasks, ask: func() (uint64, error) {
			time.Sleep(time.Minute)
			return 0, broken
		}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := r.get(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		_, err = r.get(t.Context())
		require.ErrorIs(t, err, broken)
		tasks.close()
	})
}

// TestRoundsOfANodeThatStops: whoever asks then is told so, and a stop waits for the
// round that runs.
func TestRoundsOfANodeThatStops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var tasks tasks
		r := rounds{tasks: &tasks, ask: func() (uint64, error) {
			time.Sleep(time.Second)
			return 7, nil
		}}
		answered := make(chan uint64, 1)
		go func() {
			index, _ := r.get(t.Context())
			answered <- index
		}()
		synctest.Wait()
		begin := time.Now()
		tasks.close()
		require.Equal(t, time.Second, time.Since(begin))
		require.Equal(t, uint64(7), <-answered)
		_, err := r.get(t.Context())
		require.ErrorIs(t, err, oncelog.ErrUnavailable)
		require.ErrorContains(t, err, "shutting down")
	})
}
