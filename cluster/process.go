package cluster

import (
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// NewProcesses prepares a cluster of real processes: each runs binary with the
// command serve. It starts none, but a bad directory ([os.PathError]) or a
// port in use ([ErrPortInUse]) is an error already.
func NewProcesses(binary string, o Options) (*Cluster, error) {
	return newCluster(o, binary, startProcess)
}

// serveArgs is the command line of a node.
func serveArgs(s spec) []string {
	args := []string{
		"serve", "--name", s.name, "--data-dir", s.dir,
		"--http-addr", s.addrs.HTTP, "--raft-addr", s.addrs.Raft, "--gossip-addr", s.addrs.Gossip,
	}
	if s.expect > 0 {
		args = append(args, "--bootstrap-expect", strconv.Itoa(s.expect))
	}
	if len(s.join) > 0 {
		args = append(args, "--join", strings.Join(s.join, ","))
	}
	if s.advertise != "" {
		args = append(args, "--advertise-host", s.advertise)
	}
	if s.logStore != "" {
		args = append(args, "--log-store", string(s.logStore))
	}
	if s.profile != "" {
		args = append(args, "--raft-profile", string(s.profile))
	}
	return args
}

// process is a node that is a process of its own.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
	// failure is set before done is closed.
	failure error
}

func startProcess(s spec) (instance, error) { return startProcessWith(s) }

// startProcessWith starts a process with more arguments than a node needs.
func startProcessWith(s spec, args ...string) (instance, error) {
	log, err := openLog(s)
	if err != nil {
		return nil, err
	}
	// The process has its own copy of the file.
	defer func() { _ = log.Close() }()
	p := &process{
		cmd: &exec.Cmd{
			Path: s.binary, Args: slices.Concat([]string{s.binary}, serveArgs(s), args), Env: environment(),
			Stdout: log, Stderr: log, SysProcAttr: processAttributes(),
		},
		done: make(chan struct{}),
	}
	started := make(chan error, 1)
	go p.run(started)
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// openLog opens a node's log to write on.
func openLog(s spec) (*os.File, error) {
	return os.OpenFile(s.logPath, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
}

// environment is this process's without what would configure a node.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "ONCELOG_") })
}

// run keeps its thread for as long as the process lives: the kernel tells a
// process of its parent's death when the thread that started it ends.
func (p *process) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	p.failure = p.cmd.Wait()
	close(p.done)
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) signal(s syscall.Signal) error { return p.cmd.Process.Signal(s) }

func (p *process) ended() <-chan struct{} { return p.done }

func (p *process) err() error { return p.failure }

// CommandLine is how the node's process is started by hand, or "" for a node of
// this process.
func (n *Node) CommandLine() string {
	if n.spec.binary == "" {
		return ""
	}
	return strings.Join(append([]string{n.spec.binary}, serveArgs(n.spec)...), " ")
}
