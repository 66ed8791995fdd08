package node

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/raftfsm/store"
)

// patientTiming is for tests in which nobody else has to lead however busy the
// machine is.
var patientTiming = Timing{Heartbeat: 1500 * time.Millisecond, Election: 2250 * time.Millisecond, Lease: 1200 * time.Millisecond}

// wrongClock is off by so many nanoseconds.
type wrongClock struct{ atomic.Int64 }

func (c *wrongClock) now() time.Time { return time.Now().Add(time.Duration(c.Load())) }

// The nodes' clocks are years apart, and jump while their nodes lead. Order,
// duplicates and ids are as ever, and processed_at never steps back.
func TestClocksThatAreOffMoveNothing(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	chance := rand.New(rand.NewPCG(seed, 12))
	clocks := map[string]*wrongClock{}
	nodes := startCluster(t, func(c *Config) {
		clock := new(wrongClock)
		clocks[c.Name], c.Clock = clock, clock.now
		c.Timing = patientTiming
	})
	const rounds, batch, year = 12, 20, 365 * 24 * time.Hour
	for round := range rounds {
		leader := handOver(t, nodes[0].Node, nodes[round/2%3].c.Name)
		clocks[leader].Store(chance.Int64N(int64(40*year)) - int64(30*year))
		publishRound(t, nodes, round, batch)
	}
	requireLevel(t, nodes, store.Counters{Received: 2*rounds*batch - batch, Unique: rounds * batch, Duplicates: rounds*batch - batch})
	for _, n := range nodes {
		at, id, held := time.Time{}, uint64(0), 0
		for r, err := range n.Events(t.Context(), oncelog.Query{}, oncelog.Linearizable) {
			require.NoError(t, err)
			id++
			require.Equal(t, id, r.ID)
			require.False(t, r.ProcessedAt.Before(at), "event %d of %s", r.ID, n.c.Name)
			if id > 1 && id%batch == 1 && r.ProcessedAt.Equal(at) {
				held++
			}
			at = r.ProcessedAt
		}
		require.Positive(t, held, "a clock was behind, and the time stood still")
	}
}

// publishRound publishes new events, and those of the round before once more.
func publishRound(t *testing.T, nodes []*restartable, round, size int) {
	t.Helper()
	for _, r := range []int{round - 1, round} {
		if r < 0 {
			continue
		}
		var es []oncelog.Event
		for i := range size {
			es = append(es, someEvent(fmt.Sprintf("round %d, event %d", r, i)))
		}
		receipts, err := nodes[(r+round)%3].publish(t.Context(), es)
		require.NoError(t, err)
		for i, receipt := range receipts {
			require.Equal(t, uint64(r*size+i+1), receipt.ID)
			require.Equal(t, r == round, receipt.Status == oncelog.Stored)
		}
	}
}
