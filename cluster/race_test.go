package cluster

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
)

// racing is one id that was sent to all three nodes at once.
type racing struct {
	key        oncelog.Key
	begin, end time.Time
	receipts   []oncelog.Receipt
	// errs are those of nodes, by name.
	errs map[string]error
}

// race sends one event to all nodes at once.
func race(ctx context.Context, c *Cluster, e oncelog.Event) racing {
	r := racing{key: e.Key(), begin: time.Now(), errs: make(map[string]error)}
	var mu sync.Mutex
	var asking sync.WaitGroup
	for _, n := range c.Nodes() {
		asking.Go(func() {
			receipt, err := n.Client().Publish(ctx, e)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				r.errs[n.Name()] = err
				return
			}
			r.receipts = append(r.receipts, receipt)
		})
	}
	asking.Wait()
	r.end = time.Now()
	return r
}

// raceThrough sends one id after the other to all nodes, several at a time,
// while during runs. reach, which during gets, waits for so many more of them.
func raceThrough(t *testing.T, c *Cluster, topic string, during func(reach func(more int64))) []racing {
	t.Helper()
	const lanes = 8
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var mu sync.Mutex
	var raced []racing
	var next, done atomic.Int64
	var stop atomic.Bool
	var racers sync.WaitGroup
	for range lanes {
		racers.Go(func() {
			for !stop.Load() {
				r := race(ctx, c, anEvent(topic, fmt.Sprint(next.Add(1))))
				mu.Lock()
				raced = append(raced, r)
				mu.Unlock()
				done.Add(1)
			}
		})
	}
	// A fault that fails the test must not leave the racers behind.
	defer racers.Wait()
	defer stop.Store(true)
	during(func(more int64) {
		want := done.Load() + more
		require.NoError(t, c.Await(ctx, "ids to be answered", func(context.Context) error {
			if got := done.Load(); got < want {
				return fmt.Errorf("%d of %d", got, want)
			}
			return nil
		}))
	})
	stop.Store(true)
	racers.Wait()
	return raced
}

// requireOneStored requires that each id was stored once, and that only the
// given node may have failed. It returns how many ids were under way at a time.
func requireOneStored(t *testing.T, raced []racing, fallen string, at time.Time) (underWay int) {
	t.Helper()
	for _, r := range raced {
		stored := 0
		for _, receipt := range r.receipts {
			require.Equal(t, r.receipts[0].ID, receipt.ID, "%v", r.key)
			require.False(t, receipt.Conflict)
			if receipt.Status == oncelog.Stored {
				stored++
			}
		}
		for name, err := range r.errs {
			require.Equal(t, fallen, name, "%v at %s: %v", r.key, name, err)
		}
		// The one that was told may be the node that fell.
		require.LessOrEqual(t, stored, 1, "%v", r.key)
		require.GreaterOrEqual(t, stored+len(r.errs), 1, "%v", r.key)
		if r.begin.Before(at) && r.end.After(at) {
			underWay++
		}
	}
	return underWay
}

// requireAllOnce requires each raced key on all nodes, once, at the id told.
func requireAllOnce(t *testing.T, c *Cluster, raced []racing) {
	t.Helper()
	contents, err := c.Contents(t.Context())
	require.NoError(t, err)
	require.NoError(t, c.Check(t.Context()))
	for _, n := range contents {
		ids := make(map[oncelog.Key]uint64)
		for _, e := range n.Entries {
			ids[e.Key] = e.ID
		}
		require.Len(t, ids, len(raced), n.Node)
		for _, r := range raced {
			require.Equal(t, r.receipts[0].ID, ids[r.key], "%v on %s", r.key, n.Node)
		}
	}
}

// One id is sent to three nodes at once, through changes of the leader.
func TestOneIDAtThreeNodesThroughALeaderChange(t *testing.T) {
	c, links := linked(t)
	old, err := c.Leader(t.Context())
	require.NoError(t, err)
	var moved time.Time
	raced := raceThrough(t, c, "transfer", func(reach func(int64)) {
		reach(100)
		moved = time.Now()
		_, err := old.Client().TransferLeadership(t.Context(), "")
		require.NoError(t, err)
		reach(100)
	})
	require.Positive(t, requireOneStored(t, raced, "", moved), "ids were under way")

	old, err = c.Leader(t.Context())
	require.NoError(t, err)
	fell := raceThrough(t, c, "kill", func(reach func(int64)) {
		reach(100)
		moved = time.Now()
		require.NoError(t, old.Kill())
		next, err := c.Leader(t.Context())
		require.NoError(t, err)
		require.NotEqual(t, old.Name(), next.Name())
		reach(100)
		require.NoError(t, old.Start())
		require.NoError(t, c.WaitReady(t.Context()))
		reach(100)
	})
	require.Positive(t, requireOneStored(t, fell, old.Name(), moved), "ids were under way")

	old, err = c.Leader(t.Context())
	require.NoError(t, err)
	cut := raceThrough(t, c, "cut", func(reach func(int64)) {
		reach(100)
		moved = time.Now()
		links.Isolate(old)
		_, err := c.LeaderAmong(t.Context(), c.others(old)...)
		require.NoError(t, err)
		links.Heal()
		require.NoError(t, c.WaitReady(t.Context()))
		reach(100)
	})
	require.Positive(t, requireOneStored(t, cut, old.Name(), moved), "ids were under way")
	t.Logf("%d ids through a transfer, %d through a kill of the leader, %d through its being cut off", len(raced), len(fell), len(cut))
	requireAllOnce(t, c, slices.Concat(raced, fell, cut))
}
