// Command oncelog is the event log's one program: it serves a node, runs a whole
// cluster on this machine, and is a client on the command line.
//
// Data goes to standard output, progress and logs to standard error. The exit
// status is 0 when all is well, 1 when something failed or a verdict is bad, and
// 2 for a command line that makes no sense.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), stopSignals()...)
	// The first signal stops in order; the second, no longer caught, at once.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// stopSignals are what ends the program in order. A terminal that is closed sends
// SIGHUP, unless the program was started to outlive it, as nohup does.
func stopSignals() []os.Signal {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	return signals
}
