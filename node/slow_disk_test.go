package node

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
)

// slowDisk takes longer for each write, for as long as it is told to.
type slowDisk struct {
	logStore
	each   *atomic.Int64
	writes *atomic.Int64
}

func (d slowDisk) StoreLogs(logs []*raft.Log) error {
	if each := d.each.Load(); each > 0 {
		d.writes.Add(1)
		time.Sleep(time.Duration(each))
	}
	return d.logStore.StoreLogs(logs)
}

// slowCluster starts nodes whose disks can be slowed down, by name.
func slowCluster(t *testing.T, change func(*Config)) ([]*restartable, map[string]slowDisk) {
	t.Helper()
	disks := map[string]slowDisk{}
	nodes := startCluster(t, func(c *Config) {
		d := slowDisk{each: new(atomic.Int64), writes: new(atomic.Int64)}
		disks[c.Name] = d
		c.disk = func(s logStore) logStore {
			d.logStore = s
			return d
		}
		change(c)
	})
	return nodes, disks
}

// A disk that is slow, and does not hang, costs time and nothing else: no client
// sees an error, no node stops, nobody else has to lead. A slow follower does not
// hold the others up, and is level again once its disk is.
func TestASlowDiskIsOnlySlow(t *testing.T) {
	t.Parallel()
	for _, who := range []string{"leader", "follower"} {
		t.Run(who, func(t *testing.T) {
			t.Parallel()
			nodes, disks := slowCluster(t, func(c *Config) { c.Timing = patientTiming })
			leader, others := leaderOf(t, nodes)
			slow := leader
			if who == "follower" {
				slow = others[0]
			}
			term := leader.group.CurrentTerm()
			loads := []*load{startLoad(t, leader.Node, "a-"), startLoad(t, others[0].Node, "b-"), startLoad(t, others[1].Node, "c-")}
			disk := disks[slow.c.Name]
			disk.each.Store(int64(200 * time.Millisecond))
			require.Eventually(t, func() bool { return disk.writes.Load() > 10 }, 30*time.Second, time.Millisecond, "the disk is slow")
			for _, l := range loads {
				l.await(t, 10)
			}
			disk.each.Store(0)
			var acked int64
			for _, l := range loads {
				l.end()
				require.Empty(t, l.errs, "clients see latency, not errors")
				acked += l.acked.Load()
			}
			require.GreaterOrEqual(t, awaitLevel(t, nodes).Unique, uint64(acked))
			require.Equal(t, term, leader.group.CurrentTerm(), "nobody else had to lead")
			for _, n := range nodes {
				require.NoError(t, n.Node.failed())
			}
		})
	}
}

// A leader whose disk is so slow that more comes than it can take refuses what does
// not fit its queue. What it took is stored, and what it refused is not.
func TestASlowDiskFillsNoMemory(t *testing.T) {
	t.Parallel()
	nodes, disks := slowCluster(t, func(c *Config) { c.QueueBytes, c.RequestTimeout = minQueueBytes, 30*time.Second })
	leader, _ := leaderOf(t, nodes)
	disk := disks[leader.c.Name]
	disk.each.Store(int64(300 * time.Millisecond))
	const requests, size = 14, 3 << 20
	errs := make([]error, requests)
	var publishing sync.WaitGroup
	for i := range requests {
		publishing.Go(func() {
			e := someEvent(fmt.Sprintf("great-%d", i))
			e.Payload = []byte(fmt.Sprintf(`{"text":"%s"}`, bytesOf('x', oncelog.MaxPayloadBytes-100)))
			es := []oncelog.Event{e, e, e}
			es[1].EventID += "-b"
			es[2].EventID += "-c"
			_, errs[i] = leader.publish(t.Context(), es)
		})
	}
	publishing.Wait()
	disk.each.Store(0)
	stored := uint64(0)
	for _, err := range errs {
		if err == nil {
			stored += 3
			continue
		}
		require.ErrorIs(t, err, oncelog.ErrQueueFull)
	}
	require.Positive(t, stored)
	require.Less(t, stored, uint64(3*requests), "%d requests of %d bytes do not fit", requests, size)
	require.Equal(t, stored, awaitLevel(t, nodes).Unique)
	_, err := leader.publish(t.Context(), []oncelog.Event{someEvent("later")})
	require.NoError(t, err)
}
