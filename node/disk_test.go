package node

import (
	"context"
	"errors"
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
	boltStore
	fault *atomic.Pointer[diskFault]
}

type diskFault struct {
	err  error
	hold chan struct{}
}

func (d faultyDisk) StoreLogs(logs []*raft.Log) error {
	if f := d.fault.Load(); f != nil {
		if f.hold != nil {
			<-f.hold
		}
		return f.err
	}
	return d.boltStore.StoreLogs(logs)
}

// load publishes through a node until ctx ends, and returns how many events were
// acknowledged.
func load(ctx context.Context, n *Node, prefix string, acked *atomic.Int64) {
	for i := 0; ctx.Err() == nil; i++ {
		es := bulky(i*10, i*10+10)
		for j := range es {
			es[j].EventID = prefix + es[j].EventID
		}
		if receipts, err := n.publish(ctx, es); err == nil {
			acked.Add(int64(len(receipts)))
		}
	}
}

// FAULTS 4 and 22: a node whose disk fails stops, says why, and never
// acknowledges again. The others go on, and it catches up when its disk is back,
// under the same leader.
func TestADiskThatFailsStopsItsNodeAlone(t *testing.T) {
	t.Parallel()
	for _, who := range []string{"leader", "follower"} {
		t.Run(who, func(t *testing.T) {
			t.Parallel()
			faults := map[string]*atomic.Pointer[diskFault]{}
			nodes := startCluster(t, func(c *Config) {
				fault := new(atomic.Pointer[diskFault])
				faults[c.Name] = fault
				c.disk = func(b boltStore) boltStore { return faultyDisk{b, fault} }
			})
			leader, others := leaderOf(t, nodes)
			broken, alive := leader, others
			if who == "follower" {
				broken, alive = others[0], []*restartable{leader, others[1]}
			}
			ended := make(chan error, 1)
			go func() { ended <- broken.Run(context.Background()) }()
			loading, stop := context.WithCancel(t.Context())
			var acked atomic.Int64
			done := make(chan struct{})
			go func() { defer close(done); load(loading, alive[0].Node, "a-", &acked) }()
			require.Eventually(t, func() bool { return acked.Load() > 50 }, 20*time.Second, time.Millisecond, "load runs")

			eio := errors.New("input/output error")
			faults[broken.c.Name].Store(&diskFault{err: eio})
			err := <-ended
			require.ErrorIs(t, err, eio)
			require.ErrorContains(t, err, broken.group.log.path)
			_, err = broken.publish(t.Context(), []oncelog.Event{someEvent("too late")})
			require.Error(t, err)

			at := acked.Load()
			require.Eventually(t, func() bool { return acked.Load() > at+100 }, 20*time.Second, time.Millisecond, "the others go on")
			faults[broken.c.Name].Store(nil)
			before, _ := alive[0].group.LeaderWithID()
			broken.restart()
			awaitReady(t, broken.Node)
			after, _ := alive[0].group.LeaderWithID()
			require.Equal(t, before, after, "nobody else had to restart")
			stop()
			<-done
			stats, err := alive[0].Stats(t.Context(), oncelog.Linearizable)
			require.NoError(t, err)
			require.GreaterOrEqual(t, stats.Unique, uint64(acked.Load()))
			require.Eventually(t, func() bool {
				mine, digest := broken.group.fsm.State()
				theirs, same := alive[0].group.fsm.State()
				return mine.Applied == theirs.Applied && digest == same
			}, 20*time.Second, 10*time.Millisecond)
		})
	}
}

// FAULTS 6: a disk that hangs. Raft alone would let such a leader lead on.
func TestADiskThatHangsStopsItsNode(t *testing.T) {
	t.Parallel()
	fault := new(atomic.Pointer[diskFault])
	nodes := startCluster(t, func(c *Config) {
		if c.Name == "n1" {
			c.disk = func(b boltStore) boltStore { return faultyDisk{b, fault} }
		}
	})
	_, err := nodes[1].TransferLeadership(t.Context(), "n1")
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- nodes[0].Run(context.Background()) }()
	hold := make(chan struct{})
	fault.Store(&diskFault{hold: hold})
	go func() { _, _ = nodes[0].publish(t.Context(), []oncelog.Event{someEvent("stuck")}) }()
	require.Less(t, stallLimit+failTimeout, 15*time.Second)
	err = <-ended // though the disk still hangs
	nodes[0].failed = true
	require.ErrorContains(t, err, "the disk hangs")
	_, err = nodes[1].publish(t.Context(), []oncelog.Event{someEvent("goes on")})
	require.NoError(t, err)
	close(hold)
}

// FAULTS 7: whatever byte of a stopped node's tables is changed, it never serves
// or passes on wrong data: it stops and names the file.
func TestADamagedTableIsFoundAndNamed(t *testing.T) {
	t.Parallel()
	c := testNode(t, "alone")
	n, err := New(c)
	require.NoError(t, err)
	want := bulky(0, 500)
	_, err = n.publish(t.Context(), want)
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
