package main

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == serveCommand {
		os.Exit(serveNATS(os.Args[2], os.Stdin, os.Stderr))
	}
	goleak.VerifyTestMain(m)
}

// Both clusters as they are, with few events: what each was sent, said and held
// is the same, and nothing is left behind.
func TestBothLogsTakeTheWorkload(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var out, errOut bytes.Buffer
	status := run(t.Context(), []string{
		"--events", "500", "--single-events", "200", "--rounds", "1", "--window", "64", "--output", "json", "--dir", dir,
	}, &out, &errOut)
	require.Equal(t, exitGood, status, errOut.String())
	var c comparison
	require.NoError(t, json.Unmarshal(out.Bytes(), &c))
	require.Len(t, c.Workloads, 2)
	for i, want := range []struct{ sent, stored int64 }{{500, 350}, {200, 140}} {
		m := c.Workloads[i]
		require.Len(t, m.Rounds, 2)
		require.NotNil(t, m.Ratios)
		for j, log := range []string{nameOncelog, nameJetStream} {
			r := m.Rounds[j]
			require.Equal(t, log, r.Log)
			require.Empty(t, r.Faults)
			require.Equal(t, want.sent, r.Sent)
			require.Equal(t, want.stored, r.Stored)
			require.Equal(t, want.sent-want.stored, r.Duplicates)
			require.Positive(t, r.EventsPerSecond)
		}
	}
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestWrongUse(t *testing.T) {
	t.Parallel()
	for line, says := range map[string]string{
		"--workload both":  `--workload "both": must be one of [batch single all]`,
		"--sync never":     `--sync "never": must be one of [always default]`,
		"--output xml":     `--output "xml": must be one of [table json]`,
		"--events 0":       "--events and --single-events must be 1 or more",
		"--duplicates 1":   "--duplicates 1: must be 0 or more and less than 1",
		"--duplicates NaN": "--duplicates NaN: must be",
		"--rounds 0":       "--rounds 0: must be 1 or more",
		"--window -1":      "--window -1: must be 0 or more",
		"extra":            `"extra" is too much`,
		"--nope":           "flag provided but not defined: -nope",
	} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			var out, errOut bytes.Buffer
			require.Equal(t, exitUsage, run(t.Context(), strings.Fields(line), &out, &errOut))
			require.Contains(t, errOut.String(), says)
			require.Empty(t, out.String())
		})
	}
	require.Equal(t, exitGood, run(t.Context(), []string{"--help"}, new(bytes.Buffer), new(bytes.Buffer)))
}

// A server that cannot start says why.
func TestServeNATSRefusesABadConfiguration(t *testing.T) {
	t.Parallel()
	var errOut bytes.Buffer
	require.Equal(t, exitFailed, serveNATS(t.TempDir()+"/none.conf", strings.NewReader(""), &errOut))
	require.Contains(t, errOut.String(), "none.conf")
}
