package node

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A process that was stopped for long finds its timer over when it goes on. That
// is one tick, as if it had been in time.
func TestATimeStoppedIsNoTimeHung(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hung := 0
		w := startStallWatch(time.Minute, func() { hung++ })
		for range stallTicks - 1 {
			w.tick()
			require.Zero(t, hung)
		}
		w.tick()
		w.tick()
		time.Sleep(time.Hour)
		require.Equal(t, 1, hung, "it tells once")
	})
}

func TestAnOperationThatEndsDoesNotHang(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hung := 0
		w := startStallWatch(time.Minute, func() { hung++ })
		time.Sleep(59 * time.Second)
		w.stop()
		time.Sleep(time.Hour)
		require.Zero(t, hung)
	})
}
