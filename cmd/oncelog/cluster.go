package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/oncelog/oncelog/cluster"
)

func newCluster(c *console) *cobra.Command {
	o := cluster.Options{}
	cmd := &cobra.Command{
		Use:   "cluster",
		Short: "Run a whole cluster on this machine, a process for each node",
		Long: `Run a whole cluster on this machine, a process for each node.

Node n1 has the ports given, n2 the next ones, and so on. Each node's log is in
DIR/n1.log and so on. Data that is in the directory already is used again.`,
		Args: atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return runCluster(cmd.Context(), c, o) },
	}
	flags := cmd.Flags()
	flags.IntVar(&o.Nodes, "nodes", 3, "how many nodes, 1 to 7")
	flags.StringVar(&o.Dir, "data-dir", defaultDataDir, "directory for the data and the logs of all nodes")
	flags.IntVar(&o.HTTPPort, "http-port", 8080, "port of n1's API; 0 for free ones")
	flags.IntVar(&o.RaftPort, "raft-port", 7000, "n1's port for the other nodes; 0 for free ones")
	flags.IntVar(&o.GossipPort, "gossip-port", 7946, "n1's port of gossip, TCP and UDP; 0 for free ones")
	return cmd
}

// runCluster starts the nodes, tells of them, and stops them when ctx ends.
func runCluster(ctx context.Context, c *console, o cluster.Options) (err error) {
	if o.Nodes < 1 || o.Nodes > maxNodes {
		return usage("--nodes %d: must be 1 to %d", o.Nodes, maxNodes)
	}
	binary, err := os.Executable()
	if err != nil {
		return err
	}
	failures := make(chan cluster.Failure, maxNodes)
	o.OnFailure = func(f cluster.Failure) { failures <- f }
	nodes, err := cluster.NewProcesses(binary, o)
	if err != nil {
		return clusterError(err)
	}
	defer func() { err = errors.Join(err, closeCluster(c, nodes)) }()
	c.say("starting %d nodes; their logs are in %s", o.Nodes, o.Dir)
	if err := nodes.Start(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	introduce(c, nodes)
	return attend(ctx, c, nodes, failures)
}

// clusterError says what to do about nodes that cannot be started.
func clusterError(err error) error {
	switch {
	case errors.Is(err, cluster.ErrOptions):
		return usageError{err}
	case errors.Is(err, cluster.ErrPortInUse):
		return fmt.Errorf("%w\nchoose others with --http-port, --raft-port or --gossip-port", err)
	}
	return fmt.Errorf("%w\nchoose another with --data-dir", err)
}

// introduce shows the nodes and what can be tried with each.
func introduce(c *console, nodes *cluster.Cluster) {
	t := newTable(c.out, "node", "pid", "API", "raft", "gossip", "data")
	for _, n := range nodes.Nodes() {
		a := n.Addresses()
		t.AppendRow([]any{n.Name(), n.PID(), n.URL(), a.Raft, a.Gossip, n.Dir()})
	}
	t.Render()
	c.say("try:")
	for i, n := range nodes.Nodes() {
		if i%2 == 0 {
			c.say("  %s", curlPublish(n.URL()))
		} else {
			c.say("  %s", curlEvents(n.URL()))
		}
	}
	c.say("Ctrl-C stops them all in order")
}

var errAllEnded = errors.New("all nodes have ended")

// attend tells of nodes that end, until ctx ends or each of them has.
func attend(ctx context.Context, c *console, nodes *cluster.Cluster, failures <-chan cluster.Failure) error {
	for range nodes.Nodes() {
		select {
		case f := <-failures:
			tellFailure(c, f)
		case <-ctx.Done():
			return nil
		}
	}
	return errAllEnded
}

// tellFailure shows what a node's end was like, and how it can be started again.
func tellFailure(c *console, f cluster.Failure) {
	const lines = 5
	c.say("%s (pid %d) has ended: %v; its last lines:", f.Node.Name(), f.PID, f.Err)
	for _, line := range f.Node.LogTail(lines) {
		c.say("  %s", line)
	}
	c.say("start it again with:\n  %s", f.Node.CommandLine())
}

// closeCluster stops the nodes in order, one after the other.
func closeCluster(c *console, nodes *cluster.Cluster) error {
	c.say("stopping the nodes")
	if err := nodes.Close(); err != nil {
		return err
	}
	c.say("all have stopped")
	return nil
}
