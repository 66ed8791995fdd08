package cluster

import (
	"context"
	"flag"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/oncelog/oncelog/node"
)

// tinyLog makes snapshots frequent, and leaves next to nothing of the log behind
// them.
const (
	tinyLog      = 128 << 10
	tinyTrailing = 1
)

// beNode runs the command serve with a tiny log and a clock that can be moved, in
// a process of this test.
func beNode(args []string) int {
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	c := node.Config{SnapshotBytes: tinyLog, TrailingBytes: tinyTrailing, Logger: logger}
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	flags.StringVar(&c.Name, "name", "", "")
	flags.StringVar(&c.DataDir, "data-dir", "", "")
	flags.StringVar(&c.HTTPAddr, "http-addr", "", "")
	flags.StringVar(&c.RaftAddr, "raft-addr", "", "")
	flags.StringVar(&c.GossipAddr, "gossip-addr", "", "")
	flags.StringVar(&c.AdvertiseHost, "advertise-host", "", "")
	flags.IntVar(&c.BootstrapExpect, "bootstrap-expect", 0, "")
	flags.StringVar((*string)(&c.LogStore), "log-store", "", "")
	flags.StringVar((*string)(&c.RaftProfile), "raft-profile", "", "")
	flags.Func("join", "", func(s string) error {
		c.Join = strings.Split(s, ",")
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return 2
	}
	c.Clock = movedClock(clockFile(c.DataDir))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	n, err := node.New(c)
	if err == nil {
		err = n.Run(ctx)
	}
	if err != nil {
		logger.Error("the node has ended", "error", err)
		return 1
	}
	return 0
}

// clockFile is the file, beside a node's data directory, that moves its clock.
func clockFile(dataDir string) string { return dataDir + ".clock" }

// movedClock tells the time as far off as the file says, or the true time where
// there is no such file.
func movedClock(file string) func() time.Time {
	return func() time.Time {
		text, err := os.ReadFile(file)
		if err != nil {
			return time.Now()
		}
		off, err := time.ParseDuration(string(text))
		if err != nil {
			return time.Now()
		}
		return time.Now().Add(off)
	}
}
