package node

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
)

// Which of the voters stands for election when the first, the leader, has ended.
func TestOneVoterStandsForElection(t *testing.T) {
	t.Parallel()
	a, b, c, d := uuid.UUID{1}, uuid.UUID{2}, uuid.UUID{3}, uuid.UUID{4}
	for name, test := range map[string]struct {
		voters int
		claims map[uuid.UUID]claim
		want   uuid.UUID
	}{
		"equals: the lowest id":      {3, map[uuid.UUID]claim{a: {true, 2, 7}, b: {true, 2, 7}}, a},
		"the longer log":             {3, map[uuid.UUID]claim{a: {true, 2, 7}, b: {true, 2, 8}}, b},
		"the later term":             {3, map[uuid.UUID]claim{a: {true, 2, 8}, b: {true, 3, 7}}, b},
		"one of three is no quorum":  {3, map[uuid.UUID]claim{a: {true, 2, 7}, b: {}}, uuid.Nil},
		"one of two is no quorum":    {2, map[uuid.UUID]claim{a: {true, 2, 7}}, uuid.Nil},
		"two of four are no quorum":  {4, map[uuid.UUID]claim{a: {true, 2, 7}, b: {true, 2, 7}, c: {}}, uuid.Nil},
		"three of five":              {5, map[uuid.UUID]claim{a: {}, b: {true, 2, 7}, c: {true, 2, 7}, d: {true, 2, 7}}, b},
		"who sees it not stands not": {5, map[uuid.UUID]claim{a: {false, 9, 9}, b: {true, 2, 7}, c: {true, 2, 7}, d: {true, 2, 8}}, d},
		"nobody sees it":             {3, map[uuid.UUID]claim{a: {}, b: {}}, uuid.Nil},
	} {
		require.Equal(t, test.want, first(test.claims, test.voters), name)
	}
}

// startPatient starts nodes whose time-outs, once they have a leader, end no test.
func startPatient(t *testing.T) []*restartable {
	t.Helper()
	nodes := startCluster(t, func(c *Config) {
		c.Timing = Timing{Heartbeat: 3 * time.Second, Election: 4500 * time.Millisecond, Lease: 3 * time.Second}
	})
	for _, n := range nodes {
		before := n.group.ReloadableConfig()
		patient := before
		patient.HeartbeatTimeout, patient.ElectionTimeout = time.Hour, time.Hour
		require.NoError(t, n.group.ReloadConfig(patient))
		t.Cleanup(func() {
			require.NoError(t, n.group.ReloadConfig(before), "a transfer of leadership at the end waits as long")
		})
	}
	return nodes
}

// The leader's port and its connections are closed, as the kernel closes those of a
// dead process; Raft's time-outs have no part in what follows.
func TestALeaderThatHasEndedIsFollowedAtOnce(t *testing.T) {
	t.Parallel()
	nodes := startPatient(t)
	_, err := nodes[0].publish(t.Context(), bulky(0, 100))
	require.NoError(t, err)
	leader, others := leaderOf(t, nodes)
	term := leader.group.CurrentTerm()
	require.NoError(t, leader.port.Close())
	for _, n := range others {
		_, err := n.publish(t.Context(), []oncelog.Event{someEvent(n.c.Name)})
		require.NoError(t, err)
		_, err = n.Stats(t.Context(), oncelog.Linearizable)
		require.NoError(t, err)
	}
	require.Equal(t, term+1, others[0].group.CurrentTerm(), "one election: nobody stood against another")
}

// A leader that lives is left alone by followers that have lost their connections to
// it, and so is one that only some of them have lost.
func TestALeaderThatLivesIsNotTakenOver(t *testing.T) {
	t.Parallel()
	nodes := startPatient(t)
	leader, others := leaderOf(t, nodes)
	term := leader.group.CurrentTerm()
	lost := vacancy{Leader: uuid.MustParse(leader.ID()), Term: term}
	for range 5 {
		for _, n := range others {
			dropStreams(n.port.raft)
		}
		for _, n := range others {
			require.Equal(t, claim{}, n.takeover.claim(t.Context(), lost), "its port answers")
			require.False(t, n.takeover.mayStand(t.Context(), lost))
		}
	}
	for _, n := range others {
		require.Eventually(t, func() bool { return n.port.raft.connected(lost.Leader) }, 20*time.Second, time.Millisecond)
	}
	_, err := leader.publish(t.Context(), []oncelog.Event{someEvent("a")})
	require.NoError(t, err)
	require.Equal(t, term, leader.group.CurrentTerm(), "there was no election")
}

// dropStreams cuts all Raft streams of a node, as a network may.
func dropStreams(l *streamListener) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.open {
		_ = c.Conn.Close()
	}
}

// A voter that still hears the leader, that knows another one, or that is in another
// term has no claim, though nobody may answer at the leader's port.
func TestAClaimIsOfOneVacancy(t *testing.T) {
	t.Parallel()
	nodes := startPatient(t)
	leader, others := leaderOf(t, nodes)
	lost := vacancy{Leader: uuid.MustParse(leader.ID()), Term: leader.group.CurrentTerm()}
	n := others[0]
	nobody := vacancy{Leader: uuid.New(), Term: lost.Term}
	require.Equal(t, claim{}, n.takeover.claim(t.Context(), nobody), "it follows another")

	require.NoError(t, leader.raftListener.Close())
	require.True(t, n.takeover.ended(t.Context(), lost.Leader))
	require.Equal(t, claim{}, n.takeover.claim(t.Context(), lost), "it hears the leader")
	require.Equal(t, raft.Leader, leader.group.State())

	require.NoError(t, leader.port.Close())
	require.Eventually(t, func() bool { return n.group.CurrentTerm() > lost.Term }, 20*time.Second, time.Millisecond)
	require.Equal(t, claim{}, n.takeover.claim(t.Context(), lost), "it is past that term")
}

// Whether a process is behind an address.
func TestAHangUpIsToldFromSilence(t *testing.T) {
	t.Parallel()
	p, theirs := portOf(t, "n1")
	_, ours := portOf(t, "n2")
	target, addr := theirs.get().NodeID, p.listener.Addr().String()
	dial := func(target uuid.UUID, addr string) error {
		ctx, cancel := context.WithTimeout(t.Context(), takeoverAsk)
		defer cancel()
		conn, err := dialPeer(ctx, ours, target, addr, streamCalls)
		if err == nil {
			err = conn.Close()
		}
		return err
	}
	require.False(t, hungUp(dial(target, addr)), "it lives")
	require.False(t, hungUp(dial(uuid.New(), addr)), "another node answers")
	require.NoError(t, p.Close())
	require.True(t, hungUp(dial(target, addr)), "the port is closed")

	for name, test := range map[string]struct {
		behave func(*net.TCPConn) error
		want   bool
	}{
		"a proxy without a node behind it": {(*net.TCPConn).Close, true},
		"a connection that is reset":       {func(c *net.TCPConn) error { return errors.Join(c.SetLinger(0), c.Close()) }, true},
		"a process that is paused":         {func(*net.TCPConn) error { return nil }, false},
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		accepted := make(chan net.Conn, 1)
		go func() {
			conn, _ := l.Accept()
			_ = test.behave(conn.(*net.TCPConn))
			accepted <- conn
		}()
		require.Equal(t, test.want, hungUp(dial(target, l.Addr().String())), name)
		_ = (<-accepted).Close()
		require.NoError(t, l.Close())
	}
}
