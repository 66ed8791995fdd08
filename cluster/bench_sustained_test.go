package cluster

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSustainedLoadIsMeasured within the load, and one that is no overload is not
// passed off as one.
func TestSustainedLoadIsMeasured(t *testing.T) {
	t.Parallel()
	o := DefaultBench()
	o.Binary, o.Dir = binary(), t.TempDir()
	o.Nodes, o.Events, o.Rounds, o.Only = 1, MinBenchEvents, 1, []string{"sustained"}
	report, err := Bench(t.Context(), o)
	require.NoError(t, err)
	require.Len(t, report.Cases, 1)
	round := report.Cases[0].Rounds[0]
	require.Equal(t, int64(sustainedTimes*MinBenchEvents), round.Count)
	require.Positive(t, round.PerSecond)
	require.NotEqual(t, float64(round.Count)/round.Seconds, round.PerSecond, "the begin and the end do not count")

	o.Only = []string{"overload"}
	_, err = Bench(t.Context(), o)
	require.ErrorIs(t, err, errIncomplete)
	require.ErrorContains(t, err, "overload, round 1: not all of it was done: of 400 requests at once none was refused")
}
