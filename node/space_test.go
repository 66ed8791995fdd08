package node

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
)

// A node whose disk is nearly full takes no events, reads on, says that
// it is not ready and hands leadership over; with room it is a node as before.
func TestADiskThatIsNearlyFull(t *testing.T) {
	t.Parallel()
	free := map[string]*atomic.Uint64{}
	nodes := startCluster(t, func(c *Config) {
		room := new(atomic.Uint64)
		room.Store(1 << 40)
		free[c.Name] = room
		c.DiskReserve = 1000
		c.RequestTimeout = 5 * time.Second
		c.free = func() (uint64, error) { return room.Load(), nil }
	})
	leader, others := leaderOf(t, nodes)
	room := func(bytes uint64) {
		free[leader.c.Name].Store(bytes)
		leader.space.look(t.Context())
	}
	publish := func(n *restartable, id string) error {
		_, err := n.publish(t.Context(), []oncelog.Event{someEvent(id)})
		return err
	}
	room(1000)
	require.NoError(t, publish(leader, "before"))

	room(999)
	require.Eventually(t, func() bool {
		id, known, _ := others[0].leadership.leader()
		return known && id.String() != leader.ID()
	}, 10*time.Second, 10*time.Millisecond, "a node with room leads")
	require.ErrorIs(t, publish(leader, "here"), oncelog.ErrDiskFull)
	require.ErrorIs(t, leader.enqueue([]oncelog.Event{someEvent("here")}), oncelog.ErrDiskFull)
	require.ErrorIs(t, leader.Ready(t.Context()), oncelog.ErrDiskFull)
	require.NoError(t, publish(others[0], "there"), "the others serve")
	stats, err := leader.Stats(t.Context(), oncelog.Linearizable)
	require.NoError(t, err, "reads go on")
	require.EqualValues(t, 2, stats.Unique)

	room(1249)
	require.ErrorIs(t, publish(leader, "not yet"), oncelog.ErrDiskFull, "a little room is not enough")
	room(1250)
	require.NoError(t, publish(leader, "again"))
	awaitReady(t, leader.Node)
}

// With no room anywhere, a write that was let in waits for as long as it may, and
// then says why it was not stored.
func TestADiskThatIsNearlyFullEverywhere(t *testing.T) {
	t.Parallel()
	low := make(map[string]*atomic.Bool)
	nodes := startCluster(t, func(c *Config) {
		own := new(atomic.Bool)
		low[c.Name] = own
		c.free = func() (uint64, error) {
			if own.Load() {
				return 0, nil
			}
			return 1 << 40, nil
		}
	})
	leader, others := leaderOf(t, nodes)
	// The leader is last: it looks by itself too, and would make way for another.
	all := []*restartable{others[0], others[1], leader}
	look := func(isLow bool) {
		for _, n := range all {
			low[n.config.Name].Store(isLow)
			n.space.look(t.Context())
		}
	}
	look(true)
	// As if they had come in just before.
	pieces := func(wait time.Duration) []*piece {
		return cut([]oncelog.Event{someEvent("late")}, time.Now().Add(wait))
	}
	for _, n := range all {
		late := pieces(attemptTime + 500*time.Millisecond)
		require.NoError(t, n.proposer.enqueue(late))
		err := n.proposer.wait(t.Context(), late)[0].err
		require.ErrorIs(t, err, oncelog.ErrDiskFull)
		require.NotErrorIs(t, err, oncelog.ErrOutcomeUnknown, "it is certainly not stored")
	}
	id, _, _ := leader.leadership.leader()
	require.Equal(t, leader.ID(), id.String(), "nobody else could lead better")
	patient := pieces(20 * time.Second)
	require.NoError(t, others[0].proposer.enqueue(patient))
	look(false)
	require.NoError(t, others[0].proposer.wait(t.Context(), patient)[0].err, "with room, it is stored")
}

func TestSpaceThatCannotBeTold(t *testing.T) {
	t.Parallel()
	s := &space{reserve: 1, free: func() (uint64, error) { return 0, errors.New("no such call") }, logger: logOf(t)}
	s.look(context.Background())
	require.NoError(t, s.err(), "a node does not stop taking events for what it does not know")
}
