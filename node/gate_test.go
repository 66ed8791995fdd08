package node

import (
	"bytes"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/raftfsm"
)

// A snapshot for a follower that has entries 11 to 20 (or as said), all of term 2,
// and is in term 5.
func TestGateAnswersSnapshotsThatEndWithinTheLog(t *testing.T) {
	t.Parallel()
	const answered, refused, toRaft = "answered", "refused", "to Raft"
	for name, test := range map[string]struct {
		from, to uint64
		request  raft.InstallSnapshotRequest
		want     string
	}{
		"within the log":        {11, 20, raft.InstallSnapshotRequest{Term: 5, LastLogIndex: 15, LastLogTerm: 2}, answered},
		"at its end":            {11, 20, raft.InstallSnapshotRequest{Term: 5, LastLogIndex: 20, LastLogTerm: 2}, answered},
		"at its beginning":      {11, 20, raft.InstallSnapshotRequest{Term: 5, LastLogIndex: 11, LastLogTerm: 2}, answered},
		"beyond it":             {11, 20, raft.InstallSnapshotRequest{Term: 5, LastLogIndex: 21, LastLogTerm: 2}, toRaft},
		"over an empty log":     {1, 0, raft.InstallSnapshotRequest{Term: 5, LastLogIndex: 21, LastLogTerm: 2}, toRaft},
		"of other entries":      {11, 20, raft.InstallSnapshotRequest{Term: 5, LastLogIndex: 15, LastLogTerm: 3}, toRaft},
		"older than the log":    {11, 20, raft.InstallSnapshotRequest{Term: 5, LastLogIndex: 10, LastLogTerm: 2}, refused},
		"of a leader that was":  {11, 20, raft.InstallSnapshotRequest{Term: 4, LastLogIndex: 15, LastLogTerm: 2}, toRaft},
		"of a leader to become": {11, 20, raft.InstallSnapshotRequest{Term: 6, LastLogIndex: 15, LastLogTerm: 2}, toRaft},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, _ := openTestLog(t, logKinds()[0], t.TempDir())
			defer func() { require.NoError(t, l.Close()) }()
			if test.to > 0 {
				require.NoError(t, l.StoreLogs(entries(test.from, test.to)))
			}
			var asked atomic.Int64
			g := newGate(nil, l, newParallelLog(l), logOf(t), func() { asked.Add(1) })
			reader, answers := strings.NewReader("the snapshot"), make(chan raft.RPCResponse, 1)
			passed := make(chan raft.RPC, 1)
			g.rpcs = passed
			g.pass(t.Context(), raft.RPC{Command: &test.request, Reader: reader, RespChan: answers}, 5)
			g.tasks.running.Wait()
			switch test.want {
			case toRaft:
				require.Equal(t, &test.request, (<-passed).Command)
				require.NotZero(t, reader.Len(), "the snapshot is Raft's to read")
			case answered:
				answer := <-answers
				require.NoError(t, answer.Error)
				require.True(t, answer.Response.(*raft.InstallSnapshotResponse).Success)
				require.Zero(t, reader.Len(), "the next request comes behind it")
			case refused:
				answer := <-answers
				require.ErrorIs(t, answer.Error, errOutdated)
				require.ErrorContains(t, answer.Error, "ends at entry 10, and the log begins at 11")
				require.False(t, answer.Response.(*raft.InstallSnapshotResponse).Success)
				require.Zero(t, reader.Len())
			}
			require.Equal(t, test.want == refused, asked.Load() == 1, "a newer one is asked for")
			require.Empty(t, passed)
		})
	}
}

func TestANewerSnapshotIsAskedFor(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t, func(*Config) {})
	leader, others := leaderOf(t, nodes)
	_, err := others[0].publish(t.Context(), []oncelog.Event{someEvent("a")})
	require.NoError(t, err)
	at := leader.group.store.Applied().Index
	others[0].askForSnapshot()
	snapshots, err := raftfsm.NewSnapshots(leader.group.store).List()
	require.NoError(t, err)
	require.Len(t, snapshots, 1)
	require.GreaterOrEqual(t, snapshots[0].Index, at)
}

// A follower has acknowledged ten entries of its leader, which lost the replies and
// sends it a snapshot that ends before them (hashicorp/raft#697). They must stay.
// The test is the leader, in the name of a node that is down.
func TestASnapshotThatEndsWithinTheLogLosesNothing(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t, func(*Config) {})
	leader, others := leaderOf(t, nodes)
	follower := others[0]
	for i := range 5 {
		_, err := leader.publish(t.Context(), bulky(i*10, i*10+10))
		require.NoError(t, err)
	}
	awaitLevel(t, nodes)
	meta, stream, err := raftfsm.NewSnapshots(leader.group.store).Open("")
	require.NoError(t, err)
	snapshot, err := io.ReadAll(stream)
	require.NoError(t, err)
	require.NoError(t, stream.Close())
	require.NoError(t, leader.Close())
	require.NoError(t, others[1].Close())

	transport := raft.NewNetworkTransport(raftStreams{newStreamListener("the test"), leader.caller.peers}, 1, 10*time.Second, io.Discard)
	defer func() { require.NoError(t, transport.Close()) }()
	header := raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(leader.ID()), Addr: []byte(leader.raftAddr())}
	to := follower.group.gate.LocalAddr()
	id, term := raft.ServerID(follower.ID()), follower.group.CurrentTerm()+1
	last := follower.group.LastIndex()
	var previous raft.Log
	require.NoError(t, follower.group.log.GetLog(last, &previous))
	prevTerm := previous.Term
	// send appends n entries and says that all but keep of the log are committed.
	send := func(n, keep uint64) {
		request := &raft.AppendEntriesRequest{RPCHeader: header, Term: term, PrevLogEntry: last, PrevLogTerm: prevTerm, LeaderCommitIndex: last + n - keep}
		for i := range n {
			request.Entries = append(request.Entries, &raft.Log{Index: last + i + 1, Term: term, Type: raft.LogNoop})
		}
		var response raft.AppendEntriesResponse
		require.NoError(t, transport.AppendEntries(id, to, request, &response))
		require.True(t, response.Success)
		last, prevTerm = last+n, term
	}
	send(10, 8)
	var installed raft.InstallSnapshotResponse
	require.NoError(t, transport.InstallSnapshot(id, to, &raft.InstallSnapshotRequest{
		RPCHeader: header, SnapshotVersion: meta.Version, Term: term, LastLogIndex: meta.Index, LastLogTerm: meta.Term,
		Configuration: raft.EncodeConfiguration(meta.Configuration), ConfigurationIndex: meta.ConfigurationIndex, Size: int64(len(snapshot)),
	}, &installed, bytes.NewReader(snapshot)))
	require.True(t, installed.Success)
	send(1, 0)
	require.Eventually(t, func() bool { return follower.group.AppliedIndex() == last }, 10*time.Second, time.Millisecond)
	first, err := follower.group.log.FirstIndex()
	require.NoError(t, err)
	for i := first; i <= last; i++ {
		var entry raft.Log
		require.NoError(t, follower.group.log.GetLog(i, &entry), "entry %d of %d to %d", i, first, last)
	}
}

// Raft answers heartbeats on goroutines that its end does not wait for. The gate does:
// behind it, the log is closed.
func TestGateWaitsForHeartbeats(t *testing.T) {
	t.Parallel()
	g := newGate(raft.NewNetworkTransport(raftStreams{newStreamListener("the test"), nil}, 1, time.Second, io.Discard), nil, nil, nil, nil)
	begun, goOn, answered := make(chan struct{}), make(chan struct{}), false
	beat := g.untilClosed(func(raft.RPC) {
		close(begun)
		<-goOn
		answered = true
	})
	go beat(raft.RPC{})
	<-begun
	closed := make(chan error, 1)
	go func() { closed <- g.Close() }()
	select {
	case err := <-closed:
		require.Fail(t, "a heartbeat is being answered", "%v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(goOn)
	require.NoError(t, <-closed)
	require.True(t, answered)
	beat(raft.RPC{}) // would close begun again
}
