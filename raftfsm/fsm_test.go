package raftfsm

import (
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"
	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/oncelog/oncelog/raftfsm/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// replica is a state machine over a file system in memory.
type replica struct {
	t      require.TestingT
	fs     *vfs.MemFS
	store  *store.Store
	fsm    *FSM
	failed error
}

func newReplica(t require.TestingT) *replica {
	r := &replica{t: t, fs: vfs.NewCrashableMem()}
	r.open()
	return r
}

func (r *replica) open() {
	var err error
	r.store, err = store.Open("data", store.Options{FS: r.fs, MemTableBytes: 1 << 20, OnError: func(err error) { r.failed = err }})
	require.NoError(r.t, err)
	r.fsm, err = New(r.store, func(err error) { r.failed = err })
	require.NoError(r.t, err)
}

func (r *replica) close() { require.NoError(r.t, r.store.Close()) }

// apply feeds entries as one ApplyBatch and returns the last one's first result.
func (r *replica) apply(logs ...*raft.Log) BatchResult {
	responses := r.fsm.ApplyBatch(logs)
	require.NoError(r.t, r.failed)
	results, ok := responses[len(responses)-1].([]BatchResult)
	if !ok {
		return BatchResult{}
	}
	return results[0]
}

// history makes the entries of a log.
type history struct{ index, term uint64 }

func (h *history) entry(kind raft.LogType, data []byte) *raft.Log {
	h.index++
	h.term = max(h.term, 1)
	return &raft.Log{Index: h.index, Term: h.term, Type: kind, Data: data}
}

func (h *history) command(data []byte) *raft.Log { return h.entry(raft.LogCommand, data) }

func (h *history) publish(b Batch) *raft.Log { return h.command(command(b, int64(h.index)*1000)) }

func (h *history) members(nodes ...uuid.UUID) *raft.Log {
	var c raft.Configuration
	for _, n := range nodes {
		c.Servers = append(c.Servers, raft.Server{ID: raft.ServerID(n.String()), Address: "127.0.0.1:7000"})
	}
	return h.entry(raft.LogConfiguration, raft.EncodeConfiguration(c))
}

func stored(ids ...uint64) (o []store.Outcome) {
	for _, id := range ids {
		o = append(o, store.Outcome{ID: id})
	}
	return o
}

func TestDuplicatesSeeEachOtherInABatchAndAcrossEntries(t *testing.T) {
	t.Parallel()
	r, h := newReplica(t), &history{}
	defer r.close()
	r.apply(h.members(nodeA, nodeB))
	first := h.publish(batchOf(nodeA, 1, 1, 1, event("t", "x", "{}"), event("t", "x", "{}"), event("u", "x", "{}")))
	second := h.publish(batchOf(nodeB, 1, 1, 1, event("t", "x", `{"other":1}`), event("t", "y", "{}")))
	responses := r.fsm.ApplyBatch([]*raft.Log{first, second})
	require.Equal(t, []BatchResult{{Outcomes: []store.Outcome{{ID: 1}, {ID: 1, Duplicate: true}, {ID: 2}}}}, responses[0])
	require.Equal(t, []BatchResult{{Outcomes: []store.Outcome{{ID: 1, Duplicate: true, Conflict: true}, {ID: 3}}}}, responses[1])
	state, _ := r.fsm.State()
	require.Equal(t, store.Counters{Received: 5, Unique: 3, Duplicates: 2, Conflicts: 1}, state.Counters)
}

func TestABatchSentAgainIsAppliedOnceAndAnsweredAsTheFirstTime(t *testing.T) {
	t.Parallel()
	r, h := newReplica(t), &history{}
	defer r.close()
	r.apply(h.members(nodeA, nodeB))
	r.apply(h.publish(batchOf(nodeB, 1, 1, 1, event("t", "old", "{}"))))
	b := batchOf(nodeA, 1, 1, 1, event("t", "x", "{}"), event("t", "old", "{}"), event("t", "x", "{}"))
	want := []store.Outcome{{ID: 2}, {ID: 1, Duplicate: true}, {ID: 2, Duplicate: true}}
	require.Equal(t, want, r.apply(h.publish(b)).Outcomes)
	before, _ := r.fsm.State()
	require.Equal(t, want, r.apply(h.publish(b)).Outcomes)
	// Also in the same ApplyBatch as the first time, and with others between.
	c := batchOf(nodeA, 1, 2, 1, event("t", "y", "{}"))
	responses := r.fsm.ApplyBatch([]*raft.Log{h.publish(c), h.publish(batchOf(nodeB, 1, 2, 2, event("t", "y", "{}"))), h.publish(c), h.publish(b)})
	require.Equal(t, stored(3), responses[0].([]BatchResult)[0].Outcomes)
	require.Equal(t, []store.Outcome{{ID: 3, Duplicate: true}}, responses[1].([]BatchResult)[0].Outcomes)
	require.Equal(t, stored(3), responses[2].([]BatchResult)[0].Outcomes)
	require.Equal(t, want, responses[3].([]BatchResult)[0].Outcomes)
	after, _ := r.fsm.State()
	require.Equal(t, before.Received+2, after.Received, "only what came for the first time is counted")
}

func TestWhatASessionHasSettledIsNeverAppliedAgain(t *testing.T) {
	t.Parallel()
	r, h := newReplica(t), &history{}
	defer r.close()
	r.apply(h.members(nodeA))
	late := batchOf(nodeA, 1, 1, 1, event("t", "late", "{}"))
	r.apply(h.publish(batchOf(nodeA, 1, 2, 2, event("t", "x", "{}"))))
	require.ErrorIs(t, r.apply(h.publish(late)).Err, ErrSessionExpired)
	r.apply(h.publish(batchOf(nodeA, 2, 1, 1, event("t", "y", "{}"))))
	require.ErrorIs(t, r.apply(h.publish(batchOf(nodeA, 1, 3, 3, event("t", "z", "{}")))).Err, ErrSessionExpired, "of an earlier run")
	state, _ := r.fsm.State()
	require.Equal(t, store.Counters{Received: 2, Unique: 2}, state.Counters)
}

func TestOnlyMembersPublish(t *testing.T) {
	t.Parallel()
	r, h := newReplica(t), &history{}
	defer r.close()
	r.apply(h.members(nodeA, nodeB))
	b := batchOf(nodeB, 1, 1, 1, event("t", "x", "{}"))
	r.apply(h.publish(b))
	r.apply(h.members(nodeA))
	require.ErrorIs(t, r.apply(h.publish(b)).Err, ErrNotMember, "its session is gone, so it might be applied twice")
	state, _ := r.fsm.State()
	require.Equal(t, uint64(1), state.Received)
}

func TestEntriesAtOrBelowTheAppliedIndexAreSkipped(t *testing.T) {
	t.Parallel()
	r, h := newReplica(t), &history{}
	defer r.close()
	logs := []*raft.Log{h.members(nodeA), h.publish(batchOf(nodeA, 1, 1, 1, event("t", "x", "{}")))}
	r.apply(logs...)
	before, digest := r.fsm.State()
	more := h.publish(batchOf(nodeA, 1, 2, 2, event("t", "y", "{}")))
	responses := r.fsm.ApplyBatch(append(logs, more))
	require.Nil(t, responses[0])
	require.Nil(t, responses[1])
	require.Equal(t, stored(2), responses[2].([]BatchResult)[0].Outcomes)
	after, again := r.fsm.State()
	require.Equal(t, before.Received+1, after.Received)
	require.NotEqual(t, digest, again)
}

func TestProcessedAtNeverStepsBack(t *testing.T) {
	t.Parallel()
	r, h := newReplica(t), &history{}
	defer r.close()
	r.apply(h.members(nodeA))
	r.apply(h.command(command(batchOf(nodeA, 1, 1, 1, event("t", "a", "{}")), 5000)))
	r.apply(h.command(command(batchOf(nodeA, 1, 2, 2, event("t", "b", "{}")), 3000)))
	a, err := r.store.Get(1)
	require.NoError(t, err)
	b, err := r.store.Get(2)
	require.NoError(t, err)
	require.Equal(t, int64(5000), a.ProcessedAt.UnixNano())
	require.Equal(t, int64(5000), b.ProcessedAt.UnixNano())
}

func TestTheFirstBadEntryEndsTheStateMachine(t *testing.T) {
	t.Parallel()
	good := command(batchOf(nodeA, 1, 1, 1, event("t", "x", "{}")), 1)
	flipped := append([]byte(nil), good...)
	flipped[40] ^= 1
	for name, bad := range map[string][]byte{"a flipped bit": flipped, "of another cluster": EncodeOpen(uuid.UUID{9}), "empty": {}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, h := newReplica(t), &history{}
			defer r.close()
			r.apply(h.members(nodeA), h.command(EncodeOpen(home)))
			before := r.store.Applied()
			responses := r.fsm.ApplyBatch([]*raft.Log{h.publish(batchOf(nodeA, 1, 1, 1, event("t", "y", "{}"))), h.command(bad)})
			require.Error(t, r.failed)
			for _, response := range responses {
				require.Implements(t, (*error)(nil), response, "no entry of the batch is acknowledged")
			}
			require.Equal(t, before, r.store.Applied())
			again, ok := r.fsm.Apply(h.publish(batchOf(nodeA, 1, 2, 1, event("t", "z", "{}")))).(error)
			require.True(t, ok)
			require.True(t, errors.Is(again, r.failed) || again.Error() == r.failed.Error(), "nothing is applied after it")
			_, err := r.fsm.Snapshot()
			require.Error(t, err)
		})
	}
}

func TestTheStateIsFoundAgainAfterARestart(t *testing.T) {
	t.Parallel()
	r, h := newReplica(t), &history{}
	r.apply(h.members(nodeA, nodeB), h.command(EncodeOpen(home)))
	b := batchOf(nodeA, 4, 7, 5, event("t", "x", "{}"))
	want := r.apply(h.publish(b))
	state, digest := r.fsm.State()
	r.close()
	r.open()
	defer r.close()
	again, same := r.fsm.State()
	require.Equal(t, state, again)
	require.Equal(t, digest, same)
	require.Equal(t, home, r.fsm.Cluster())
	require.Len(t, r.fsm.Configuration().Servers, 2)
	require.Equal(t, want, r.apply(h.publish(b)), "the session, too")
}
