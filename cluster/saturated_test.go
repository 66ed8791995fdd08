package cluster

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog/loadgen"
)

const (
	// saturatedVariable is how long the machine is saturated, such as "10m". That
	// nobody is elected meanwhile is asked for only where it is set: it depends on what
	// else the machine does.
	saturatedVariable = "ONCELOG_SATURATED"
	// busyVariable has the program of the tests do nothing but burn a processor.
	busyVariable = "CLUSTER_TEST_BUSY"
	// busyProcesses is how many do so.
	busyProcesses = 2
)

// beBusy does not return for centuries.
func beBusy() {
	for n := uint64(1); n != 0; n++ {
	}
}

// startBusy starts a process that takes all the processor time it can get, until the
// test ends.
func startBusy(t *testing.T) {
	t.Helper()
	busy := exec.CommandContext(t.Context(), os.Args[0])
	busy.Env = append(os.Environ(), busyVariable+"=1")
	busy.SysProcAttr = processAttributes()
	require.NoError(t, busy.Start())
	t.Cleanup(func() {
		_ = busy.Process.Kill()
		_ = busy.Wait()
	})
}

// The nodes and their publishers take all that the machine has, beside processes
// that do the same. No leader is given up for being slow, and the counters are exact.
func TestSaturatedNodesKeepTheirLeader(t *testing.T) {
	c := profiled(t)
	length, asked := 3*time.Second, false
	if text := os.Getenv(saturatedVariable); text != "" {
		var err error
		length, err = time.ParseDuration(text)
		require.NoError(t, err, saturatedVariable)
		asked = true
	}
	for range busyProcesses {
		startBusy(t)
	}
	before, err := c.WaitLevel(t.Context())
	require.NoError(t, err)
	all, err := c.Client()
	require.NoError(t, err)
	t.Cleanup(all.Close)
	cfg := loadgen.DefaultConfig()
	cfg.Workload.Events, cfg.Duration, cfg.Concurrency, cfg.Batch = 0, length, 64, 100
	load, err := loadgen.New(cfg, all)
	require.NoError(t, err)

	report := load.Run(t.Context())
	require.True(t, report.OK(), "%+v", report)
	level, err := c.WaitLevel(t.Context())
	require.NoError(t, err)
	acked, stored, again := uint64(report.Stored+report.Duplicates), uint64(report.Stored), uint64(report.ResentEvents)
	for _, s := range level {
		require.Equal(t, level[0].Digest, s.Digest, s.Node)
		require.GreaterOrEqual(t, s.Received, acked, s.Node)
		require.LessOrEqual(t, s.Received, acked+again, s.Node)
		require.GreaterOrEqual(t, s.Unique, stored, s.Node)
		require.LessOrEqual(t, s.Unique, stored+again, s.Node)
	}
	elections := level[0].Term - before[0].Term
	t.Logf("%s: %.0f events/s beside %d busy processes, p99.9 %.0f ms, worst %.0f ms, %d requests sent again, %d elections",
		length, report.EventsPerSecond, busyProcesses, report.Latency.P999, report.Latency.Max, report.Resent, elections)
	if asked {
		require.Zero(t, elections, "elections")
	}
}
