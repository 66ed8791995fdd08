package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
)

// faultyDisk fails or hangs on writes from a moment on.
type faultyDisk struct {
	logStore
	fault *atomic.Pointer[diskFault]
}

type diskFault struct {
	err  error
	hold chan struct{}
	// times is how many writes it concerns; 0 is all.
	times int64
	seen  atomic.Int64
}

func (f *diskFault) strikes() bool {
	return f != nil && (f.times == 0 || f.seen.Add(1) <= f.times)
}

func (d faultyDisk) StoreLogs(logs []*raft.Log) error {
	if f := d.fault.Load(); f.strikes() {
		if f.hold != nil {
			<-f.hold
		}
		return f.err
	}
	return d.logStore.StoreLogs(logs)
}

// load is what a client publishes through one node.
type load struct {
	acked atomic.Int64
	// errs are the errors that the client saw; read them after end.
	errs []error
	stop context.CancelFunc
	done chan struct{}
}

// startLoad publishes through a node until end is called.
func startLoad(t *testing.T, n *Node, prefix string) *load {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	l := &load{stop: stop, done: make(chan struct{})}
	t.Cleanup(l.end)
	go func() {
		defer close(l.done)
		for i := 0; ctx.Err() == nil; i++ {
			es := bulky(i*10, i*10+10)
			for j := range es {
				es[j].EventID = prefix + es[j].EventID
			}
			receipts, err := n.publish(ctx, es)
			if err != nil && ctx.Err() == nil {
				l.errs = append(l.errs, err)
			}
			l.acked.Add(int64(len(receipts)))
		}
	}()
	l.await(t, 50)
	return l
}

func (l *load) end() {
	l.stop()
	<-l.done
}

// await waits for further receipts.
func (l *load) await(t *testing.T, more int64) {
	t.Helper()
	at := l.acked.Load()
	require.Eventually(t, func() bool { return l.acked.Load() >= at+more }, 20*time.Second, time.Millisecond, "load runs")
}

// A node whose disk fails, be it once, stops, says why, and never
// acknowledges again. The clients of the others see no error, and the node catches
// up when its disk is back, under the same leader.
func TestADiskThatFailsStopsItsNodeAlone(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		who   string
		times int64
	}{{"leader", 0}, {"leader", 1}, {"follower", 0}, {"follower", 1}} {
		t.Run(fmt.Sprintf("%s, %d times", test.who, test.times), func(t *testing.T) {
			t.Parallel()
			faults := map[string]*atomic.Pointer[diskFault]{}
			nodes := startCluster(t, func(c *Config) {
				fault := new(atomic.Pointer[diskFault])
				faults[c.Name] = fault
				c.Timing = patientTiming
				c.disk = func(b logStore) logStore { return faultyDisk{b, fault} }
			})
			leader, others := leaderOf(t, nodes)
			broken, alive := leader, others
			if test.who == "follower" {
				broken, alive = others[0], []*restartable{leader, others[1]}
			}
			ended := make(chan error, 1)
			go func() { ended <- broken.Run(context.Background()) }()
			loads := []*load{startLoad(t, alive[0].Node, "a-"), startLoad(t, alive[1].Node, "b-")}

			eio := errors.New("input/output error")
			faults[broken.c.Name].Store(&diskFault{err: eio, times: test.times})
			err := <-ended
			require.ErrorIs(t, err, eio)
			require.ErrorContains(t, err, broken.group.log.path)
			_, err = broken.publish(t.Context(), []oncelog.Event{someEvent("too late")})
			require.Error(t, err)

			loads[0].await(t, 100)
			loads[1].await(t, 100)
			faults[broken.c.Name].Store(nil)
			before, _ := alive[0].group.LeaderWithID()
			broken.restart()
			awaitReady(t, broken.Node)
			after, _ := alive[0].group.LeaderWithID()
			require.Equal(t, before, after, "nobody else had to restart")
			var acked int64
			for _, l := range loads {
				l.end()
				require.Empty(t, l.errs, "the clients of the others see no error")
				acked += l.acked.Load()
			}
			require.GreaterOrEqual(t, awaitLevel(t, nodes).Unique, uint64(acked))
		})
	}
}

// refusingLog refuses appends, as a full disk would, and unlike our own log it
// does not end the node: the follower says no to its leader, and goes on.
type refusingLog struct {
	*guardedLog
	refusals *atomic.Int64
}

func (l refusingLog) StoreLogs(logs []*raft.Log) error {
	if l.refusals.Add(-1) >= 0 {
		return errors.New("no")
	}
	return l.guardedLog.StoreLogs(logs)
}

// hashicorp/raft#612: with Raft's pipelining, a follower that refused
// one append could stay behind until its leader was restarted.
func TestAFollowerThatRefusesAppendsCatchesUp(t *testing.T) {
	t.Parallel()
	refusals := map[string]*atomic.Int64{}
	nodes := startCluster(t, func(c *Config) {
		refused := new(atomic.Int64)
		refusals[c.Name] = refused
		c.appends = func(l *guardedLog) raft.LogStore { return refusingLog{l, refused} }
		c.Timing = Timing{Heartbeat: 1500 * time.Millisecond, Election: 2250 * time.Millisecond, Lease: 1200 * time.Millisecond}
	})
	leader, others := leaderOf(t, nodes)
	refusing := others[0]
	before, term := leader.ID(), leader.group.CurrentTerm()
	loads := []*load{startLoad(t, leader.Node, "a-"), startLoad(t, others[1].Node, "b-"), startLoad(t, refusing.Node, "c-")}
	for _, times := range []int64{1, 1, 3, 5} {
		refusals[refusing.c.Name].Store(times)
		require.Eventually(t, func() bool { return refusals[refusing.c.Name].Load() < 0 }, 20*time.Second, time.Millisecond, "appends were refused, and then taken")
		for _, l := range loads {
			l.await(t, 50)
		}
		at := leader.group.CommitIndex()
		require.Eventually(t, func() bool { return refusing.group.store.Applied().Index >= at }, 20*time.Second, time.Millisecond, "it catches up under load")
	}
	for _, l := range loads {
		l.end()
		require.Empty(t, l.errs)
	}
	awaitLevel(t, nodes)
	after, _, _ := refusing.leadership.leader()
	require.Equal(t, before, after.String())
	require.Equal(t, term, leader.group.CurrentTerm(), "under the same leader, in the same term")
}

// A disk that hangs. Raft alone would let such a leader lead on.
func TestADiskThatHangsStopsItsNode(t *testing.T) {
	t.Parallel()
	fault := new(atomic.Pointer[diskFault])
	nodes := startCluster(t, func(c *Config) {
		c.Timing = patientTiming
		if c.Name == "n1" {
			c.disk = func(b logStore) logStore { return faultyDisk{b, fault} }
		}
	})
	handOver(t, nodes[1].Node, "n1")
	ended := make(chan error, 1)
	go func() { ended <- nodes[0].Run(context.Background()) }()
	hold := make(chan struct{})
	fault.Store(&diskFault{hold: hold})
	go func() { _, _ = nodes[0].publish(t.Context(), []oncelog.Event{someEvent("stuck")}) }()
	require.Less(t, stallLimit+failTimeout, 15*time.Second)
	err := <-ended // though the disk still hangs
	nodes[0].failed = true
	require.ErrorContains(t, err, "the disk hangs")
	_, err = nodes[1].publish(t.Context(), []oncelog.Event{someEvent("goes on")})
	require.NoError(t, err)
	close(hold)
}

// Whatever byte of a stopped node's tables is changed, it never serves
// or passes on wrong data: it stops and names the file.
func TestADamagedTableIsFoundAndNamed(t *testing.T) {
	t.Parallel()
	c := testNode(t, "alone")
	n, err := New(c)
	require.NoError(t, err)
	want := bulky(0, 500)
	_, err = n.Publish(t.Context(), want...)
	require.NoError(t, err)
	require.NoError(t, n.Close())
	var tables []string
	require.NoError(t, filepath.WalkDir(filepath.Join(c.DataDir, "store"), func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".sst") {
			tables = append(tables, path)
		}
		return err
	}))
	require.NotEmpty(t, tables)
	whole, err := os.ReadFile(tables[0])
	require.NoError(t, err)
	for _, at := range []int{10, len(whole) / 4, len(whole) / 2, len(whole) * 3 / 4, len(whole) - 60, len(whole) - 5} {
		damaged := append([]byte(nil), whole...)
		damaged[at] ^= 0x10
		require.NoError(t, os.WriteFile(tables[0], damaged, 0o600))
		reason := readAll(t, c, want)
		if reason != nil {
			require.ErrorContains(t, reason, filepath.Base(tables[0]), "byte %d", at)
		}
	}
	require.NoError(t, os.WriteFile(tables[0], whole, 0o600))
	require.NoError(t, readAll(t, c, want), "whole again")
}

// readAll starts a node and reads everything. It fails the test if any event
// that comes back is wrong, and returns why the node stopped, or nil.
func readAll(t *testing.T, c Config, want []oncelog.Event) error {
	n, err := New(c)
	if err != nil {
		return err
	}
	i := 0
	for r, err := range n.Events(t.Context(), oncelog.Query{}, oncelog.Stale) {
		if err != nil {
			return errors.Join(err, n.Close())
		}
		require.Equal(t, want[i].EventID, r.EventID)
		require.Equal(t, string(want[i].Payload), string(r.Payload))
		i++
	}
	select {
	case err := <-n.failure:
		return errors.Join(err, n.Close())
	default:
	}
	require.Equal(t, len(want), i)
	return n.Close()
}
