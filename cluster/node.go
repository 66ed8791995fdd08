package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"

	"github.com/oncelog/oncelog/httpapi/client"
)

// The errors of telling a node what it cannot do.
var (
	ErrRunning    = errors.New("the node runs already")
	ErrNotRunning = errors.New("the node does not run")
)

// Node is one node of a cluster on this machine, running or not. Its methods may
// be called from any goroutine.
type Node struct {
	spec   spec
	launch func(spec) (instance, error)
	client *client.Client
	report func(Failure)

	// mu guards what follows.
	mu sync.Mutex
	// life is the current run or the last one, the runs-th; nil before the first.
	life   *life
	runs   int
	paused bool
}

// instance is one run of a node, in whichever way it runs.
type instance interface {
	// pid is the process's, or 0 where it has none of its own.
	pid() int
	// signal does what the signal does to a process, or answers with an
	// errors.ErrUnsupported.
	signal(s syscall.Signal) error
	// ended is closed when the run is over; err then says why, nil after an
	// orderly stop.
	ended() <-chan struct{}
	err() error
}

// life is a run that is watched until its end.
type life struct {
	instance
	// told says that the node was told to end; Node.mu guards it.
	told bool
	// over is closed once the end was noted.
	over chan struct{}
}

func (l *life) running() bool {
	if l == nil {
		return false
	}
	select {
	case <-l.ended():
		return false
	default:
		return true
	}
}

// Name returns the node's name, such as "n1".
func (n *Node) Name() string { return n.spec.name }

// Addresses returns where the node listens.
func (n *Node) Addresses() Addresses { return n.spec.addrs }

// Dir returns the node's data directory.
func (n *Node) Dir() string { return n.spec.dir }

// LogPath returns the file that the node's output goes to.
func (n *Node) LogPath() string { return n.spec.logPath }

// URL returns the base of the node's API.
func (n *Node) URL() string { return "http://" + n.spec.addrs.HTTP }

// Client returns a client that asks this node only, and once only.
func (n *Node) Client() *client.Client { return n.client }

// String names the node as it runs, such as "n1 (pid 4711)".
func (n *Node) String() string {
	if pid := n.PID(); pid != 0 {
		return fmt.Sprintf("%s (pid %d)", n.spec.name, pid)
	}
	return n.spec.name
}

// PID returns the process id of the current or last run, 0 where there is none.
func (n *Node) PID() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.life == nil {
		return 0
	}
	return n.life.pid()
}

// Runs returns how often the node was started: the number of its current or last run,
// which tells runs apart where process ids come round again.
func (n *Node) Runs() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.runs
}

// begun tells whether the node was ever started.
func (n *Node) begun() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.life != nil
}

// up tells whether the node runs, be it paused.
func (n *Node) up() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.life.running()
}

// Alive tells whether the node can answer: it runs and is not paused.
func (n *Node) Alive() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.life.running() && !n.paused
}

// Err tells why the node ended without being told to, or nil.
func (n *Node) Err() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.life == nil || n.life.running() || n.life.told {
		return nil
	}
	return endOf(n.life)
}

// endOf is the reason for an end that nobody asked for.
func endOf(l *life) error {
	if err := l.err(); err != nil {
		return err
	}
	return errors.New("it stopped in order, but was not told to")
}

// Start runs the node. It returns when the node has begun, which is before it is
// ready.
func (n *Node) Start() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.life.running() {
		return fmt.Errorf("%s: %w", n.spec.name, ErrRunning)
	}
	run, err := n.launch(n.spec)
	if err != nil {
		return fmt.Errorf("start %s: %w", n.spec.name, err)
	}
	n.life = &life{instance: run, over: make(chan struct{})}
	n.runs++
	n.paused = false
	go n.watch(n.life)
	return nil
}

// watch ends with the run that it watches.
func (n *Node) watch(l *life) {
	defer close(l.over)
	<-l.ended()
	n.mu.Lock()
	told := l.told
	n.mu.Unlock()
	if !told && n.report != nil {
		n.report(Failure{Node: n, PID: l.pid(), Err: endOf(l)})
	}
}

// Stop ends the node in order, as SIGTERM does, and waits for it. A process that
// has not ended when ctx ends is killed, which is an error. A node that does not
// run is left alone.
func (n *Node) Stop(ctx context.Context) error {
	l, err := n.end(syscall.SIGTERM)
	if l == nil || err != nil {
		return err
	}
	select {
	case <-l.over:
		if err := l.err(); err != nil && !endedBy(err, syscall.SIGTERM) {
			return fmt.Errorf("%s did not stop in order: %w", n.spec.name, err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s did not stop in time: %w", n.spec.name, errors.Join(ctx.Err(), n.Kill()))
	}
}

// endedBy tells whether a process ended by a signal. One that has hardly begun
// does not catch SIGTERM yet; it has nothing yet to put in order either.
func endedBy(err error, s syscall.Signal) bool {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == s
}

// Kill ends the node's process at once, as a crash does, and waits until it is
// gone. A node in this process cannot be killed: that is an
// errors.ErrUnsupported.
func (n *Node) Kill() error {
	l, err := n.end(syscall.SIGKILL)
	if l == nil || err != nil {
		return err
	}
	<-l.over
	return nil
}

// end tells the running node to end; l is nil where none runs.
func (n *Node) end(s syscall.Signal) (l *life, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.life.running() {
		return nil, nil
	}
	before := n.life.told
	n.life.told = true
	if err := n.send(s); err != nil {
		n.life.told = before
		return nil, err
	}
	if n.paused && s != syscall.SIGKILL {
		n.paused = false
		return n.life, n.send(syscall.SIGCONT)
	}
	return n.life, nil
}

// Pause stops the node's process in its tracks, until Continue.
func (n *Node) Pause() error { return n.setPaused(syscall.SIGSTOP, true) }

// Continue lets a paused node run on.
func (n *Node) Continue() error { return n.setPaused(syscall.SIGCONT, false) }

func (n *Node) setPaused(s syscall.Signal, paused bool) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.life.running() {
		return fmt.Errorf("%s: %w", n.spec.name, ErrNotRunning)
	}
	if err := n.send(s); err != nil {
		return err
	}
	n.paused = paused
	return nil
}

// send signals the running node. The caller holds mu.
func (n *Node) send(s syscall.Signal) error {
	err := n.life.signal(s)
	if err == nil || errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return fmt.Errorf("%s: signal %s: %w", n.spec.name, s, err)
}

// LogTail returns the last lines that the node has written, at most so many.
func (n *Node) LogTail(lines int) []string {
	const readBack = 64 << 10
	f, err := os.Open(n.spec.logPath)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil
	}
	tail := make([]byte, min(info.Size(), readBack))
	read, err := f.ReadAt(tail, info.Size()-int64(len(tail)))
	if err != nil {
		return nil
	}
	all := strings.Split(strings.TrimRight(string(tail[:read]), "\n"), "\n")
	return all[max(0, len(all)-lines):]
}
