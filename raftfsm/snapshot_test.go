package raftfsm

import (
	"bytes"
	"io"
	"testing"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"
)

// localSink is where Raft lets a node's own snapshot write to.
type localSink struct {
	raft.SnapshotSink
	closed bool
}

func (s *localSink) Close() error { s.closed = true; return nil }

func TestNothingIsASnapshotBeforeItIsOnDisk(t *testing.T) {
	t.Parallel()
	r, h := newReplica(t), &history{}
	defer r.close()
	snapshots := NewSnapshots(r.store)
	r.apply(h.members(nodeA, nodeB), h.publish(batchOf(nodeA, 1, 1, 1, event("t", "x", "{}"))))
	list, err := snapshots.List()
	require.NoError(t, err)
	require.Empty(t, list)

	snapshot, err := r.fsm.Snapshot()
	require.NoError(t, err)
	r.apply(h.publish(batchOf(nodeA, 1, 2, 2, event("t", "y", "{}"))))
	sink := new(localSink)
	require.NoError(t, snapshot.Persist(sink))
	snapshot.Release()
	require.True(t, sink.closed)

	list, err = snapshots.List()
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.GreaterOrEqual(t, list[0].Index, uint64(2))
	require.Equal(t, uint64(1), list[0].Term)
	require.Equal(t, uint64(1), list[0].ConfigurationIndex)
	require.Len(t, list[0].Configuration.Servers, 2)

	// Everything up to the listed index is there after a power loss.
	r.crash(0)
	require.Equal(t, list[0].Index, r.store.Applied().Index)
}

func TestASnapshotThatIsNotWholeIsRefusedAndLeavesNothing(t *testing.T) {
	t.Parallel()
	r, h := newReplica(t), &history{}
	defer r.close()
	r.apply(h.members(nodeA), h.publish(batchOf(nodeA, 1, 1, 1, event("t", "x", "{}"))))
	meta, stream, err := NewSnapshots(r.store).Open("any")
	require.NoError(t, err)
	whole, err := io.ReadAll(stream)
	require.NoError(t, err)
	require.NoError(t, stream.Close())
	flipped := bytes.Clone(whole)
	flipped[len(flipped)/2] ^= 1

	for name, data := range map[string][]byte{"cut": whole[:len(whole)-1], "flipped": flipped, "longer": append(bytes.Clone(whole), 0)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			follower := newReplica(t)
			defer follower.close()
			before, err := follower.fs.List("data")
			require.NoError(t, err)
			sink, err := NewSnapshots(follower.store).Create(1, meta.Index, meta.Term, meta.Configuration, 1, nil)
			require.NoError(t, err)
			if _, err = sink.Write(data); err == nil {
				err = sink.Close()
			} else {
				require.NoError(t, sink.Cancel())
			}
			require.Error(t, err)
			after, err := follower.fs.List("data")
			require.NoError(t, err)
			require.ElementsMatch(t, before, after)
			require.NoError(t, follower.failed, "the follower goes on with what it has")
		})
	}
}

func TestASnapshotOfAnotherIndexThanAnnouncedIsRefused(t *testing.T) {
	t.Parallel()
	r, h := newReplica(t), &history{}
	defer r.close()
	r.apply(h.members(nodeA))
	meta, stream, err := NewSnapshots(r.store).Open("any")
	require.NoError(t, err)
	follower := newReplica(t)
	defer follower.close()
	sink, err := NewSnapshots(follower.store).Create(1, meta.Index+1, meta.Term, meta.Configuration, 1, nil)
	require.NoError(t, err)
	_, err = io.Copy(sink, stream)
	require.NoError(t, err)
	require.NoError(t, stream.Close())
	require.ErrorContains(t, sink.Close(), "announced a snapshot of log index 2 and sent one of 1")
}

// Raft may hand over a snapshot late, when the log has brought the node further.
func TestASnapshotThatComesLateIsPassedOver(t *testing.T) {
	t.Parallel()
	leader, h := newReplica(t), &history{}
	defer leader.close()
	first := []*raft.Log{h.members(nodeA), h.publish(batchOf(nodeA, 1, 1, 1, event("t", "x", "{}")))}
	next := h.publish(batchOf(nodeA, 1, 2, 2, event("t", "y", "{}")))
	leader.apply(first...)
	follower := newReplica(t)
	defer follower.close()
	follower.apply(append(first, next)...)
	state, digest := follower.fsm.State()
	before, err := follower.fs.List("data")
	require.NoError(t, err)

	leader.send(follower)
	after, same := follower.fsm.State()
	require.Equal(t, state, after, "reads never step back")
	require.Equal(t, digest, same)
	left, err := follower.fs.List("data")
	require.NoError(t, err)
	require.ElementsMatch(t, before, left)
}

func TestACancelledSnapshotLeavesNothing(t *testing.T) {
	t.Parallel()
	r := newReplica(t)
	defer r.close()
	before, err := r.fs.List("data")
	require.NoError(t, err)
	sink, err := NewSnapshots(r.store).Create(1, 5, 1, raft.Configuration{}, 1, nil)
	require.NoError(t, err)
	_, err = sink.Write([]byte("ON"))
	require.NoError(t, err)
	require.NoError(t, sink.Cancel())
	after, err := r.fs.List("data")
	require.NoError(t, err)
	require.ElementsMatch(t, before, after)
}

func TestRestoreTakesReceivedSnapshotsOnly(t *testing.T) {
	t.Parallel()
	r := newReplica(t)
	defer r.close()
	require.ErrorIs(t, r.fsm.Restore(io.NopCloser(bytes.NewReader(nil))), errRestored)
}
