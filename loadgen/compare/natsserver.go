package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// serveCommand makes this program a NATS server: its argument is the file of the
// server's configuration. It is no command for people.
const serveCommand = "nats-server"

// serveNATS runs one server until alive ends, which is when its parent wants that
// or has died. It returns the exit status.
func serveNATS(config string, alive io.Reader, errOut io.Writer) int {
	// A Ctrl-C at the terminal is for the parent to act on.
	signal.Ignore(os.Interrupt)
	s, err := newNATS(config)
	if err != nil {
		_, _ = fmt.Fprintln(errOut, "nats-server:", err)
		return exitFailed
	}
	s.Start()
	_, _ = io.Copy(io.Discard, alive)
	s.Shutdown()
	s.WaitForShutdown()
	return exitGood
}

func newNATS(config string) (*server.Server, error) {
	opts, err := server.ProcessConfigFile(config)
	if err != nil {
		return nil, err
	}
	opts.NoSigs = true
	s, err := server.NewServer(opts)
	if err != nil {
		return nil, err
	}
	s.ConfigureLogger()
	return s, nil
}

// natsServer is one server, as a process.
type natsServer struct {
	url string
	cmd *exec.Cmd
	// alive is the process's standard input: it stops when that ends.
	alive io.Closer
}

// startNATS starts a cluster of n servers that keep their data and logs in dir.
// The servers stop when they are told to, or when this process dies.
func startNATS(dir string, n int, sync string) (servers []*natsServer, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, stopNATS(servers))
		}
	}()
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	addrs, err := freeAddresses(2 * n)
	if err != nil {
		return nil, err
	}
	clients, routes := addrs[:n], addrs[n:]
	for i := range n {
		name := fmt.Sprintf("n%d", i+1)
		config := filepath.Join(dir, name+".conf")
		if err := os.WriteFile(config, []byte(natsConfig(dir, name, clients[i], routes[i], routes, sync)), 0o600); err != nil {
			return servers, err
		}
		// Its end is told by closing its input, so that it stops in order.
		cmd := exec.CommandContext(context.Background(), program, serveCommand, config)
		cmd.Stderr = os.Stderr
		alive, err := cmd.StdinPipe()
		if err != nil {
			return servers, err
		}
		if err := cmd.Start(); err != nil {
			return servers, fmt.Errorf("start %s: %w", name, errors.Join(err, alive.Close()))
		}
		servers = append(servers, &natsServer{url: "nats://" + clients[i], cmd: cmd, alive: alive})
	}
	return servers, nil
}

// natsConfig is a server's configuration: the defaults, but for what makes a
// cluster with JetStream and for when that syncs its files.
func natsConfig(dir, name, client, route string, routes []string, sync string) string {
	interval := ""
	if sync == syncAlways {
		interval = "sync_interval: always"
	}
	return fmt.Sprintf(`server_name: %s
listen: "%s"
log_file: %q
jetstream { store_dir: %q, %s }
cluster { name: compare, listen: "%s", routes: ["nats-route://%s"] }
`, name, client, filepath.Join(dir, name+".log"), filepath.Join(dir, name), interval,
		route, strings.Join(routes, `", "nats-route://`))
}

// stopNATS stops all servers at once and waits for them. One that has not
// stopped within 20 s is killed.
func stopNATS(servers []*natsServer) error {
	const patience = 20 * time.Second
	var failures []error
	for _, s := range servers {
		failures = append(failures, s.alive.Close())
	}
	for _, s := range servers {
		kill := time.AfterFunc(patience, func() { _ = s.cmd.Process.Kill() })
		failures = append(failures, s.cmd.Wait())
		kill.Stop()
	}
	return errors.Join(failures...)
}

// freeAddresses finds n addresses that nobody listens on. They are from below the
// ports that the kernel gives to outgoing connections, one of which could
// otherwise take a port before its server does.
func freeAddresses(n int) ([]string, error) {
	const first, last, attempts = 12_000, 32_000, 100
	addrs := make([]string, 0, n)
	for range attempts {
		addr := fmt.Sprintf("127.0.0.1:%d", first+rand.IntN(last-first))
		if slices.Contains(addrs, addr) {
			continue
		}
		l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", addr)
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			return nil, err
		}
		if addrs = append(addrs, addr); len(addrs) == n {
			return addrs, nil
		}
	}
	return nil, errors.New("no free ports on 127.0.0.1")
}
