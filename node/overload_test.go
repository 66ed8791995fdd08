package node

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/raftfsm/store"
)

// pacedDisk takes so many bytes a second, so that it, and not what else the machine
// does, is what there is too much for.
type pacedDisk struct {
	logStore
	pace int
}

func (d pacedDisk) StoreLogs(logs []*raft.Log) error {
	size := 0
	for _, l := range logs {
		size += len(l.Data)
	}
	time.Sleep(time.Duration(size) * time.Second / time.Duration(d.pace))
	return d.logStore.StoreLogs(logs)
}

// publishers send requests of four large events each, to all nodes in turn, and wait
// where they are told to.
type publishers struct {
	t     *testing.T
	nodes []*restartable

	next, acked, refused atomic.Int64
	// failed is the first error that is no refusal.
	failed atomic.Pointer[error]
}

// run has so many of them work for a while, once that many are at work, and returns
// how many events a second were acknowledged until the last has its answer: answers
// come many at once, so that a part of the time would say little.
func (p *publishers) run(many int, atWork func() bool, while time.Duration) float64 {
	p.t.Helper()
	stop, begin, before := make(chan struct{}), time.Now(), p.acked.Load()
	var working sync.WaitGroup
	for range many {
		working.Go(func() { p.work(stop) })
	}
	require.Eventually(p.t, atWork, 30*time.Second, 10*time.Millisecond, "%d publishers at work", many)
	time.Sleep(while)
	close(stop)
	working.Wait()
	rate := float64(p.acked.Load()-before) / time.Since(begin).Seconds()
	if err := p.failed.Load(); err != nil {
		require.NoError(p.t, *err)
	}
	return rate
}

func (p *publishers) work(stop <-chan struct{}) {
	for {
		at := p.next.Add(4)
		var es []oncelog.Event
		for i := range int64(4) {
			e := someEvent(fmt.Sprint("overload-", at+i))
			e.Payload = largePayload
			es = append(es, e)
		}
		receipts, err := p.nodes[at/4%3].publish(p.t.Context(), es)
		p.acked.Add(int64(len(receipts)))
		var wait time.Duration
		if full := (*oncelog.QueueFullError)(nil); errors.As(err, &full) {
			p.refused.Add(1)
			wait = full.RetryAfter
		} else if err != nil {
			p.failed.CompareAndSwap(nil, &err)
		}
		select {
		case <-stop:
			return
		case <-time.After(wait):
		}
	}
}

var largePayload = fmt.Appendf(nil, `{"text":"%s"}`, bytesOf('x', 32<<10))

// Ten times what keeps three nodes busy. What is too much is refused, as
// much is stored as before, and nothing that was taken comes too late. It runs alone:
// admission leaves room for a pace that falls to a quarter, and other tests that begin
// in the middle take more than that from a machine of two cores.
func TestTenTimesWhatIsPossible(t *testing.T) {
	nodes := startCluster(t, func(c *Config) {
		c.Timing = Timing{Heartbeat: 3 * time.Second, Election: 3 * time.Second, Lease: 2 * time.Second}
		c.disk = func(s logStore) logStore { return pacedDisk{s, 8 << 20} }
	})
	p := &publishers{t: t, nodes: nodes}
	some := func() bool { return p.acked.Load() > 0 }
	busy := p.run(16, some, 4*time.Second)
	require.Zero(t, p.refused.Load(), "what keeps the nodes busy is no overload")
	overloaded := p.run(160, func() bool { return p.refused.Load() > 0 }, 6*time.Second)
	again := p.run(16, some, 4*time.Second)
	t.Logf("%.0f events a second, then %.0f, then %.0f; %d requests were refused", busy, overloaded, again, p.refused.Load())
	// Refused by bytes alone it is a quarter; the rest of the room is for a machine
	// that has other work.
	require.GreaterOrEqual(t, overloaded, 0.6*min(busy, again))
	stored := uint64(p.acked.Load())
	requireLevel(t, nodes, store.Counters{Received: stored, Unique: stored})
}
