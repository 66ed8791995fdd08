package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

// The faults of disks come by strace, at the calls in which a node waits for its
// disk. A machine that has no strace, or does not let it, does without them.
const (
	syncCalls  = "fdatasync,fsync"
	writeCalls = "pwrite64"
)

// tamper has strace do something to calls of a node until ctx ends or the node does.
// It returns when strace is gone. The error is an errNotNow.
func tamper(ctx context.Context, n *Node, calls, how string) error {
	strace, err := exec.LookPath("strace")
	if err != nil {
		return fmt.Errorf("%w: %w", errNotNow, err)
	}
	tracer := exec.CommandContext(ctx, strace, "-f", "-qq", "-o", "/dev/null", "-p", strconv.Itoa(n.PID()),
		"-e", "trace="+calls, "-e", "inject="+calls+":"+how)
	tracer.SysProcAttr = processAttributes()
	// It lets go of the node in order.
	tracer.Cancel = func() error { return tracer.Process.Signal(syscall.SIGTERM) }
	// With a call delayed, strace does not see its node's end, nor a signal.
	tracer.WaitDelay = time.Second
	if err := tracer.Run(); err != nil && ctx.Err() == nil && n.up() {
		return fmt.Errorf("%w: strace: %w", errNotNow, err)
	}
	return nil
}

// slowDisk delays what a node waits for its disk with.
func slowDisk(ctx context.Context, m *nemesis, chance *rand.Rand) error {
	n, d, each := m.any(chance), between(chance, time.Second, 4*time.Second), between(chance, 20*time.Millisecond, 500*time.Millisecond)
	m.note("slow disk of %s for %s, %s a write", n, d.Round(time.Millisecond), each.Round(time.Millisecond))
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return tamper(ctx, n, syncCalls, fmt.Sprintf("delay_enter=%d", each.Microseconds()))
}

// failingDisk fails a sync of a node, which has to end the node.
func failingDisk(ctx context.Context, m *nemesis, chance *rand.Rand) error {
	return m.doom(ctx, chance, "failing disk", syncCalls, "error=EIO", "input/output error")
}

// fullDisk leaves no room for what a node writes to its log.
func fullDisk(ctx context.Context, m *nemesis, chance *rand.Rand) error {
	return m.doom(ctx, chance, "full disk", writeCalls, "error=ENOSPC", "no space left on device")
}

// hungDisk has a sync take longer than a node waits.
func hungDisk(ctx context.Context, m *nemesis, chance *rand.Rand) error {
	return m.doom(ctx, chance, "hung disk", syncCalls, fmt.Sprintf("delay_enter=%d", time.Minute.Microseconds()), "the disk hangs")
}

// doomTime is how long a node may live on with a disk that is of no use: 10 s until
// it takes a write for hung, 4 s to stop, and some more. One that has nothing to
// write, since it reaches no leader, does not notice.
const doomTime = 18 * time.Second

// doom gives a node a disk of no use. The node has to end, and to say why. It is
// started again later, with a good disk.
func (m *nemesis) doom(ctx context.Context, chance *rand.Rand, name, calls, how, reason string) error {
	n := m.any(chance)
	m.note("%s of %s", name, n)
	before, err := n.said(reason)
	if err != nil {
		return err
	}
	m.setDoomed(n, true)
	defer m.setDoomed(n, false)
	waiting, cancel := context.WithTimeout(ctx, doomTime)
	defer cancel()
	if err := tamper(waiting, n, calls, how); err != nil {
		return err
	}
	if !n.ended(ctx) {
		return fmt.Errorf("%w: %s has written nothing", errNotNow, n)
	}
	m.note("%s of %s: it has ended: %v", name, n, n.Err())
	if said, err := n.said(reason); said == before || n.Err() == nil {
		err = errors.Join(err, n.Err(), n.Start())
		return fmt.Errorf("I7 %w: %s ended and did not say %q: %w", ErrBroken, n, reason, err)
	}
	rest(ctx, between(chance, 0, 2*time.Second))
	err = n.Start()
	m.settle(ctx, chance)
	return err
}

// ended tells whether a node ends, now that no tracer holds it, and that was told.
// One that has just found out takes 4 s to stop.
func (n *Node) ended(ctx context.Context) bool {
	n.mu.Lock()
	l := n.life
	n.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 6*time.Second)
	defer cancel()
	select {
	case <-l.over:
		return true
	case <-ctx.Done():
		return false
	}
}

func (m *nemesis) setDoomed(n *Node, doomed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.doomed[n] = doomed
}

// isDoomed tells whether a node has to end by itself.
func (m *nemesis) isDoomed(n *Node) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.doomed[n]
}

// clock sets a node's clock to another time, more often back than forth, where it
// stays.
func clock(_ context.Context, m *nemesis, chance *rand.Rand) error {
	n, off := m.any(chance), between(chance, -5*time.Minute, time.Minute)
	m.note("clock of %s is off by %s", n, off.Round(time.Millisecond))
	if !m.clocks {
		return fmt.Errorf("%w: the program's clock is the machine's", errNotNow)
	}
	return os.WriteFile(clockFile(n.Dir()), []byte(off.String()), 0o600)
}
