package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
)

// partitionVariable says how long the long partitions last, such as "70s".
const partitionVariable = "ONCELOG_PARTITION"

func partitionTime(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv(partitionVariable)
	if text == "" {
		return 3 * time.Second
	}
	d, err := time.ParseDuration(text)
	require.NoError(t, err, partitionVariable)
	return d
}

// A node is cut off for long. First its links fail, while gossip still
// sees it; then it is paused, so that gossip gives it up too. It stays a voter, and
// everybody finds it again.
func TestLongPartition(t *testing.T) {
	t.Parallel()
	length := partitionTime(t)
	ch := newChaos(t, chaosSeed(t))
	chance := rand.New(rand.NewPCG(ch.seed, 0))
	ch.underLoad(t, func(ctx context.Context) {
		links, err := ch.cluster.Links(ctx)
		require.NoError(t, err)
		apart := ch.nemesis.leader(ctx, chance)
		links.Isolate(apart)
		ch.staysVoter(t, apart, oncelog.Alive, length)
		links.Heal()
		ch.wholeAgain(t, "links")

		apart = ch.nemesis.leader(ctx, chance)
		require.NoError(t, apart.Pause())
		ch.staysVoter(t, apart, oncelog.Failed, length)
		require.NoError(t, apart.Continue())
		ch.wholeAgain(t, "a pause")
	})
	ch.requireWhole(t)
	t.Log(ch.summary(t))
}

// staysVoter waits until a node has been apart for so long, and gossip has come to
// see it as it should.
func (ch *chaos) staysVoter(t *testing.T, apart *Node, seen oncelog.Liveness, length time.Duration) {
	t.Helper()
	for _, n := range ch.cluster.Alive() {
		if n != apart {
			require.NoError(t, ch.cluster.Await(t.Context(), "gossip to see it "+string(seen), func(ctx context.Context) error {
				return n.sees(ctx, apart, seen)
			}))
		}
	}
	rest(t.Context(), length)
	for _, n := range ch.cluster.Alive() {
		if n != apart {
			require.NoError(t, n.haveVotes(t.Context(), ch.nemesis.begun(), ""))
			require.NoError(t, n.sees(t.Context(), apart, seen))
		}
	}
}

// sees asks a node how gossip sees another one.
func (n *Node) sees(ctx context.Context, other *Node, want oncelog.Liveness) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	view, err := n.Client().Cluster(ctx)
	if err != nil {
		return err
	}
	for _, m := range view.Nodes {
		if m.Name == other.Name() && m.Status != want {
			return fmt.Errorf("it sees %s %s", m.Name, m.Status)
		}
	}
	return nil
}

// wholeAgain waits until all nodes are ready and gossip sees all of them alive.
func (ch *chaos) wholeAgain(t *testing.T, after string) {
	t.Helper()
	healed := time.Now()
	require.NoError(t, ch.cluster.WaitReady(t.Context()))
	ready := time.Since(healed)
	require.NoError(t, ch.cluster.Await(t.Context(), "gossip to see all alive", func(ctx context.Context) error {
		return ch.cluster.eachAlive(func(n *Node) error {
			for _, other := range ch.nemesis.begun() {
				if err := n.sees(ctx, other, oncelog.Alive); err != nil {
					return err
				}
			}
			return nil
		})
	}))
	require.NoError(t, ch.nemesis.heal(t.Context()))
	t.Logf("after %s: all ready after %s, all seen alive after %s", after, ready.Round(time.Millisecond), time.Since(healed).Round(time.Millisecond))
}

// The leader is paused for 4 s and continues, under load. No read is
// from the past, and no acknowledgement is lost.
func TestLeaderPausedForFourSeconds(t *testing.T) {
	t.Parallel()
	ch := newChaos(t, chaosSeed(t))
	chance := rand.New(rand.NewPCG(ch.seed, 0))
	ch.underLoad(t, func(ctx context.Context) {
		ch.await(t, "events to be stored", 50, toldStored)
		old := ch.nemesis.leader(ctx, chance)
		require.NoError(t, old.Pause())
		rest(ctx, 4*time.Second)
		require.NoError(t, old.Continue())
		ch.await(t, "events to be stored", 50, toldStored)
		next, err := ch.cluster.Leader(ctx)
		require.NoError(t, err)
		require.NotEqual(t, old, next, "another node leads")
	})
	ch.requireWhole(t)
	t.Log(ch.summary(t))
}
