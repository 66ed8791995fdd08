package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/raftfsm/store"
)

// peersFile is what an operator writes.
func peersFile(nodes ...*restartable) string {
	text := "["
	for i, n := range nodes {
		if i > 0 {
			text += ","
		}
		text += fmt.Sprintf(`{"id": %q, "address": %q}`, n.ID(), n.c.RaftAddr)
	}
	return text + "]"
}

func writePeers(t *testing.T, dir, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "peers.json"), []byte(text), 0o600))
}

// Two of three directories are destroyed. The last node recovers alone, has every
// event that it acknowledged, serves, and two new nodes join and get votes.
func TestTheLastOfThreeRecoversAlone(t *testing.T) {
	t.Parallel()
	forLogStores(t, theLastOfThreeRecovers)
}

func theLastOfThreeRecovers(t *testing.T, kind logKind) {
	nodes := startCluster(t, func(c *Config) { c.LogStore, c.Timing = kind.name, patientTiming })
	_, err := nodes[0].publish(t.Context(), bulky(0, 300))
	require.NoError(t, err)
	before := awaitLevel(t, nodes)
	last, gone := nodes[1], []*restartable{nodes[0], nodes[2]}
	for _, n := range nodes {
		require.NoError(t, n.Close())
	}
	for _, n := range gone {
		require.NoError(t, os.RemoveAll(n.c.DataDir))
	}
	writePeers(t, last.c.DataDir, peersFile(last))
	last.restart()
	awaitReady(t, last.Node)
	require.NoFileExists(t, filepath.Join(last.c.DataDir, "peers.json"))
	require.FileExists(t, filepath.Join(last.c.DataDir, "peers.info"))
	require.Equal(t, before.Counters, last.group.store.State().Counters)
	awaitVoters(t, last.Node, 1)

	for _, n := range gone {
		n.restart()
	}
	awaitReady(t, nodes[0].Node, nodes[1].Node, nodes[2].Node)
	for _, n := range nodes {
		awaitVoters(t, n.Node, 3)
	}
	receipts, err := gone[0].publish(t.Context(), bulky(0, 400))
	require.NoError(t, err)
	for i, r := range receipts {
		require.Equal(t, uint64(i+1), r.ID, "what was acknowledged has its id")
		require.Equal(t, i < 300, r.Status == oncelog.Duplicate)
	}
	requireLevel(t, nodes, store.Counters{Received: 700, Unique: 400, Duplicates: 300})

	// Again from the start: the file is not followed twice, and the log is sound.
	require.NoError(t, last.Close())
	_, err = Verify(last.c.DataDir)
	require.NoError(t, err)
	last.restart()
	awaitReady(t, last.Node)
	require.Len(t, last.group.GetConfiguration().Configuration().Servers, 3)
}

// Two survivors, of which one is behind, are given the same file: what the other
// one has acknowledged stays.
func TestTwoSurvivorsRecoverTogether(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t, func(c *Config) { c.Timing = patientTiming })
	leader, others := leaderOf(t, nodes)
	behind, gone := others[0], others[1]
	_, err := leader.publish(t.Context(), bulky(0, 50))
	require.NoError(t, err)
	require.NoError(t, behind.Close())
	_, err = leader.publish(t.Context(), bulky(50, 90))
	require.NoError(t, err)
	require.NoError(t, gone.Close())
	require.NoError(t, leader.Close())
	require.NoError(t, os.RemoveAll(gone.c.DataDir))

	both := []*restartable{behind, leader}
	for _, n := range both {
		writePeers(t, n.c.DataDir, peersFile(both...))
		n.restart()
	}
	awaitReady(t, behind.Node, leader.Node)
	awaitVoters(t, behind.Node, 2)
	receipts, err := behind.publish(t.Context(), bulky(0, 90))
	require.NoError(t, err)
	for i, r := range receipts {
		require.Equal(t, oncelog.Receipt{Key: r.Key, Status: oncelog.Duplicate, ID: uint64(i + 1)}, r)
	}
	requireLevel(t, both, store.Counters{Received: 180, Unique: 90, Duplicates: 90})
}

// Nodes that were given up return with their old directories, which have a majority
// of the old voters. They are members no more, and find out: before Raft starts, where
// they can ask the others at once, or else soon.
func TestNodesThatWereGivenUpStayOut(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t, func(c *Config) { c.Timing = patientTiming })
	awaitLevel(t, nodes)
	for _, n := range nodes {
		require.Eventually(t, func() bool { return n.identity.get().MemberAt > 0 }, 10*time.Second, 10*time.Millisecond)
	}
	for _, n := range nodes {
		require.NoError(t, n.Close())
	}
	last, meets, lonely := nodes[2], nodes[0], nodes[1]
	writePeers(t, last.c.DataDir, peersFile(last))
	last.restart()
	awaitReady(t, last.Node)

	id, err := openIdentity(meets.c.DataDir, meets.c.Name)
	require.NoError(t, err)
	asks := &standing{identity: id, gossip: last.gossip, caller: last.caller}
	require.Eventually(t, func() bool { return errors.Is(asks.claim(t.Context(), meets.c.DataDir), ErrLeft) },
		20*time.Second, 10*time.Millisecond, "whoever can be asked says so")
	require.NoError(t, id.Close())
	lonely.c.Join, lonely.c.BootstrapExpect = nil, 1
	lonely.restart() // the others will find it
	awaitEnd(t, lonely)
	for _, n := range []*restartable{meets, lonely} {
		_, err := New(n.c)
		require.ErrorIs(t, err, ErrLeft)
		require.ErrorContains(t, err, n.c.DataDir)
	}
	require.Equal(t, 1, awaitVoters(t, last.Node, 1).Voters)
}

func TestARecoveryFileThatCanNotBeFollowedChangesNothing(t *testing.T) {
	t.Parallel()
	c := testNode(t, "alone")
	n, err := New(c)
	require.NoError(t, err)
	awaitReady(t, n)
	own := n.ID()
	require.NoError(t, n.Close())
	before, err := Verify(c.DataDir)
	require.NoError(t, err)
	for name, test := range map[string]struct{ text, want string }{
		"no JSON":            {`[{"id"`, "unexpected EOF"},
		"nobody":             {`[]`, "at least one voter"},
		"one of old":         {`["127.0.0.1:7000"]`, "cannot unmarshal"},
		"somebody else":      {fmt.Sprintf(`[{"id": %q, "address": "h:1"}]`, uuid.NewString()), "no member that this node knows"},
		"not this node":      {fmt.Sprintf(`[{"id": %q, "address": "h:1", "non_voter": true}]`, own), "at least one voter"},
		"no address":         {fmt.Sprintf(`[{"id": %q}]`, own), "empty address"},
		"an address no port": {fmt.Sprintf(`[{"id": %q, "address": "h"}]`, own), "missing port"},
		"one node twice":     {fmt.Sprintf(`[{"id": %q, "address": "h:1"}, {"id": %q, "address": "h:2"}]`, own, own), "duplicate ID"},
	} {
		writePeers(t, c.DataDir, test.text)
		_, err := New(c)
		require.ErrorIs(t, err, ErrRecovery, name)
		require.ErrorContains(t, err, test.want, name)
		require.ErrorContains(t, err, filepath.Join(c.DataDir, "peers.json"), name)
		require.FileExists(t, filepath.Join(c.DataDir, "peers.json"), name)
	}
	after, err := Verify(c.DataDir)
	require.NoError(t, err)
	require.Equal(t, before, after)
}

// A crash between the entry and the end of the file leaves the file. Followed
// again, it changes nothing more.
func TestARecoveryThatWasCutShortGoesOn(t *testing.T) {
	t.Parallel()
	forLogStores(t, func(t *testing.T, kind logKind) {
		c := testNode(t, "alone")
		c.LogStore = kind.name
		n, err := New(c)
		require.NoError(t, err)
		awaitReady(t, n)
		own := n.identity.get()
		text := fmt.Sprintf(`[{"id": %q, "address": %q}]`, n.ID(), n.raftAddr())
		require.NoError(t, n.Close())

		g, err := openStores(c.withDefaults(), own, func(error) {})
		require.NoError(t, err)
		last, known, err := g.endOfLog()
		require.NoError(t, err)
		require.NotEmpty(t, known)
		for range 2 {
			writePeers(t, c.DataDir, text)
			require.NoError(t, g.recoverCluster(c.DataDir, own))
			end, err := g.log.LastIndex()
			require.NoError(t, err)
			require.Equal(t, last.Index+1, end)
		}
		require.NoError(t, g.closeStores())
		n = start(t, c)
		awaitReady(t, n)
		require.Greater(t, n.group.CurrentTerm(), uint64(1<<32))
	})
}

// Whatever is said of two survivors' last entries stays true of what a recovery
// appends to them.
func TestRecoveryTermsKeepTheOrderOfLogs(t *testing.T) {
	t.Parallel()
	c := raft.Configuration{Servers: []raft.Server{voterOf("a", "n1"), voterOf("b", "n2")}}
	other := raft.Configuration{Servers: []raft.Server{voterOf("b", "n2")}}
	require.Less(t, recoveryTerm(3, c), recoveryTerm(4, c))
	require.NotEqual(t, recoveryTerm(4, c), recoveryTerm(4, other))
	require.Greater(t, recoveryTerm(1, c), uint64(1<<32), "no election reaches it")
	require.Greater(t, recoveryTerm(recoveryTerm(1, c), c), recoveryTerm(1, c)+1<<32)
}
