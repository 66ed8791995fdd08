package cluster

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/loadgen"
)

func TestBenchOptions(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*BenchOptions)
		says   string
	}{
		"nodes":      {func(o *BenchOptions) { o.Nodes = 8 }, "8 nodes; 1 to 7 are possible"},
		"events":     {func(o *BenchOptions) { o.Events = 999 }, "999 events; it takes 1000"},
		"rounds":     {func(o *BenchOptions) { o.Rounds = 0 }, "0 rounds"},
		"profiles":   {func(o *BenchOptions) { o.ProfileDir, o.ProfileTime = "x", time.Millisecond }, "profiles of 1ms"},
		"a case":     {func(o *BenchOptions) { o.Only = []string{"single", "doubles"} }, `no case "doubles" with 3 nodes; there are single, single-leader,`},
		"one node":   {func(o *BenchOptions) { o.Nodes, o.Only = 1, []string{"read-followers"} }, `no case "read-followers" with 1 nodes`},
		"no dir":     {func(o *BenchOptions) { o.Dir = "" }, "a data directory is required"},
		"no profile": {func(o *BenchOptions) { o.Dir, o.ProfileDir = "", "/dev/null/x" }, "profiles: mkdir"},
	} {
		o := DefaultBench()
		o.Dir = t.TempDir()
		test.change(&o)
		_, err := Bench(t.Context(), o)
		require.ErrorContains(t, err, test.says, name)
		if name != "no profile" {
			require.ErrorIs(t, err, ErrOptions, name)
		}
	}
}

func TestBenchCasesAreChosen(t *testing.T) {
	t.Parallel()
	o := DefaultBench()
	all, err := o.cases()
	require.NoError(t, err)
	require.Equal(t, caseNames(BenchCases()), caseNames(all)+", sustained, overload")
	o.Only = []string{"overload", "batch"}
	named, err := o.cases()
	require.NoError(t, err)
	require.Equal(t, "batch, overload", caseNames(named))
	o.Only = []string{"scan", "single"}
	some, err := o.cases()
	require.NoError(t, err)
	require.Equal(t, "single, scan", caseNames(some), "their order is always the same")
	o.Nodes, o.Only = 1, nil
	some, err = o.cases()
	require.NoError(t, err)
	require.NotContains(t, caseNames(some), "followers")
}

// aTrial has published 100 events, 30 of them repeats, to a log that held 10.
func aTrial() (*benchTrial, measured, []oncelog.Stats) {
	tr := &benchTrial{before: oncelog.Stats{Term: 3, Received: 12, Unique: 10, Duplicates: 2}}
	w := loadgen.DefaultWorkload()
	w.Events = 100
	after := oncelog.Stats{Node: "n1", Term: 3, AppliedIndex: 9, Received: 112, Unique: 80, Duplicates: 32, Digest: "sha256:a"}
	other := after
	other.Node = "n2"
	return tr, measured{published: w}, []oncelog.Stats{after, other}
}

func TestBenchChecksTheLog(t *testing.T) {
	t.Parallel()
	tr, m, level := aTrial()
	require.NoError(t, tr.check(m, level))
	for name, test := range map[string]struct {
		bend func(m *measured, level []oncelog.Stats)
		is   error
		says string
	}{
		"an election": {func(_ *measured, l []oncelog.Stats) { l[1].Term++ }, errElection, "n2 is in term 4, after term 3"},
		"a digest":    {func(_ *measured, l []oncelog.Stats) { l[1].Digest = "sha256:b" }, ErrBroken, "at index 9, n1 and n2 have different digests"},
		"a counter":   {func(_ *measured, l []oncelog.Stats) { l[1].Received++ }, ErrBroken, "I5"},
		"too few new": {func(_ *measured, l []oncelog.Stats) {
			for i := range l {
				l[i].Unique, l[i].Duplicates = 79, 33
			}
		}, errIncomplete, "taken in 100 events, 69 of them new; sent were 100, 70 of them new"},
		"one twice": {func(_ *measured, l []oncelog.Stats) {
			for i := range l {
				l[i].Received, l[i].Duplicates = 113, 33
			}
		}, errIncomplete, "taken in 101 events"},
		"one missing": {func(_ *measured, l []oncelog.Stats) {
			for i := range l {
				l[i].Received, l[i].Duplicates = 111, 31
			}
		}, errIncomplete, "taken in 99 events"},
	} {
		tr, m, level := aTrial()
		test.bend(&m, level)
		err := tr.check(m, level)
		require.ErrorIs(t, err, test.is, name)
		require.ErrorContains(t, err, test.says, name)
	}

	tr, m, level = aTrial()
	m.resentEvents = 1
	level[0].Received, level[0].Duplicates = 113, 33
	level[1].Received, level[1].Duplicates = 113, 33
	require.NoError(t, tr.check(m, level), "what was sent again may be counted again")
}

// Each trial's events are new to the log, since they begin where its own end.
func TestBenchWorkloadsAreNew(t *testing.T) {
	t.Parallel()
	tr := &benchTrial{events: 1000, seed: 5}
	first := tr.workload(singleShare)
	tr.before.Received = 100
	second := tr.workload(singleShare)
	require.Equal(t, int64(100), first.Events)
	require.Equal(t, uint64(5), first.Seed)
	require.Equal(t, first.Start.Add(100*time.Millisecond), second.Start)
}

func TestSizeOf(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "below"), 0o700))
	for _, name := range []string{"a", "below/b"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("12345"), 0o600))
	}
	size, err := sizeOf(dir)
	require.NoError(t, err)
	require.Equal(t, int64(10), size)
	size, err = sizeOf(filepath.Join(dir, "none"))
	require.NoError(t, err)
	require.Zero(t, size)
}

// The cases as such are measured by the test of the command.
func TestBenchTakesProfiles(t *testing.T) {
	t.Parallel()
	o := DefaultBench()
	o.Binary, o.Dir, o.ProfileDir, o.ProfileTime = binary(), t.TempDir(), t.TempDir(), time.Second
	o.Nodes, o.Events, o.Rounds, o.Only = 1, MinBenchEvents, 1, []string{"batch"}
	var progress strings.Builder
	o.Progress = &progress
	report, err := Bench(t.Context(), o)
	require.NoError(t, err)
	require.Len(t, report.Cases, 1)
	require.Contains(t, progress.String(), "round 1 of 1  batch")
	require.Contains(t, progress.String(), "profiles of batch")
	for _, name := range []string{"batch.n1.pprof", "batch.load.pprof"} {
		info, err := os.Stat(filepath.Join(o.ProfileDir, name))
		require.NoError(t, err)
		require.Positive(t, info.Size(), name)
	}
}

func TestBenchSaysWhyItCannotBeDone(t *testing.T) {
	t.Parallel()
	o := DefaultBench()
	o.Binary, o.Dir = "/bin/false", t.TempDir()
	_, err := Bench(t.Context(), o)
	require.ErrorContains(t, err, "has ended: exit status 1")
}
