package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/oncelog/oncelog/loadgen"
	"github.com/oncelog/oncelog/node"
)

// verifyOptions are the flags of verify.
type verifyOptions struct {
	dataDir string
	targets []string
	settle  time.Duration
	output  string
}

func newVerify(c *console) *cobra.Command {
	var o verifyOptions
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Prove what a stopped node has on disk, or that running nodes hold the same",
		Long: `Prove what a stopped node has on disk, or that running nodes hold the same.

With --data-dir, a stopped node's directory: every event against every index, the
counters, gapless ids, the digest, every entry of the Raft log. It changes nothing.

With --targets, running nodes against each other: digests, counters, and every
event, read from all of them in step. Nothing may publish meanwhile.`,
		Example: `  oncelog verify --data-dir oncelog-data/n1
  oncelog verify --targets http://127.0.0.1:8080,http://127.0.0.1:8081,http://127.0.0.1:8082`,
		Args: atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case (o.dataDir == "") == (len(o.targets) == 0):
				return usage("verify needs one of --data-dir, a stopped node's directory, and --targets, running nodes' base URLs")
			case o.settle <= 0:
				return usage("--settle %s: must be more than 0", o.settle)
			case o.dataDir != "":
				return verifyDirectory(c, o)
			}
			return verifyTargets(cmd.Context(), c, o)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.dataDir, "data-dir", "", "directory of a stopped node")
	flags.StringSliceVar(&o.targets, "targets", nil, "base URLs of running nodes' APIs")
	flags.DurationVar(&o.settle, "settle", 30*time.Second, "how long to wait for the nodes to be level")
	outputVar(flags, &o.output)
	return cmd
}

// soundDirectory is the JSON form of what was found.
type soundDirectory struct {
	Node         string `json:"node"`
	NodeID       string `json:"node_id"`
	ClusterID    string `json:"cluster_id"`
	AppliedIndex uint64 `json:"applied_index"`
	Received     uint64 `json:"received"`
	Unique       uint64 `json:"unique"`
	Duplicates   uint64 `json:"duplicates"`
	Conflicts    uint64 `json:"conflicts"`
	Digest       string `json:"digest"`
	FirstEntry   uint64 `json:"first_log_entry"`
	LastEntry    uint64 `json:"last_log_entry"`
	Members      int    `json:"members"`
	OK           bool   `json:"ok"`
}

func verifyDirectory(c *console, o verifyOptions) error {
	v, err := node.Verify(o.dataDir)
	if err != nil {
		return err
	}
	found := soundDirectory{
		Node: v.Name, NodeID: v.NodeID.String(), ClusterID: v.Cluster.String(),
		AppliedIndex: v.Store.Applied.Index, Received: v.Store.Received, Unique: v.Store.Unique,
		Duplicates: v.Store.Duplicates, Conflicts: v.Store.Conflicts, Digest: v.Store.Digest.String(),
		FirstEntry: v.FirstIndex, LastEntry: v.LastIndex, Members: v.Store.Members, OK: true,
	}
	if o.output == outputJSON {
		return writeJSON(c.out, found)
	}
	showSound(c, found)
	return nil
}

func showSound(c *console, d soundDirectory) {
	t := newTable(c.out)
	t.AppendRow([]any{"node", d.Node + ", " + d.NodeID})
	t.AppendRow([]any{"cluster", d.ClusterID})
	t.AppendRow([]any{"members", d.Members})
	t.AppendSeparator()
	t.AppendRow([]any{"received", d.Received})
	t.AppendRow([]any{"unique", d.Unique})
	t.AppendRow([]any{"duplicates", d.Duplicates})
	t.AppendRow([]any{"conflicts", d.Conflicts})
	t.AppendSeparator()
	t.AppendRow([]any{"applied index", d.AppliedIndex})
	t.AppendRow([]any{"digest", d.Digest})
	t.AppendRow([]any{"log entries", fmt.Sprintf("%d to %d", d.FirstEntry, d.LastEntry)})
	t.AppendSeparator()
	t.AppendRow([]any{"verdict", "ok: every event, index, counter and log entry"})
	t.Render()
}

func verifyTargets(ctx context.Context, c *console, o verifyOptions) error {
	log, err := loadgen.Connect(o.targets, 1)
	if err != nil {
		return badTargets(err)
	}
	defer log.Close()
	v := loadgen.Agree(ctx, log.Nodes, o.settle)
	if o.output == outputJSON {
		err = writeJSON(c.out, v)
	} else {
		v.WriteTable(c.out)
	}
	return errors.Join(err, verdictOf(v))
}

func verdictOf(v loadgen.Verdict) error {
	if v.OK {
		return nil
	}
	return errVerdict
}
