package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
)

// serveArgs is a node on free ports.
func serveArgs(dir string) []string {
	return []string{
		"serve", "--data-dir", dir,
		"--http-addr", "127.0.0.1:0", "--raft-addr", "127.0.0.1:0", "--gossip-addr", "127.0.0.1:0",
	}
}

const someEvents = `
{"topic": "a", "event_id": "1", "timestamp": "2026-01-01T00:00:00Z", "source": "test", "payload": {"n": 1}}
[{"topic": "b", "event_id": "1", "timestamp": "2026-01-01T00:00:01Z", "source": "test", "payload": {"n": 2}},
 {"topic": "a", "event_id": "1", "timestamp": "2026-01-01T00:00:00Z", "source": "test", "payload": {"n": 1}}]
{"topic": "a",
 "event_id": "2", "timestamp": "2026-01-01T02:00:02+02:00", "source": "test", "payload": {"n": 3}}`

func TestOneNodeAndItsClients(t *testing.T) {
	t.Parallel()
	node := begin(t, serveArgs(filepath.Join(t.TempDir(), "n1"))...)
	url := node.err.find(t, `n1 serves (http://[0-9.:]+);`)
	target := "--targets=" + url
	require.Contains(t, node.err.String(), "curl -H 'Content-Type: application/json'")

	tail := begin(t, "tail", target, "--topic", "a")
	require.Equal(t, strings.Join([]string{
		`{"status":"stored","topic":"a","event_id":"1","id":1}`,
		`{"status":"stored","topic":"b","event_id":"1","id":2}`,
		`{"status":"duplicate","topic":"a","event_id":"1","id":1,"conflict":false}`,
		`{"status":"stored","topic":"a","event_id":"2","id":3}`, "",
	}, "\n"), good(t, someEvents, "publish", target, "--output", "json"))
	tail.out.find(t, `(?m)^1  2026-01-01T00:00:00Z  a/1  {"n":1}\n3  2026-01-01T00:00:02Z  a/2  {"n":3}\n`)
	require.Equal(t, exitGood, tail.end(), "the signal is tail's good end")
	from := begin(t, "tail", target, "--after", "2", "--output", "json")
	from.out.find(t, `^{"id":3,`)

	file := filepath.Join(t.TempDir(), "events.json")
	require.NoError(t, os.WriteFile(file, []byte(someEvents), 0o600))
	require.Regexp(t, `3 │ duplicate │ a     │ 2`, good(t, "", "publish", target, file))

	require.Equal(t, 3, strings.Count(good(t, "", "events", target, "--output", "json"), "\n"))
	require.Regexp(t, `2 │ b     │ 1        │ 2026-01-01T00:00:01Z │ test   │ {"n":2}`, good(t, "", "events", target))
	one := good(t, "", "events", target, "--output=json", "--topic=a,b", "--since=2026-01-01T00:00:01Z", "--order=-id", "--limit=1")
	require.Contains(t, one, `{"id":3,"topic":"a","event_id":"2"`)
	require.Empty(t, good(t, "", "events", target, "--source", "nobody"))

	var stats map[string]any
	require.NoError(t, json.Unmarshal([]byte(good(t, "", "stats", target, "--output", "json")), &stats))
	require.EqualValues(t, 8, stats["total_received_queued"])
	require.EqualValues(t, 3, stats["unique_processed_db"])
	require.Regexp(t, `duplicates\s+│ 5`, good(t, "", "stats", target, "--consistency", "stale"))
	require.Regexp(t, `n1 +│ leader │ alive`, good(t, "", "status", target))
	require.Contains(t, good(t, "", "status", target, "--output", "json"), `"leader":"n1"`)

	require.Equal(t, exitGood, node.end())
	require.Empty(t, node.out.String(), "standard output is for data")
}

func TestLoadAndItsVerdict(t *testing.T) {
	t.Parallel()
	node := begin(t, serveArgs(t.TempDir())...)
	target := "--targets=" + node.err.find(t, `serves (http://[0-9.:]+);`)
	load := []string{"load", target, "--events", "2000", "--verify"}
	require.Regexp(t, `verdict\s+│ ok`, good(t, "", load...))
	var report struct {
		Duplicates int
		Verdict    struct{ OK bool }
	}
	require.NoError(t, json.Unmarshal([]byte(good(t, "", append(load, "--output=json")...)), &report))
	require.Equal(t, 2000, report.Duplicates, "a second run is all duplicates")
	require.True(t, report.Verdict.OK)

	// A target that holds something else can not have what was acknowledged.
	other := begin(t, serveArgs(t.TempDir())...)
	both := target + "," + other.err.find(t, `serves (http://[0-9.:]+);`)
	f := do(t, "", "load", both, "--events", "500", "--batch", "10", "--seed", "2", "--verify", "--settle", "100ms")
	require.Equal(t, exitFailed, f.status)
	require.Contains(t, f.out, "FAILED")
	require.Contains(t, f.err, "oncelog: the verdict is bad")
}

func TestFailures(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, []byte("{"), 0o600))
	foreign := filepath.Dir(file)
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, taken.Close()) })
	port := taken.Addr().(*net.TCPAddr).Port
	nobody := []string{"--targets", "http://127.0.0.1:1", "--timeout", "100ms"}
	for name, tc := range map[string]struct {
		args []string
		says string
	}{
		"directory is a file":    {serveArgs(file), "data directory: mkdir " + file},
		"directory is foreign":   {serveArgs(foreign), "the data directory is not this node's"},
		"port in use":            {append(serveArgs(t.TempDir()), "--http-addr", taken.Addr().String()), "address already in use"},
		"cluster port in use":    {[]string{"cluster", "--nodes=1", "--raft-port=0", "--gossip-port=0", "--data-dir", t.TempDir(), "--http-port", fmt.Sprint(port)}, "HTTP port of n1: the port is in use"},
		"cluster directory":      {[]string{"cluster", "--http-port=0", "--raft-port=0", "--gossip-port=0", "--data-dir", file}, "choose another with --data-dir"},
		"stats of nobody":        {append([]string{"stats"}, nobody...), "oncelog: unavailable: no answer for 100ms, after "},
		"events of nobody":       {append([]string{"events"}, nobody...), "oncelog: unavailable: GET "},
		"tail of nobody":         {append([]string{"tail"}, nobody...), "oncelog: unavailable: "},
		"publish no file":        {[]string{"publish", file + ".not"}, "no such file"},
		"publish half an object": {[]string{"publish", file}, "value 1: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := do(t, "", tc.args...)
			require.Equal(t, exitFailed, f.status, f.err)
			require.Contains(t, f.err, "oncelog: ")
			require.Contains(t, f.err, tc.says)
			require.Empty(t, f.out)
		})
	}
}

func TestStatusWithoutALeaderPromisesNothing(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	require.NoError(t, showCluster(&console{out: &out}, outputTable, &oncelog.Cluster{ID: "c", Term: 3, Voters: 3}))
	require.Contains(t, out.String(), "cluster c, term 3: no leader among 3 voters")
	require.NotContains(t, out.String(), "survives")
}

func TestPublishNamesTheValueAtFault(t *testing.T) {
	t.Parallel()
	f := do(t, `[{"topic": "a"}]`, "publish")
	require.Equal(t, exitFailed, f.status)
	require.Contains(t, f.err, "value 1: not an event: /0/event_id is required")
}

func TestBatches(t *testing.T) {
	t.Parallel()
	single := `{"topic":"a","event_id":"1","timestamp":"2026-01-01T00:00:00Z","source":"t","payload":{}}`
	b := newBatches(strings.NewReader(strings.Repeat(single+"\n", 1001) + "[" + single + "," + single + "]" + single + "{"))
	for _, want := range []int{1000, 1, 2, 1} {
		events, err := b.next()
		require.NoError(t, err)
		require.Len(t, events, want)
	}
	for range 2 {
		_, err := b.next()
		require.ErrorContains(t, err, "value 1004: ")
	}
	_, err := newBatches(strings.NewReader(" \n")).next()
	require.ErrorIs(t, err, io.EOF)
}

func TestSignalStopsInOrder(t *testing.T) {
	t.Parallel()
	// Under nohup the tests ignore a hangup, and so would a node started by them:
	// what is caught here is at its default there.
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	t.Cleanup(func() { signal.Stop(hangup) })
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			require.NoError(t, signalled(t, sig, "", os.Args[0], serveArgs(t.TempDir())...), "exit status 0")
		})
	}
}

// A node that was started with nohup outlives its terminal: it leads yet, later on.
func TestAHangupThatIsIgnoredStaysSo(t *testing.T) {
	t.Parallel()
	script := `trap "" HUP; exec "$0" "$@"`
	args := append([]string{"-c", script, os.Args[0]}, serveArgs(t.TempDir())...)
	require.ErrorContains(t, signalled(t, syscall.SIGHUP, "msg=leading", "sh", args...), "killed")
}

// signalled runs the program until it is ready, sends it the signal, and returns how it
// ended. One that says outlived afterwards has gone on, and is killed.
func signalled(t *testing.T, sig syscall.Signal, outlived, name string, args ...string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), programVariable+"=1")
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "Ctrl-C") {
			require.NoError(t, cmd.Process.Signal(sig))
		}
		if outlived != "" && strings.Contains(lines.Text(), outlived) {
			require.NoError(t, cmd.Process.Kill())
		}
	}
	return cmd.Wait()
}

func TestVerify(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "n1")
	node := begin(t, serveArgs(dir)...)
	target := "--targets=" + node.err.find(t, `serves (http://[0-9.:]+);`)
	good(t, someEvents, "publish", target)
	require.Regexp(t, `(?s)3, ids gapless, equal on 1 nodes.*verdict\s+│ ok`, good(t, "", "verify", target))
	f := do(t, "", "verify", "--data-dir", dir)
	require.Equal(t, exitFailed, f.status)
	require.Contains(t, f.err, "in use by another process")
	require.Equal(t, exitGood, node.end())

	require.Regexp(t, `unique\s+│ 3`, good(t, "", "verify", "--data-dir", dir))
	var sound soundDirectory
	require.NoError(t, json.Unmarshal([]byte(good(t, "", "verify", "--data-dir", dir, "--output", "json")), &sound))
	require.True(t, sound.OK)
	require.EqualValues(t, 4, sound.Received)

	require.NoError(t, os.Truncate(filepath.Join(dir, "raft.db"), 5000))
	f = do(t, "", "verify", "--data-dir", dir)
	require.Equal(t, exitFailed, f.status)
	require.Contains(t, f.err, filepath.Join(dir, "raft.db"))
}
