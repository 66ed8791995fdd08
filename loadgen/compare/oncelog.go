package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/cluster"
	"github.com/oncelog/oncelog/httpapi/client"
	"github.com/oncelog/oncelog/httpapi/wire"
	"github.com/oncelog/oncelog/loadgen"
)

// onceLog is a cluster of oncelog, and a client of all its nodes.
type onceLog struct {
	*client.Client
	cluster *cluster.Cluster
	targets *loadgen.Targets
}

func startOncelog(ctx context.Context, binary, dir string, concurrency int) (eventLog, error) {
	c, err := cluster.StartProcesses(ctx, binary, cluster.Options{Nodes: replicas, Dir: dir})
	if err != nil {
		return nil, err
	}
	targets, err := loadgen.Connect(c.Targets(), concurrency)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return &onceLog{Client: targets.Publisher, cluster: c, targets: targets}, nil
}

// Stored yields each event of the log, once all nodes hold all of them.
func (l *onceLog) Stored(ctx context.Context) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		if _, err := l.cluster.WaitLevel(ctx); err != nil {
			yield(nil, err)
			return
		}
		var text []byte
		for r, err := range l.Events(ctx, oncelog.Query{}, oncelog.Linearizable) {
			if err == nil {
				text, err = wire.AppendEvent(text[:0], &r.Event)
			}
			if !yield(text, err) || err != nil {
				return
			}
		}
	}
}

// Close drops the connections and stops the nodes.
func (l *onceLog) Close() error {
	l.targets.Close()
	return l.cluster.Close()
}

// buildOncelog builds the program in dir, from the sources that this module names
// and with the dependencies that the program itself names.
func buildOncelog(ctx context.Context, dir string) (binary string, err error) {
	source, err := command(ctx, "", "go", "list", "-m", "-f", "{{.Dir}}", "github.com/oncelog/oncelog")
	if err != nil {
		return "", fmt.Errorf("find oncelog's sources, for want of --binary: %w", err)
	}
	binary = filepath.Join(dir, "oncelog")
	_, err = command(ctx, strings.TrimSpace(source), "go", "build", "-o", binary, "./cmd/oncelog")
	return binary, err
}

// command runs a program to its end and returns what it said.
func command(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return "", fmt.Errorf("%s %s: %w\n%s", name, args[0], err, exit.Stderr)
	}
	return string(out), err
}
