package main

import (
	"encoding/json"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A second node joins, is a voter, and leaves, which ends its process well. Neither
// can it be started again, nor can the last node leave.
func TestLeave(t *testing.T) {
	t.Parallel()
	first := begin(t, serveArgs(t.TempDir())...)
	target := "--targets=" + first.err.find(t, `n1 serves (http://[0-9.:]+);`)
	var view struct {
		Voters    int
		Tolerance int `json:"failure_tolerance"`
		Nodes     []struct {
			Gossip string `json:"gossip_addr"`
			Level  bool
		}
	}
	look := func() bool {
		f := do(t, "", "status", target, "--output", "json")
		return f.status == exitGood && json.Unmarshal([]byte(f.out), &view) == nil
	}
	require.Eventually(t, look, time.Minute, 50*time.Millisecond)
	args := append(serveArgs(filepath.Join(t.TempDir(), "n2")), "--name", "n2", "--join", view.Nodes[0].Gossip)
	second := begin(t, args...)
	require.Eventually(t, func() bool { return look() && view.Voters == 2 }, time.Minute, 50*time.Millisecond)
	require.Eventually(t, func() bool { return look() && view.Nodes[0].Level && view.Nodes[1].Level }, time.Minute, 50*time.Millisecond)
	require.Zero(t, view.Tolerance, "two voters survive no failure")
	require.Regexp(t, `(?s)n2 +│ follower │ alive +│ yes.*2 voters, the cluster survives 0 more failures`, good(t, "", "status", target))

	own := "--targets=" + second.err.find(t, `n2 serves (http://[0-9.:]+);`)
	require.Regexp(t, `^n2 \([0-9a-f-]{36}\) has left; 1 voter, the cluster survives 0 more failures\n$`, good(t, "", "leave", own))
	require.Equal(t, exitGood, <-second.status)
	second.status <- exitGood
	require.Contains(t, second.err.String(), "this node has left the cluster, and stops")

	f := do(t, "", args...)
	require.Equal(t, exitFailed, f.status)
	require.Contains(t, f.err, "start with an empty data directory")
	require.Contains(t, good(t, "", "leave", "n2", target, "--output", "json"), `"voters":1`, "asked twice")
	f = do(t, "", "leave", target)
	require.Equal(t, exitFailed, f.status)
	require.Contains(t, f.err, "oncelog: refused: n1 is the last voter")
	f = do(t, "", "leave", "n9", target)
	require.Contains(t, f.err, "no node of the cluster has the name or the id n9")
}
