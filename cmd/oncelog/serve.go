package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/oncelog/oncelog/node"
)

// serveOptions are the flags of serve.
type serveOptions struct {
	node      node.Config
	memory    memoryOptions
	pprofAddr string
	config    string
	logLevel  string
	logFormat string
}

// The form of a log line.
const (
	logText = "text"
	logJSON = "json"
)

func newServe(c *console) *cobra.Command {
	var o serveOptions
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run one node, alone or in a cluster",
		Long: `Run one node, alone or in a cluster.

Without flags it is a cluster of one. A setting is taken from the first of: its
flag, its environment variable (ONCELOG_DATA_DIR for --data-dir), the file named
with --config (TOML, data-dir = "…"), its default.`,
		Example: `  oncelog serve
  oncelog serve --name n1 --bootstrap-expect 3 --join 127.0.0.1:7947,127.0.0.1:7948`,
		Args: atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.complete(cmd.Flags()); err != nil {
				return err
			}
			return serve(cmd.Context(), c, o)
		},
	}
	o.declare(cmd.Flags())
	return cmd
}

func (o *serveOptions) declare(flags *pflag.FlagSet) {
	flags.StringVar(&o.node.Name, "name", "n1", "the node's name, unique in the cluster")
	flags.StringVar(&o.node.DataDir, "data-dir", "", "where the node keeps everything (default oncelog-data/NAME)")
	flags.StringVar(&o.node.HTTPAddr, "http-addr", "127.0.0.1:8080", "address of the API, host:port")
	flags.StringVar(&o.node.RaftAddr, "raft-addr", "127.0.0.1:7000", "address for the other nodes, host:port")
	flags.StringVar(&o.node.GossipAddr, "gossip-addr", "127.0.0.1:7946", "address of gossip, host:port, TCP and UDP")
	flags.StringVar(&o.node.AdvertiseHost, "advertise-host", "", "host under which others reach this node (default that of each address)")
	flags.StringVar(&o.node.RaftAdvertise, "raft-advertise", "", "host:port told to the other nodes in place of --raft-addr, such as a proxy's")
	flags.IntVar(&o.node.BootstrapExpect, "bootstrap-expect", 0, "how many new nodes found the cluster together, 1 to 7 (default 1 without --join; with it, the node waits to be taken in)")
	flags.StringSliceVar(&o.node.Join, "join", nil, "gossip addresses of other nodes, host:port")
	flags.StringVar(&o.pprofAddr, "pprof-addr", "", "address of profiles for \"go tool pprof\", host:port (default none)")
	flags.StringVar(&o.config, "config", "", "file of settings, in TOML")
	o.memory.declare(flags)
	choiceVar(flags, (*string)(&o.node.LogStore), "log-store", "how the Raft log is kept", string(node.LogStoreBolt), string(node.LogStoreWAL))
	choiceVar(flags, (*string)(&o.node.RaftProfile), "raft-profile", "how long the nodes wait for each other, the same on all", string(node.RaftDefault), string(node.RaftFast), string(node.RaftSlow))
	choiceVar(flags, &o.logLevel, "log-level", "least level that is logged", "info", "debug", "warn", "error")
	choiceVar(flags, &o.logFormat, "log-format", "form of the log", logText, logJSON)
}

// complete takes in the environment and the file, and checks what was given.
func (o *serveOptions) complete(flags *pflag.FlagSet) error {
	if err := applySettings(flags); err != nil {
		return err
	}
	if o.node.DataDir == "" {
		if filepath.Base(o.node.Name) != o.node.Name || !filepath.IsLocal(o.node.Name) {
			return usage("--name %q: is no name of a directory; say with --data-dir where the node keeps everything", o.node.Name)
		}
		o.node.DataDir = filepath.Join(defaultDataDir, o.node.Name)
	}
	for flag, addr := range map[string]string{
		"http-addr": o.node.HTTPAddr, "raft-addr": o.node.RaftAddr, "gossip-addr": o.node.GossipAddr,
	} {
		if err := checkAddr(flag, addr); err != nil {
			return err
		}
	}
	for flag, addr := range map[string]string{"raft-advertise": o.node.RaftAdvertise, "pprof-addr": o.pprofAddr} {
		if addr == "" {
			continue
		}
		if err := checkAddr(flag, addr); err != nil {
			return err
		}
	}
	if err := o.memory.check(); err != nil {
		return err
	}
	o.memory.apply(&o.node)
	for _, addr := range o.node.Join {
		if err := checkAddr("join", addr); err != nil {
			return err
		}
	}
	if n := o.node.BootstrapExpect; n < 0 || n > maxNodes || n == 0 && flags.Changed("bootstrap-expect") {
		return usage("--bootstrap-expect %d: must be 1 to %d", n, maxNodes)
	}
	return nil
}

const (
	// defaultDataDir holds the data of each node under the node's name.
	defaultDataDir = "oncelog-data"
	// maxNodes is how many nodes can found a cluster.
	maxNodes = node.MaxFounders
)

// serve runs a node until ctx ends or the node must stop.
func serve(ctx context.Context, c *console, o serveOptions) error {
	defer o.memory.limitHeap()()
	o.node.Logger = newLogger(c.err, o.logLevel, o.logFormat)
	if o.pprofAddr != "" {
		p, err := serveProfiles(ctx, o.pprofAddr)
		if err != nil {
			return err
		}
		defer func() { _ = p.Close() }()
		c.say("profiles are at http://%s/debug/pprof/", p.Addr())
	}
	o.node.Version = version().Version
	n, err := node.New(o.node)
	if errors.Is(err, node.ErrConfig) {
		return usageError{err}
	}
	if err != nil {
		return err
	}
	welcome(c, o, "http://"+n.Addr())
	return n.Run(ctx)
}

// welcome tells where the API is and what can be tried next.
func welcome(c *console, o serveOptions, url string) {
	c.say("%s serves %s; its data is in %s", o.node.Name, url, o.node.DataDir)
	if o.node.BootstrapExpect > 1 {
		c.say("a new node takes events once %d of them have found each other", o.node.BootstrapExpect)
	}
	c.say("try:\n  %s\n  %s", curlPublish(url), curlEvents(url))
	c.say("Ctrl-C stops it in order, a second one at once")
}

func curlPublish(url string) string {
	return fmt.Sprintf(`curl -H 'Content-Type: application/json' -d '{"topic":"greeting","event_id":"1","timestamp":"2026-01-01T00:00:00Z","source":"me","payload":{"hello":"world"}}' %s/publish`, url)
}

func curlEvents(url string) string { return fmt.Sprintf("curl '%s/events?limit=10'", url) }

func newLogger(w io.Writer, level, format string) *slog.Logger {
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "warn": slog.LevelWarn, "error": slog.LevelError}
	o := &slog.HandlerOptions{Level: levels[level]}
	if format == logJSON {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}
