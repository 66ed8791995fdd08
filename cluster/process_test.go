package cluster

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
)

func TestPausedLeaderIsReplacedAndFollows(t *testing.T) {
	c := processes(t)
	old, err := c.Leader(t.Context())
	require.NoError(t, err)
	require.NoError(t, old.Pause())
	require.False(t, old.Alive())
	next, err := c.Leader(t.Context())
	require.NoError(t, err)
	require.NotEqual(t, old.Name(), next.Name())
	_, err = next.Client().Publish(t.Context(), anEvent("meanwhile", "one"))
	require.NoError(t, err)
	require.NoError(t, old.Continue())
	for r, err := range old.Client().Events(t.Context(), oncelog.Query{}, oncelog.Linearizable) {
		require.NoError(t, err)
		require.Equal(t, "meanwhile", r.Topic, "its first answer knows what it has missed")
	}
	require.NoError(t, c.WaitReady(t.Context()))
	require.NoError(t, c.Check(t.Context()))
	require.NoError(t, old.Pause(), "a paused node can be stopped in order")
	require.NoError(t, old.Stop(t.Context()))
}

func TestEndOfANodeIsTold(t *testing.T) {
	t.Parallel()
	failures := make(chan Failure, 1)
	c, err := StartProcesses(t.Context(), binary(), Options{
		Nodes: 1, Dir: t.TempDir(), OnFailure: func(f Failure) { failures <- f },
	})
	require.NoError(t, err)
	closeLater(t, c)
	n := c.Nodes()[0]
	p, err := os.FindProcess(n.PID())
	require.NoError(t, err)
	require.NoError(t, p.Kill())
	f := <-failures
	require.Equal(t, n, f.Node)
	require.Equal(t, n.PID(), f.PID)
	require.ErrorContains(t, f.Err, "killed")
	require.ErrorContains(t, n.Err(), "killed")
	require.False(t, n.Alive())
	require.Equal(t, 1, n.Runs())
	require.NoError(t, n.Start(), "it starts again, at the same place")
	require.Equal(t, 2, n.Runs())
	require.NoError(t, c.WaitReady(t.Context()))
	require.NoError(t, n.Err())
}

func TestWaitInVainExplains(t *testing.T) {
	t.Parallel()
	c, err := NewProcesses("/bin/false", Options{Nodes: 2, Dir: t.TempDir(), Patience: time.Second})
	require.NoError(t, err)
	closeLater(t, c)
	require.NoError(t, os.WriteFile(c.Nodes()[1].LogPath(), []byte("one\ntwo\nits last words\n"), 0o600))
	err = c.Start(t.Context())
	require.ErrorIs(t, err, ErrInVain)
	require.ErrorContains(t, err, "waited in vain for all nodes to be ready")
	require.ErrorContains(t, err, "has ended: exit status 1")
	require.ErrorContains(t, err, "its last words")

	_, err = c.Leader(t.Context())
	require.ErrorIs(t, err, ErrInVain, "no node is alive, and the patience ends")
}

func TestBinaryThatCannotRun(t *testing.T) {
	t.Parallel()
	_, err := StartProcesses(t.Context(), filepath.Join(t.TempDir(), "no-such"), Options{Dir: t.TempDir()})
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, "start n1")
}

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, taken.Close()) })
	port := taken.Addr().(*net.TCPAddr).Port
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for name, tc := range map[string]struct {
		o    Options
		is   error
		says string
	}{
		"too many nodes":  {Options{Nodes: 8}, ErrOptions, "8 nodes; 1 to 7 are possible"},
		"fewer than one":  {Options{Nodes: -1}, ErrOptions, "-1 nodes"},
		"too many in all": {Options{Nodes: 5, Joiners: 3}, ErrOptions, "5 nodes and 3 to join; 7 in all are possible"},
		"no directory":    {Options{Dir: "-"}, ErrOptions, "a data directory is required"},
		"no port":         {Options{HTTPPort: 65534}, ErrOptions, "HTTP port of n3: 65536 is no port"},
		"one port twice":  {Options{HTTPPort: 25001, RaftPort: 25002}, ErrOptions, "25002 is the Raft port of n1 too"},
		"port in use":     {Options{RaftPort: port - 1, Nodes: 2}, ErrPortInUse, fmt.Sprintf("Raft port of n2: the port is in use: listen tcp 127.0.0.1:%d", port)},
		"a file":          {Options{Dir: filepath.Join(file, "below")}, nil, "data directory: mkdir"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			switch tc.o.Dir {
			case "":
				tc.o.Dir = t.TempDir()
			case "-":
				tc.o.Dir = ""
			}
			_, err := NewProcesses("unused", tc.o)
			require.ErrorContains(t, err, tc.says)
			if tc.is != nil {
				require.ErrorIs(t, err, tc.is)
			}
		})
	}
}

func TestFreePortsDiffer(t *testing.T) {
	t.Parallel()
	addrs, err := Options{Nodes: 7}.addresses()
	require.NoError(t, err)
	seen := make(map[string]bool)
	for _, a := range addrs {
		for _, addr := range []string{a.HTTP, a.Raft, a.Gossip} {
			require.False(t, seen[addr], addr)
			seen[addr] = true
		}
	}
}

func TestLogTail(t *testing.T) {
	t.Parallel()
	n := &Node{spec: spec{logPath: filepath.Join(t.TempDir(), "n1.log")}}
	require.Empty(t, n.LogTail(3), "there is no log yet")
	require.NoError(t, os.WriteFile(n.LogPath(), []byte(strings.Repeat("a long line\n", 100_000)+"b\nc\n"), 0o600))
	require.Equal(t, []string{"a long line", "b", "c"}, n.LogTail(3))
}

// A parent that is killed has no chance to stop its nodes: the kernel does.
func TestNothingIsLeftBehind(t *testing.T) {
	t.Parallel()
	parent := exec.CommandContext(t.Context(), os.Args[0])
	parent.Env = append(os.Environ(), parentVariable+"="+t.TempDir())
	out, err := parent.StdoutPipe()
	require.NoError(t, err)
	parent.Stderr = os.Stderr
	require.NoError(t, parent.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	require.NoError(t, err)
	require.True(t, runs(pid))
	require.NoError(t, parent.Process.Kill())
	require.Error(t, parent.Wait())
	require.Eventually(t, func() bool { return !runs(pid) }, 30*time.Second, pollInterval)
}

// beParent is the process that TestNothingIsLeftBehind kills.
func beParent(dir string) int {
	c, err := StartProcesses(context.Background(), binary(), Options{Nodes: 1, Dir: dir})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(c.Nodes()[0].PID())
	select {}
}

// runs tells a process that runs from one that is gone or only waited for.
func runs(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(after, "Z")
}
