package main

import (
	"encoding/json"
	"os"
	"regexp"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

var freePorts = []string{"--http-port=0", "--raft-port=0", "--gossip-port=0"}

func TestCluster(t *testing.T) {
	t.Setenv(programVariable, "1")
	dir := t.TempDir()
	c := begin(t, append([]string{"cluster", "--data-dir", dir}, freePorts...)...)
	c.err.find(t, "Ctrl-C stops them all in order")
	urls := regexp.MustCompile(`http://[0-9.:]+`).FindAllString(c.out.String(), -1)
	require.Len(t, urls, 3)
	for _, url := range urls {
		require.Contains(t, good(t, "", "status", "--targets", url), "n3")
		require.Contains(t, c.err.String(), url, "there is something to try for each")
	}
	pid, err := strconv.Atoi(c.out.find(t, `n2   │ +([0-9]+)`))
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	c.err.find(t, `n2 \(pid [0-9]+\) has ended: signal: killed`)
	require.Contains(t, c.err.find(t, `start it again with:\n(.*)\n`), "serve --name n2 --data-dir "+dir)
	good(t, someEvents, "publish", "--targets", urls[0]+","+urls[1]+","+urls[2])
	require.Equal(t, exitGood, c.end())
	require.Contains(t, c.err.String(), "all have stopped")

	again := begin(t, append([]string{"cluster", "--data-dir", dir}, freePorts...)...)
	again.err.find(t, "Ctrl-C stops them all in order")
	url := again.out.find(t, `http://[0-9.:]+`)
	require.Contains(t, good(t, "", "stats", "--targets", url, "--output", "json"), `"unique_processed_db":3`, "data is kept")
	for _, m := range regexp.MustCompile(`n\d +│ +(\d+)`).FindAllStringSubmatch(again.out.String(), -1) {
		pid, err := strconv.Atoi(m[1])
		require.NoError(t, err)
		require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	}
	again.err.find(t, "oncelog: all nodes have ended")
	require.Equal(t, exitFailed, again.end())
}

func TestClusterStopsWhileItStarts(t *testing.T) {
	t.Setenv(programVariable, "1")
	c := begin(t, append([]string{"cluster", "--data-dir", t.TempDir()}, freePorts...)...)
	c.err.find(t, "starting 3 nodes")
	require.Equal(t, exitGood, c.end())
}

func TestDemo(t *testing.T) {
	t.Setenv(programVariable, "1")
	dir := t.TempDir()
	f := do(t, "", "demo", "--events", "9000", "--rate", "3000", "--data-dir", dir, "--output", "json")
	require.Zero(t, f.status, "%s\n%s", f.out, f.err)
	var report struct {
		Killed    string
		Successor string
		Gap       float64 `json:"gap_seconds"`
		Load      struct {
			Verdict struct{ OK bool }
		}
	}
	require.NoError(t, json.Unmarshal([]byte(f.out), &report))
	require.True(t, report.Load.Verdict.OK)
	require.NotEqual(t, report.Killed, report.Successor)
	require.Positive(t, report.Gap)
	require.Regexp(t, `killed `+report.Killed+` \(pid \d+\), the leader, with kill -9 after \d+ acknowledged events`, f.err)
	require.Regexp(t, report.Successor+` leads since \d+\.\d\d s after the kill`, f.err)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 6, "a directory that was named is kept: three nodes and three logs")
}
