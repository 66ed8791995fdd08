package cluster

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog/loadgen"
)

func TestMeter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var m meter
		ack := func() { m.record(loadgen.Operation{Outcome: loadgen.Stored}) }
		ack()
		time.Sleep(time.Hour)
		ack()
		require.Equal(t, time.Hour, m.longestGap())
		require.Equal(t, int64(2), m.arm())
		time.Sleep(time.Second)
		m.record(loadgen.Operation{Outcome: loadgen.Unknown})
		require.Zero(t, m.longestGap(), "a gap ends with an acknowledgement only")

		reached := make(chan error)
		go func() { reached <- m.reach(t.Context(), 4) }()
		synctest.Wait()
		ack()
		require.Equal(t, time.Second, m.longestGap())
		ack()
		require.NoError(t, <-reached)
		require.NoError(t, m.reach(t.Context(), 3))

		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errLoadOver)
		require.ErrorIs(t, m.reach(ctx, 5), errLoadOver)
		require.NoError(t, m.reach(ctx, 4), "what is reached is reached")
	})
}

func TestDemoReport(t *testing.T) {
	t.Parallel()
	r := DemoReport{Killed: "n2", Successor: "n3", AckedBefore: 10_000, ElectionSeconds: 0.614, GapSeconds: 0.59}
	require.False(t, r.OK(), "without a verdict nothing is proved")
	r.Load.Verdict = &loadgen.Verdict{OK: true}
	require.True(t, r.OK())
	var b strings.Builder
	r.WriteTable(&b)
	require.Contains(t, b.String(), "n2, the leader, after 10000 acknowledged events")
	require.Contains(t, b.String(), "n3, 0.61 s later")
	require.Contains(t, b.String(), "verdict")
}

func TestDemoNeedsEvents(t *testing.T) {
	t.Parallel()
	o := DefaultDemo()
	o.Workload.Events = MinDemoEvents - 1
	_, err := Demo(t.Context(), o)
	require.ErrorIs(t, err, ErrOptions)
}
