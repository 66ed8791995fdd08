package cluster

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/httpapi/client"
	"github.com/oncelog/oncelog/loadgen"
)

// linked starts a cluster of real processes whose links can fail.
func linked(t *testing.T) (*Cluster, *Links) {
	t.Helper()
	c, err := StartProcesses(t.Context(), binary(), Options{Dir: t.TempDir(), Links: true})
	require.NoError(t, err)
	closeLater(t, c)
	links, err := c.Links(t.Context())
	require.NoError(t, err)
	return c, links
}

// The leader is cut off from both others.
func TestLeaderCutOff(t *testing.T) {
	c, links := linked(t)
	for name, fault := range map[string]func(*Links, *Node){
		"both ways":    (*Links).Isolate,
		"is not heard": func(l *Links, n *Node) { l.silenceAll(n, There) },
		"hears nobody": func(l *Links, n *Node) { l.silenceAll(n, Back) },
	} {
		t.Run(name, func(t *testing.T) { testLeaderCutOff(t, c, links, fault) })
	}
}

// silenceAll makes what a node sends, or what is sent to it, vanish.
func (l *Links) silenceAll(n *Node, w Way) {
	for _, other := range l.nodes {
		switch {
		case other == n:
		case w == There:
			l.Silence(n, other)
		default:
			l.Silence(other, n)
		}
	}
}

func testLeaderCutOff(t *testing.T, c *Cluster, links *Links, fault func(*Links, *Node)) {
	const events, between = 5000, 1000
	old, err := c.Leader(t.Context())
	require.NoError(t, err)
	majority := c.others(old)
	tr := newTrialOnce(t, c, majority, func(cfg *loadgen.Config) {
		cfg.Workload.Events, cfg.Batch, cfg.Concurrency, cfg.Rate = events, 10, 32, 2000
	})
	lonely := &lonely{node: old, topic: t.Name()}
	before := lostOn(links, old)
	report := tr.run(t, func(ctx context.Context) {
		require.NoError(t, tr.meter.reach(ctx, between))
		fault(links, old)
		cut := tr.meter.arm()
		require.Less(t, cut, int64(events-between), "the load was under way")
		lonely.publish(ctx)
		next, err := c.LeaderAmong(ctx, majority...)
		require.NoError(t, err)
		require.NoError(t, tr.meter.reach(ctx, cut+between), "the majority goes on")
		lonely.requireNoAck(t)
		links.Heal()
		healed := time.Now()
		require.NoError(t, c.WaitReady(ctx))
		t.Logf("%s took over from %s; gap in acked writes %s; level %s after healing", next.Name(), old.Name(),
			tr.meter.longestGap().Round(time.Millisecond), time.Since(healed).Round(time.Millisecond))
	})
	require.Empty(t, report.Errors, "clients of the majority see no error")
	for other, lost := range lostOn(links, old) {
		require.Greater(t, lost, before[other], "the links between %s and %s failed", old, other)
	}
	lonely.requireAckAfterAll(t)

	level, err := c.WaitLevel(t.Context())
	require.NoError(t, err)
	for _, s := range level {
		// The event that was given up may have been kept by the old leader's log.
		received := s.Received - tr.baseline.Received
		require.GreaterOrEqual(t, received, uint64(report.Sent)+1, s.Node)
		require.LessOrEqual(t, received, uint64(report.Sent+lonely.resent)+2, s.Node)
	}
	require.NoError(t, c.Check(t.Context()))
	contents, err := c.Contents(t.Context())
	require.NoError(t, err)
	tr.told.requireHeld(t, contents)
	_, err = old.Client().Publish(t.Context(), anEvent(t.Name(), "healed"))
	require.NoError(t, err, "the old leader takes events again")
}

// lostOn counts what the links between a node and each other one have refused,
// or made to vanish.
func lostOn(links *Links, n *Node) map[string]int64 {
	lost := make(map[string]int64)
	for _, other := range links.nodes {
		if other == n {
			continue
		}
		for _, l := range []*Link{links.Between(n, other), links.Between(other, n)} {
			traffic := l.Traffic()
			lost[other.Name()] += int64(traffic.Refused) + traffic.Vanished[There] + traffic.Vanished[Back]
		}
	}
	return lost
}

// lonely publishes through a node that is cut off.
type lonely struct {
	node  *Node
	topic string
	// impatient is the result of a request that gave up, patient of one that did not.
	impatient, patient chan error
	// resent is how often the patient one was sent again; patient's result comes after.
	resent int64
}

// publish sends one event with little time, which must fail, and one with enough
// for the partition to heal.
func (l *lonely) publish(ctx context.Context) {
	l.impatient, l.patient = make(chan error, 1), make(chan error, 1)
	go func() {
		short, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		_, err := l.node.Client().Publish(short, anEvent(l.topic, "impatient"))
		l.impatient <- err
	}()
	go func() {
		// The load may end before it is answered.
		patient, cancel := context.WithTimeout(context.WithoutCancel(ctx), defaultPatience)
		defer cancel()
		c, err := client.New([]string{l.node.URL()})
		if err == nil {
			defer c.Close()
			_, err = c.Publish(patient, anEvent(l.topic, "patient"))
			l.resent = c.Resent()
		}
		l.patient <- err
	}()
}

func (l *lonely) requireNoAck(t *testing.T) {
	t.Helper()
	err := <-l.impatient
	require.Error(t, err, "a minority acknowledges nothing")
	require.True(t, isOutcome(err), "%v", err)
	select {
	case err := <-l.patient:
		require.Fail(t, "an answer without a quorum", "%v", err)
	default:
	}
}

func isOutcome(err error) bool {
	for _, kind := range []error{oncelog.ErrNotApplied, oncelog.ErrOutcomeUnknown} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

func (l *lonely) requireAckAfterAll(t *testing.T) {
	t.Helper()
	require.NoError(t, <-l.patient, "what was in flight is stored once the partition has healed")
}

// The leader's replies to forwarded batches are lost after it has
// applied them. The followers send the batches again; nothing is counted twice,
// and each event is answered as the first time.
func TestRepliesLostAfterTheCommit(t *testing.T) {
	c, links := linked(t)
	const events = 8000
	leader, err := c.Leader(t.Context())
	require.NoError(t, err)
	followers := c.others(leader)
	tr := newTrialOnce(t, c, followers, func(cfg *loadgen.Config) {
		cfg.Workload.Events, cfg.Batch, cfg.Concurrency, cfg.Rate = events, 5, 32, 4000
	})
	report := tr.run(t, func(ctx context.Context) {
		require.NoError(t, tr.meter.reach(ctx, events/10))
		for i, f := range followers {
			links.Between(f, leader).LoseReplies(4 + 2*i)
		}
		require.NoError(t, tr.meter.reach(ctx, events*9/10))
		links.Heal()
	})
	lost := 0
	for _, f := range followers {
		n := links.Between(f, leader).Traffic().LostReplies
		require.Greater(t, n, 5, "replies to %s were lost", f)
		lost += n
	}
	require.Empty(t, report.Errors)
	still, err := c.Leader(t.Context())
	require.NoError(t, err)
	require.Equal(t, leader, still, "the leader went on leading")
	s := tr.verify(t, report)
	require.Equal(t, uint64(events), s.Received, "each event is counted once")
	require.Equal(t, uint64(report.Stored), s.Unique, "each stored event was told to be")
	require.Equal(t, uint64(report.Duplicates), s.Duplicates)
	t.Logf("%d replies lost; received %d of %d sent", lost, s.Received, events)
}
