package cluster

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog/node"
)

// The environment of the tests that measure what a lost leader costs.
const (
	// profileVariable is the Raft profile of the nodes.
	profileVariable = "ONCELOG_RAFT_PROFILE"
	// reportVariable is a directory that takes each report as JSON.
	reportVariable = "ONCELOG_REPORT"
)

// profiled starts processes of the Raft profile that is asked for.
func profiled(t *testing.T) *Cluster {
	t.Helper()
	profile := node.RaftProfile(os.Getenv(profileVariable))
	c, err := StartProcesses(t.Context(), binary(), Options{Dir: t.TempDir(), RaftProfile: profile})
	require.NoError(t, err)
	closeLater(t, c)
	return c
}

// failover is what followed on the end of a leader. All times are milliseconds since
// it was brought about; those of the steps are from the nodes' logs, and 0 where a
// step was not taken.
type failover struct {
	// Stood is when a survivor stood for election, Elected when it had won, Opened
	// when it had applied its first command.
	Stood   float64 `json:"stood_ms"`
	Elected float64 `json:"elected_ms"`
	Opened  float64 `json:"opened_ms"`
	// Gap is the longest time without an acknowledged event, as the clients saw it.
	Gap float64 `json:"gap_ms"`
	// Agreed says that the survivors agreed on the loss, and had no need of Raft's own
	// time-outs.
	Agreed bool `json:"agreed"`
}

// failovers are many, and the machine that they were measured on.
type failovers struct {
	What    string           `json:"what"`
	Profile node.RaftProfile `json:"profile"`
	Cores   int              `json:"cores"`
	Go      string           `json:"go"`
	// Load is the machine's load average as it began.
	Load string     `json:"load_average"`
	Runs []failover `json:"runs"`
	// Summary has a line for each step.
	Summary map[string]Spread `json:"summary"`
}

func newFailovers(what string) *failovers {
	f := &failovers{What: what, Profile: node.RaftProfile(os.Getenv(profileVariable)), Cores: runtime.NumCPU(), Go: runtime.Version()}
	if f.Profile == "" {
		f.Profile = node.RaftDefault
	}
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		f.Load = strings.TrimSpace(string(load))
	}
	return f
}

// failoverSteps are the steps in their order.
var failoverSteps = []struct {
	name  string
	value func(failover) float64
}{
	{"stood for election", func(f failover) float64 { return f.Stood }},
	{"elected", func(f failover) float64 { return f.Elected }},
	{"first command applied", func(f failover) float64 { return f.Opened }},
	{"gap in acked writes", func(f failover) float64 { return f.Gap }},
}

// tell shows the table, and writes the report where one is asked for.
func (f *failovers) tell(t *testing.T) {
	t.Helper()
	f.Summary = make(map[string]Spread)
	agreed := 0
	for _, r := range f.Runs {
		if r.Agreed {
			agreed++
		}
	}
	w := table.NewWriter()
	w.SetStyle(table.StyleLight)
	w.Style().Format.Header = text.FormatDefault
	w.AppendHeader(table.Row{"ms", "least", "median", "p90", "worst"})
	for _, step := range failoverSteps {
		var values []float64
		for _, r := range f.Runs {
			if v := step.value(r); v > 0 {
				values = append(values, v)
			}
		}
		if len(values) == 0 {
			continue
		}
		slices.Sort(values)
		s := spreadOf(values)
		f.Summary[step.name] = s
		cell := func(v float64) string { return fmt.Sprintf("%.0f", v) }
		w.AppendRow(table.Row{step.name, cell(s.Least), cell(s.Median), cell(values[(len(values)-1)*9/10]), cell(s.Greatest)})
	}
	t.Logf("%s, %d times, profile %s; %d by agreement; load average before: %s\n%s",
		f.What, len(f.Runs), f.Profile, agreed, f.Load, w.Render())
	if dir := os.Getenv(reportVariable); dir != "" {
		data, err := json.MarshalIndent(f, "", "  ")
		require.NoError(t, err)
		require.NoError(t, os.MkdirAll(dir, 0o750))
		require.NoError(t, os.WriteFile(filepath.Join(dir, t.Name()+".json"), append(data, '\n'), 0o600))
	}
}

// takenOver is what the node logs that stands for election by agreement.
const takenOver = `msg="the leader is lost: standing for election"`

// steps reads from the survivors' logs what they did since a moment.
func (f *failover) steps(t *testing.T, survivors []*Node, since time.Time) {
	t.Helper()
	for _, step := range []struct {
		at      *float64
		message string
	}{
		{&f.Stood, takenOver},
		{&f.Stood, `msg="heartbeat timeout reached, starting election"`},
		{&f.Elected, `msg="election won"`},
		{&f.Opened, `msg=leading `},
	} {
		for _, n := range survivors {
			at, ok := firstSaid(t, n, step.message, since)
			ms := float64(at.Sub(since)) / float64(time.Millisecond)
			if ok && (*step.at == 0 || ms < *step.at) {
				*step.at = ms
			}
			f.Agreed = f.Agreed || ok && step.message == takenOver
		}
	}
}

// logTime is the head of a line of a node's log.
var logTime = regexp.MustCompile(`^time=(\S+) `)

// firstSaid is when a node first logged a message after a moment. The log has the
// time in milliseconds.
func firstSaid(t *testing.T, n *Node, message string, since time.Time) (time.Time, bool) {
	t.Helper()
	log, err := os.Open(n.LogPath())
	require.NoError(t, err)
	defer func() { require.NoError(t, log.Close()) }()
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if !strings.Contains(lines.Text(), message) {
			continue
		}
		head := logTime.FindStringSubmatch(lines.Text())
		require.NotNil(t, head, lines.Text())
		at, err := time.Parse(time.RFC3339Nano, head[1])
		require.NoError(t, err)
		if !at.Before(since.Truncate(time.Millisecond)) {
			return at, true
		}
	}
	require.NoError(t, lines.Err())
	return time.Time{}, false
}
