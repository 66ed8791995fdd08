package cluster

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// healTime bounds how long a cluster takes until all nodes are ready, once the
// links between them are whole.
const healTime = 10 * time.Second

// Each two nodes are cut off from each other, both ways and one way,
// while a third one reaches both, which is the bridge. The nodes that the leader
// reaches take events all the while.
func TestEachPairCutOff(t *testing.T) {
	ch := newChaos(t, chaosSeed(t))
	links, err := ch.cluster.Links(t.Context())
	require.NoError(t, err)
	ch.underLoad(t, func(ctx context.Context) {
		nodes := ch.nemesis.begun()
		for i, a := range nodes {
			for _, b := range nodes[i+1:] {
				ch.cutPair(ctx, t, links, a, b, "both ways", func() { links.Cut(a, b) })
				ch.cutPair(ctx, t, links, a, b, "one way", func() { links.Silence(a, b) })
				ch.cutPair(ctx, t, links, a, b, "the other way", func() { links.Silence(b, a) })
			}
		}
	})
	ch.requireWhole(t)
	t.Log(ch.summary(t))
}

// cutPair cuts two nodes off from each other until the others have taken events,
// and sees that they find together again.
func (ch *chaos) cutPair(ctx context.Context, t *testing.T, links *Links, a, b *Node, name string, cut func()) {
	t.Helper()
	leader, err := ch.cluster.Leader(ctx)
	require.NoError(t, err)
	before := lostAnywhere(links)
	cut()
	// Whoever shows the cluster asks all the others.
	require.NoError(t, ch.cluster.Await(ctx, "the link to fail something", func(ctx context.Context) error {
		for _, n := range []*Node{a, b} {
			if _, err := n.Client().Cluster(ctx); err != nil {
				return err
			}
		}
		if lostAnywhere(links) == before {
			return errors.New("nothing is lost")
		}
		return nil
	}))
	apart := a
	if leader == a {
		apart = b
	}
	probe := ch.traffic.asker(testsOwn)
	for _, n := range ch.nemesis.begun() {
		if n == apart && (leader == a || leader == b) {
			continue
		}
		for range 5 {
			answer := probe.publish(ctx, n, 1)
			require.Contains(t, []told{toldStored, toldDuplicate}, answer, "%s takes events while %s and %s are cut off from each other, %s", n, a, b, name)
		}
	}
	links.Heal()
	healed := time.Now()
	waiting, cancel := context.WithTimeout(ctx, healTime)
	defer cancel()
	require.NoError(t, ch.cluster.WaitReady(waiting))
	t.Logf("%s led; %s and %s were cut off from each other, %s; whole %s after healing",
		leader.Name(), a.Name(), b.Name(), name, time.Since(healed).Round(time.Millisecond))
}
