package node

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/httpapi/client"
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

// publishers send requests of eight large events each, over HTTP, and wait and send
// again where they are told to.
type publishers struct {
	client *client.Client
	next   atomic.Int64
	acked  atomic.Int64
	failed atomic.Pointer[error]
}

// run has so many of them work for a while, and returns how many events a second
// were acknowledged after the first second.
func (p *publishers) run(t *testing.T, many int, while time.Duration) float64 {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var working sync.WaitGroup
	for range many {
		working.Go(func() { p.work(ctx) })
	}
	time.Sleep(time.Second)
	begin, before := time.Now(), p.acked.Load()
	time.Sleep(while)
	rate := float64(p.acked.Load()-before) / time.Since(begin).Seconds()
	stop()
	working.Wait()
	if err := p.failed.Load(); err != nil {
		require.NoError(t, *err)
	}
	return rate
}

func (p *publishers) work(ctx context.Context) {
	for ctx.Err() == nil {
		var es []oncelog.Event
		for range 8 {
			e := someEvent(fmt.Sprint("overload-", p.next.Add(1)))
			e.Payload = fmt.Appendf(nil, `{"text":"%s"}`, largeText)
			es = append(es, e)
		}
		receipts, err := p.client.PublishBatch(ctx, es)
		if err != nil && ctx.Err() == nil {
			p.failed.CompareAndSwap(nil, &err)
		}
		p.acked.Add(int64(len(receipts)))
	}
}

var largeText = string(bytesOf('x', 32<<10))

// Ten times what keeps three nodes busy. What is too much is refused, as
// much is stored as before, and nothing is left in doubt and sent again.
func TestTenTimesWhatIsPossible(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t, func(c *Config) {
		c.RequestTimeout = 4 * time.Second
		c.Timing = Timing{Heartbeat: 3 * time.Second, Election: 3 * time.Second, Lease: 2 * time.Second}
		c.disk = func(s logStore) logStore { return pacedDisk{s, 8 << 20} }
	})
	var targets []string
	for _, n := range nodes {
		targets = append(targets, "http://"+n.Addr())
	}
	c, err := client.New(targets, client.WithConcurrency(160))
	require.NoError(t, err)
	defer c.Close()
	p := &publishers{client: c}
	busy := p.run(t, 16, 4*time.Second)
	require.Zero(t, c.Refused(), "what keeps the nodes busy is no overload")
	overloaded := p.run(t, 160, 6*time.Second)
	require.Positive(t, c.Refused())
	again := p.run(t, 16, 4*time.Second)
	t.Logf("%.0f events a second, then %.0f, then %.0f; %d requests were refused", busy, overloaded, again, c.Refused())
	require.GreaterOrEqual(t, overloaded, 0.9*min(busy, again), "of what it was before, or is after, if the machine has other work")
	state := awaitLevel(t, nodes)
	require.Equal(t, store.Counters{Received: state.Counters.Unique, Unique: state.Counters.Unique}, state.Counters)
	require.GreaterOrEqual(t, state.Counters.Unique, uint64(p.acked.Load()))
}
