package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// The environment of the processes that tests start.
const (
	binaryVariable = "CLUSTER_TEST_BINARY"
	parentVariable = "CLUSTER_TEST_PARENT_DIR"
	// raceVariable has the nodes' program built with the race detector.
	raceVariable = "ONCELOG_RACE"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(parentVariable); dir != "" {
		os.Exit(beParent(dir))
	}
	if os.Getenv(busyVariable) != "" {
		beBusy()
	}
	if len(os.Args) > 1 && os.Args[1] == "serve" {
		os.Exit(beNode(os.Args[2:]))
	}
	goleak.VerifyTestMain(withBinary{m})
}

// withBinary builds the program once, before all tests.
type withBinary struct{ m *testing.M }

func (w withBinary) Run() int {
	dir, err := os.MkdirTemp("", "oncelog-cluster-test-")
	if err == nil {
		defer func() { _ = os.RemoveAll(dir) }()
		err = build(filepath.Join(dir, "oncelog"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return w.m.Run()
}

func build(path string) error {
	// A profile for the compiler would have every package compiled anew.
	args := []string{"build", "-pgo=off", "-o", path}
	if os.Getenv(raceVariable) != "" {
		args = append(args, "-race")
	}
	out, err := exec.Command("go", append(args, "github.com/oncelog/oncelog/cmd/oncelog")...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("build the program: %w\n%s", err, out)
	}
	return os.Setenv(binaryVariable, path)
}

func binary() string { return os.Getenv(binaryVariable) }

// processes starts a cluster of real processes that ends with the test.
func processes(t *testing.T) *Cluster {
	t.Helper()
	c, err := StartProcesses(t.Context(), binary(), Options{Dir: t.TempDir()})
	require.NoError(t, err)
	closeLater(t, c)
	return c
}

// closeLater ends a cluster with the test, and shows how it is if that failed.
func closeLater(t *testing.T, c *Cluster) {
	t.Helper()
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(c.Diagnose(context.WithoutCancel(t.Context())))
		}
		require.NoError(t, c.Close())
	})
}
