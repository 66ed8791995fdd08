package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog/cluster"
)

// Every case once, with few events.
func TestBench(t *testing.T) {
	t.Setenv(programVariable, "1")
	t.Setenv("TMPDIR", t.TempDir())
	f := do(t, "", "bench", "--events", "1000", "--rounds", "1", "--output", "json")
	require.Zero(t, f.status, "%s\n%s", f.out, f.err)
	require.Empty(t, f.err, "progress is for a terminal")
	var report cluster.BenchReport
	require.NoError(t, json.Unmarshal([]byte(f.out), &report))
	require.Equal(t, runtime.NumCPU(), report.Machine.Cores)
	require.Len(t, report.Log.Nodes, 3)
	// The warm-up, three times batches and single events, and twice one publisher
	// alone, each with 3 in 10 duplicates. Of 5 events, these are 2.
	least := uint64(700+70) + 3*(700+70) + 2*3
	require.GreaterOrEqual(t, report.Log.EventsAfter, least)
	if report.Elections == 0 {
		require.Equal(t, least, report.Log.EventsAfter)
	}
	usual := slices.DeleteFunc(cluster.BenchCases(), func(c cluster.BenchCase) bool { return c.ByName })
	require.Len(t, report.Cases, len(usual))
	for _, c := range report.Cases {
		require.Len(t, c.Rounds, 1, c.Name)
		require.Positive(t, c.PerSecond.Median, c.Name)
		require.Equal(t, c.P99 == nil, strings.HasPrefix(c.Name, "scan"), c.Name)
		if runtime.GOOS == "linux" {
			require.Len(t, c.Rounds[0].Nodes, 3)
			require.Positive(t, c.MostRSS)
		}
	}
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	require.NoError(t, err)
	require.Empty(t, left, "the temporary directory is removed")
}

// A second benchmark on the same data publishes other events.
func TestBenchUsesDataAgain(t *testing.T) {
	t.Setenv(programVariable, "1")
	dir := t.TempDir()
	bench := []string{"bench", "--nodes", "1", "--events", "1000", "--rounds", "2", "--only", "batch", "--data-dir", dir}
	require.Contains(t, good(t, "", bench...), "The log went from 0 to 2170 events")
	require.Contains(t, good(t, "", bench...), "The log went from 2170 to 4340 events")
	require.FileExists(t, filepath.Join(dir, "n1.log"))
}

func TestBenchIsStopped(t *testing.T) {
	t.Setenv(programVariable, "1")
	t.Setenv("TMPDIR", t.TempDir())
	b := begin(t, "bench", "--events", "100000000", "--only", "single")
	require.Eventually(t, func() bool {
		logs, err := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "oncelog-bench-*", "n3.log"))
		return err == nil && len(logs) == 1
	}, time.Minute, 10*time.Millisecond)
	require.Equal(t, exitFailed, b.end())
	require.Contains(t, b.err.String(), "oncelog: the benchmark was stopped")
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestBenchUsage(t *testing.T) {
	t.Parallel()
	for line, says := range map[string]string{
		"bench --nodes 8":                        "--nodes 8: must be 1 to 7",
		"bench --events 999":                     "--events 999: must be 1000 or more",
		"bench --rounds 0":                       "--rounds 0: must be 1 or more",
		"bench --rounds often":                   `--rounds "often": must be a whole number`,
		"bench --only doubles":                   `no case "doubles" with 3 nodes; there are single, single-leader`,
		"bench --nodes 1 --only stale-followers": `no case "stale-followers" with 1 nodes`,
		"bench --output xml":                     `--output "xml": must be table or json`,
		"bench single":                           `"single" is too much`,
	} {
		f := do(t, "", strings.Fields(line)...)
		require.Equal(t, exitUsage, f.status, line)
		require.Contains(t, f.err, says)
		require.Empty(t, f.out)
	}
}
