package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// The exit statuses.
const (
	exitGood   = 0
	exitFailed = 1
	exitUsage  = 2
)

// console is where a command reads and writes.
type console struct {
	in  io.Reader
	out io.Writer
	err io.Writer
}

// say writes a line for people to standard error.
func (c *console) say(format string, args ...any) {
	_, _ = fmt.Fprintf(c.err, format+"\n", args...)
}

// run is the whole program; it returns the exit status.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	out := &output{Writer: stdout}
	c := &console{in: stdin, out: out, err: stderr}
	root := newRoot(c)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		err = out.err
	}
	if err == nil {
		return exitGood
	}
	c.say("oncelog: %v", err)
	if errors.As(err, new(usageError)) {
		c.say("%q shows how it is used", cmd.CommandPath()+" --help")
		return exitUsage
	}
	return exitFailed
}

func newRoot(c *console) *cobra.Command {
	root := &cobra.Command{
		Use:   "oncelog",
		Short: "An event log that stores every event exactly once, and is its own cluster",
		Example: `  oncelog cluster                      three nodes on this machine
  oncelog demo                         the same with load and a kill -9 of the leader
  oncelog load --verify                publish 20,000 events and prove what was stored`,
		Args:                       oneOfCommands,
		DisableFlagsInUseLine:      true,
		SuggestionsMinimumDistance: 2,
		SilenceErrors:              true,
		SilenceUsage:               true,
		CompletionOptions:          cobra.CompletionOptions{HiddenDefaultCmd: true},
		RunE:                       func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(c.in)
	root.SetOut(c.out)
	root.SetErr(c.err)
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(
		newServe(c), newCluster(c), newDemo(c), newLoad(c), newBench(c),
		newPublish(c), newTail(c), newEvents(c), newStats(c), newStatus(c), newLeave(c), newVerify(c), newVersion(c),
	)
	return root
}

// oneOfCommands answers to a word that is no command.
func oneOfCommands(root *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if near := root.SuggestionsFor(args[0]); len(near) > 0 {
		return usage("unknown command %q; did you mean %s?", args[0], strings.Join(near, " or "))
	}
	var names []string
	for _, cmd := range root.Commands() {
		if cmd.IsAvailableCommand() {
			names = append(names, cmd.Name())
		}
	}
	return usage("unknown command %q; there are %s", args[0], strings.Join(names, ", "))
}
