package node

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
)

// A node that joins and never gets level is no voter: it counts neither for a quorum
// nor as one that is missing, so the three that were there can still lose one.
func TestANewcomerThatIsNotLevelHasNoVote(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t, func(c *Config) { c.Timing = patientTiming })
	leader, others := leaderOf(t, nodes)
	newcomer := testNode(t, "n4", leader.c.GossipAddr)
	newcomer.Timing = patientTiming
	refused := new(atomic.Int64)
	refused.Store(1 << 40)
	newcomer.appends = func(l *guardedLog) raft.LogStore { return refusingLog{l, refused} }
	joining, err := New(newcomer)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, joining.Close()) })
	require.Eventually(t, func() bool {
		view, err := leader.Cluster(t.Context())
		return err == nil && slices.ContainsFunc(view.Nodes, func(m oncelog.Member) bool { return m.Name == "n4" }) && refused.Load() < 1<<40
	}, 20*time.Second, 10*time.Millisecond, "it has joined, and is sent the log")
	require.NoError(t, others[0].Close())
	_, err = others[1].publish(t.Context(), []oncelog.Event{someEvent("without a fourth")})
	require.NoError(t, err)
	view, err := leader.Cluster(t.Context())
	require.NoError(t, err)
	for _, m := range view.Nodes {
		require.Equal(t, m.Name == "n4", m.Role == oncelog.Nonvoter, m.Name)
	}
}
