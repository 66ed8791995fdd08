package node

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// simFault is a way to lose a leader, and to get it back.
type simFault struct {
	bring, mend func(*simNode)
	// within bounds the time until another leads.
	within func(Timing) time.Duration
}

// simFaults are by name.
func simFaults() map[string]simFault {
	// A dozen writes to disk, one after the other, and as many messages.
	atOnce := func(Timing) time.Duration { return 100 * time.Millisecond }
	return map[string]simFault{
		"killed":  {(*simNode).kill, (*simNode).start, atOnce},
		"shunned": {func(n *simNode) { n.shun(true) }, func(n *simNode) { n.shun(false) }, atOnce},
		"silent": {
			func(n *simNode) { n.silence(true) }, func(n *simNode) { n.silence(false) },
			func(t Timing) time.Duration { return t.Heartbeat*3/2 + 100*time.Millisecond },
		},
	}
}

// Leaders are lost in one way and another, while entries are written through whoever
// takes itself for the leader and read from anywhere. There are never two leaders of
// one term, another leads in time, and no read misses what was acknowledged before it.
func TestSimulatedElections(t *testing.T) {
	t.Parallel()
	for _, p := range []RaftProfile{RaftFast, RaftDefault, RaftSlow} {
		timing, err := p.Timing()
		require.NoError(t, err)
		for name, fault := range simFaults() {
			t.Run(string(p)+"/"+name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) { simulate(t, timing, fault) })
			})
		}
	}
}

// simElections is how many leaders are lost in one simulation.
const simElections = 20

func simulate(t *testing.T, timing Timing, fault simFault) {
	w := newSimWorld(t, timing)
	defer w.close()
	stop := w.work()
	var took []time.Duration
	for range simElections {
		leader := w.settle()
		before := w.answered()
		lost := time.Now()
		fault.bring(leader)
		w.awaitLeader(leader)
		took = append(took, time.Since(lost))
		w.await(func() bool { return w.answered() > before+10 })
		fault.mend(leader)
	}
	stop()
	slices.Sort(took)
	t.Logf("%d leaders lost, another led after %s, at most %s", len(took), took[len(took)/2], took[len(took)-1])
	require.LessOrEqual(t, took[len(took)-1], fault.within(timing))
}

// Two faults at a time, of any kind and on any nodes, whoever leads: standing for election
// and handing over are among them. The promises are the same, but for the time, and the
// nodes find together again.
func TestSimulatedFaultsAtOnce(t *testing.T) {
	t.Parallel()
	timing, err := RaftFast.Timing()
	require.NoError(t, err)
	synctest.Test(t, func(t *testing.T) {
		w := newSimWorld(t, timing)
		defer w.close()
		stop := w.work()
		faults := append(slices.Collect(maps.Values(simFaults())),
			simFault{bring: func(n *simNode) { n.unplug(true) }, mend: func(n *simNode) { n.unplug(false) }},
			simFault{bring: (*simNode).stand, mend: func(*simNode) {}},
			simFault{bring: (*simNode).handOver, mend: func(*simNode) {}},
		)
		w.settle()
		for range 3 * simElections {
			mendFirst := w.harm(faults)
			time.Sleep(rand.N(timing.Heartbeat))
			mendSecond := w.harm(faults)
			time.Sleep(rand.N(4 * timing.Heartbeat))
			mendFirst()
			mendSecond()
		}
		w.settle()
		stop()
		w.await(func() bool {
			return !slices.ContainsFunc(w.nodes, func(n *simNode) bool { return n.store.Applied().Index < w.acked })
		})
		t.Logf("%d leaders, %d reads, %d entries", len(w.leaders), w.reads, w.acked)
	})
}

// A leader that has lost all its Raft streams, but answers at its port, is left in
// place: it gets them back.
func TestSimulatedLeaderWithoutStreamsStays(t *testing.T) {
	t.Parallel()
	timing, err := RaftDefault.Timing()
	require.NoError(t, err)
	synctest.Test(t, func(t *testing.T) {
		w := newSimWorld(t, timing)
		defer w.close()
		leader := w.settle()
		term := leader.group.CurrentTerm()
		for range simElections {
			leader.unplug(true)
			time.Sleep(timing.Heartbeat / 10)
			leader.unplug(false)
			require.Equal(t, leader.id, w.settle().id)
			require.Equal(t, term, leader.group.CurrentTerm(), "there was no election")
		}
	})
}
