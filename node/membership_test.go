package node

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog/gossip"
)

func serverOf(id, name string, suffrage raft.ServerSuffrage) raft.Server {
	return raft.Server{ID: raft.ServerID(id), Address: raftAddress(id, "h:1", name), Suffrage: suffrage}
}

func voterOf(id, name string) raft.Server { return serverOf(id, name, raft.Voter) }

func TestDecideMembership(t *testing.T) {
	t.Parallel()
	member := func(id, name string, status gossip.Status) gossip.Member {
		return gossip.Member{Meta: gossip.Meta{ID: id, Name: name, RaftAddr: "h:2"}, Status: status}
	}
	alive := func(id, name string) gossip.Member { return member(id, name, gossip.Alive) }
	three := []raft.Server{voterOf("a", "n1"), voterOf("b", "n2"), voterOf("c", "n3")}
	two := []gossip.Member{alive("a", "n1"), alive("b", "n2")}
	for name, test := range map[string]struct {
		servers []raft.Server
		members []gossip.Member
		stable  bool
		want    change
	}{
		"all is well":              {three, append(two, alive("c", "n3")), true, change{}},
		"one is dead":              {three, append(two, member("c", "n3", gossip.Failed)), true, change{}},
		"one is unknown to gossip": {three, two, true, change{}},
		"a new node":               {three, append(two, alive("d", "n4")), true, change{joins, "d", "n4", "h:2"}},
		"a new node that is gone":  {three, append(two, member("d", "n4", gossip.Failed)), true, change{}},
		"a node that has left":     {three, append(two, member("d", "n4", gossip.Left)), true, change{}},
		"two new nodes, one at a time": {
			three, append(two, alive("d", "n4"), alive("e", "n5")), true,
			change{joins, "d", "n4", "h:2"},
		},
		"a name that is taken":    {three, append(two, alive("d", "n2")), true, change{}},
		"a successor":             {three, append(two, alive("d", "n3")), true, change{joins, "d", "n3", "h:2"}},
		"a successor, not stable": {append(three, serverOf("d", "n3", raft.Nonvoter)), append(two, alive("d", "n3")), false, change{}},
		"a successor, stable": {
			append(three, serverOf("d", "n3", raft.Nonvoter)), append(two, alive("d", "n3")), true,
			change{votes, "d", "n3", "h:2"},
		},
		"the dead goes": {
			append(three, voterOf("d", "n3")), append(two, alive("d", "n3"), member("c", "n3", gossip.Failed)), true,
			change{what: goes, id: "c", name: "n3"},
		},
		"the dead goes, forgotten": {
			append(three, voterOf("d", "n3")), append(two, alive("d", "n3")), true,
			change{what: goes, id: "c", name: "n3"},
		},
		"a fourth comes while one is dead": {
			append(three, serverOf("d", "n4", raft.Nonvoter)), append(two, alive("d", "n4")), true,
			change{votes, "d", "n4", "h:2"},
		},
		"five, of which two are dead, and one has a successor": {
			append(three, voterOf("e", "n5"), voterOf("f", "n6"), voterOf("d", "n3")),
			append(two, alive("d", "n3"), alive("f", "n6")), true,
			change{what: goes, id: "c", name: "n3"},
		},
		"too few would be alive": {append(three, voterOf("d", "n3")), []gossip.Member{alive("d", "n3")}, true, change{}},
		"the successor is dead":  {append(three, voterOf("d", "n3")), append(two, alive("c", "n3")), true, change{}},
		"equal names from the start, the first is away": {
			[]raft.Server{voterOf("a", "n"), voterOf("b", "n")}, []gossip.Member{alive("a", "n")}, true, change{},
		},
		"without names nobody goes": {
			[]raft.Server{{ID: "a", Address: "a@h:1"}, {ID: "b", Address: "b@h:1"}}, []gossip.Member{alive("b", "")}, true, change{},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := newView(test.servers, test.members)
			v.joining = v.outsiders()
			v.stable = make(map[string]bool)
			for _, s := range test.servers {
				v.stable[string(s.ID)] = test.stable
			}
			require.Equal(t, test.want, v.decide())
		})
	}
}

// Of two changes that were decided on one configuration, the first is made. Two nodes
// that leave at once could take the majority with them, though one of them may go.
func TestAChangeIsBoundToWhatItWasDecidedOn(t *testing.T) {
	t.Parallel()
	n := start(t, testNode(t, "n1"))
	awaitReady(t, n)
	_, at := n.membership.configuration()
	newcomer := func(name string) change { return change{joins, uuid.NewString(), name, "127.0.0.1:1"} }
	require.NoError(t, n.membership.do(newcomer("n2"), at))
	require.ErrorContains(t, n.membership.do(newcomer("n3"), at), "configuration changed")
	require.Eventually(t, func() bool {
		_, at = n.membership.configuration()
		return n.membership.do(newcomer("n4"), at) == nil
	}, 20*time.Second, 10*time.Millisecond)
	require.Len(t, n.group.voters(), 1)
	require.Len(t, n.group.GetConfiguration().Configuration().Servers, 3)
}

func TestSteadinessBeginsAnewWithEachGap(t *testing.T) {
	t.Parallel()
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	s := steadiness(nil).with([]string{"a", "b"}, at(1))
	s = s.with([]string{"a"}, at(2))
	s = s.with([]string{"a", "b"}, at(3))
	require.Equal(t, map[string]bool{"a": true, "b": false}, s.since(at(1)))
	require.Equal(t, map[string]bool{"a": true, "b": true}, s.since(at(3)))
	require.Equal(t, map[string]bool{"a": false, "b": false}, s.since(at(0)))
}

func TestMayLeave(t *testing.T) {
	t.Parallel()
	voter, nonvoter := voterOf("c", "n3"), serverOf("c", "n3", raft.Nonvoter)
	for name, test := range map[string]struct {
		target         raft.Server
		left           ballot
		answers, force bool
		refused        string
	}{
		"three of four stay":                 {voter, ballot{3, 3}, true, false, ""},
		"two of three stay":                  {voter, ballot{2, 2}, true, false, ""},
		"one of two stays":                   {voter, ballot{1, 1}, true, false, ""},
		"a majority stays":                   {voter, ballot{4, 3}, true, false, ""},
		"half stays":                         {voter, ballot{4, 2}, true, false, "4 voters would be left, 2 of them alive and level, where 3 are needed"},
		"one of three is down already":       {voter, ballot{2, 1}, true, false, "start the others"},
		"force makes no majority":            {voter, ballot{2, 1}, false, true, "2 are needed"},
		"the last voter":                     {voter, ballot{0, 0}, true, true, "last voter"},
		"a dead one":                         {voter, ballot{2, 2}, false, false, "does not answer"},
		"a dead one by force":                {voter, ballot{2, 2}, false, true, ""},
		"without a vote":                     {nonvoter, ballot{3, 2}, true, false, ""},
		"without a vote, whoever is left":    {nonvoter, ballot{3, 1}, true, false, ""},
		"without a vote, and dead":           {nonvoter, ballot{3, 3}, false, false, "does not answer"},
		"without a vote, and dead, by force": {nonvoter, ballot{3, 3}, false, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reason := mayLeave(test.target, test.left, test.answers, test.force)
			if test.refused == "" {
				require.Empty(t, reason)
				return
			}
			require.Contains(t, reason, test.refused)
		})
	}
}

func TestFailureTolerance(t *testing.T) {
	t.Parallel()
	for b, want := range map[ballot]int{
		{1, 1}: 0, {2, 2}: 0, {3, 3}: 1, {3, 2}: 0, {3, 1}: 0, {4, 4}: 1, {5, 5}: 2, {5, 4}: 1, {7, 7}: 3, {0, 0}: 0,
	} {
		require.Equal(t, want, b.tolerance(), "%+v", b)
	}
}

// One node after the other comes back with other ports, and the last one with
// another host, until no address is what it was. All stay who they are.
func TestNodesMoveToOtherAddresses(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t, func(c *Config) { c.Timing = patientTiming })
	ids := make(map[string]string)
	for _, n := range nodes {
		ids[n.c.Name] = n.ID()
	}
	for i, n := range nodes {
		old := n.raftAddr()
		require.NoError(t, n.Close())
		host := "127.0.0.1:0"
		if i == len(nodes)-1 {
			host = "127.0.0.2:0"
		}
		n.c.HTTPAddr, n.c.RaftAddr, n.c.GossipAddr = host, host, host
		n.c.Join = nil
		for _, other := range nodes {
			if other != n {
				n.c.Join = append(n.c.Join, other.GossipAddr())
			}
		}
		n.restart()
		require.NotEqual(t, old, n.raftAddr())
		awaitReady(t, nodes[0].Node, nodes[1].Node, nodes[2].Node)
		_, err := n.publish(t.Context(), bulky(10*i, 10*i+10))
		require.NoError(t, err)
		awaitLevel(t, nodes) // the leader reaches it where it is now
	}
	for _, by := range nodes {
		c := awaitVoters(t, by.Node, 3)
		require.Len(t, c.Nodes, 3)
		for i, m := range c.Nodes {
			require.Equal(t, ids[m.Name], m.ID, "the same member")
			require.Equal(t, nodes[i].raftAddr(), m.RaftAddr)
			require.Equal(t, nodes[i].Addr(), m.HTTPAddr)
			require.Equal(t, nodes[i].GossipAddr(), m.GossipAddr)
		}
	}
}

// A dial that began for the old address ends at the new one.
func TestAPeerThatHasMovedIsDialledWhereItIs(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t, func(c *Config) { c.Timing = patientTiming })
	leader, others := leaderOf(t, nodes)
	away := others[0]
	to := away.group.gate.LocalAddr()
	require.NoError(t, away.Close())
	dialled := make(chan error, 1)
	go func() {
		conn, err := raftStreams{newStreamListener("the test"), leader.caller.peers}.Dial(to, time.Minute)
		if err == nil {
			err = conn.Close()
		}
		dialled <- err
	}()
	away.c.RaftAddr = "127.0.0.2:0"
	away.restart()
	require.NoError(t, <-dialled)
}

func TestRaftAddress(t *testing.T) {
	t.Parallel()
	a := raftAddress("7b0b8e55", "[::1]:7000", "a name @ home")
	require.Equal(t, "[::1]:7000", hostPort(a))
	require.Equal(t, "a name @ home", nameIn(a))
	require.Equal(t, "127.0.0.1:7000", hostPort("7b0b8e55@127.0.0.1:7000"))
	require.Empty(t, nameIn("7b0b8e55@127.0.0.1:7000"))
}
