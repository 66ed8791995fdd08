package node

import (
	"testing"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog/gossip"
)

func TestDecideMembership(t *testing.T) {
	t.Parallel()
	server := func(id, name string, suffrage raft.ServerSuffrage) raft.Server {
		return raft.Server{ID: raft.ServerID(id), Address: raftAddress(id, "h:1", name), Suffrage: suffrage}
	}
	voter := func(id, name string) raft.Server { return server(id, name, raft.Voter) }
	member := func(id, name, cluster string, status gossip.Status) gossip.Member {
		return gossip.Member{Meta: gossip.Meta{ID: id, Name: name, ClusterID: cluster, RaftAddr: "h:2"}, Status: status}
	}
	alive := func(id, name string) gossip.Member { return member(id, name, "home", gossip.Alive) }
	three := []raft.Server{voter("a", "n1"), voter("b", "n2"), voter("c", "n3")}
	two := []gossip.Member{alive("a", "n1"), alive("b", "n2")}
	for name, test := range map[string]struct {
		servers []raft.Server
		members []gossip.Member
		level   bool
		want    change
	}{
		"all is well":                                   {three, append(two, alive("c", "n3")), true, change{}},
		"one is dead":                                   {three, append(two, member("c", "n3", "home", gossip.Failed)), true, change{}},
		"one is unknown to gossip":                      {three, two, true, change{}},
		"a new node":                                    {three, append(two, member("d", "n4", "", gossip.Alive)), true, change{joins, "d", "n4", "h:2"}},
		"a new node that is gone":                       {three, append(two, member("d", "n4", "", gossip.Failed)), true, change{}},
		"a node of another cluster":                     {three, append(two, member("d", "n4", "away", gossip.Alive)), true, change{}},
		"a name that is taken":                          {three, append(two, member("d", "n2", "", gossip.Alive)), true, change{}},
		"a successor":                                   {three, append(two, member("d", "n3", "", gossip.Alive)), true, change{joins, "d", "n3", "h:2"}},
		"a successor, not level":                        {append(three, server("d", "n3", raft.Nonvoter)), append(two, alive("d", "n3")), false, change{}},
		"a successor, level":                            {append(three, server("d", "n3", raft.Nonvoter)), append(two, alive("d", "n3")), true, change{votes, "d", "n3", "h:2"}},
		"the dead goes":                                 {append(three, voter("d", "n3")), append(two, alive("d", "n3"), member("c", "n3", "home", gossip.Failed)), true, change{what: goes, id: "c", name: "n3"}},
		"the dead goes, forgotten":                      {append(three, voter("d", "n3")), append(two, alive("d", "n3")), true, change{what: goes, id: "c", name: "n3"}},
		"the successor is dead":                         {append(three, voter("d", "n3")), append(two, alive("c", "n3")), true, change{}},
		"equal names from the start, the first is away": {[]raft.Server{voter("a", "n"), voter("b", "n")}, []gossip.Member{alive("a", "n")}, true, change{}},
		"without names nobody goes":                     {[]raft.Server{{ID: "a", Address: "a@h:1"}, {ID: "b", Address: "b@h:1"}}, []gossip.Member{alive("b", "")}, true, change{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, test.want, decide(test.servers, test.members, "home", func(string) bool { return test.level }))
		})
	}
}

func TestRaftAddress(t *testing.T) {
	t.Parallel()
	a := raftAddress("7b0b8e55", "[::1]:7000", "a name @ home")
	require.Equal(t, "[::1]:7000", hostPort(a))
	require.Equal(t, "a name @ home", nameIn(a))
	require.Equal(t, "127.0.0.1:7000", hostPort("7b0b8e55@127.0.0.1:7000"))
	require.Empty(t, nameIn("7b0b8e55@127.0.0.1:7000"))
}
