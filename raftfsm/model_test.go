package raftfsm

import (
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"
	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/raftfsm/store"
)

// model is what the state machine promises, in plain maps.
type model struct {
	events   []oncelog.Event
	ids      map[oncelog.Key]uint64
	counters store.Counters
	sessions map[uuid.UUID]*modelSession
	members  map[uuid.UUID]bool
}

type modelSession struct {
	run, settled uint64
	answers      map[uint64][]store.Outcome
}

func newModel() *model {
	return &model{ids: map[oncelog.Key]uint64{}, sessions: map[uuid.UUID]*modelSession{}, members: map[uuid.UUID]bool{}}
}

// publish is the plain reading of docs/semantics: once per number, once per key.
func (m *model) publish(b Batch, events []oncelog.Event) BatchResult {
	if !m.members[b.Session.Node] {
		return BatchResult{Err: ErrNotMember}
	}
	s := m.sessions[b.Session.Node]
	if s == nil || s.run < b.Session.Run {
		s = &modelSession{run: b.Session.Run, answers: map[uint64][]store.Outcome{}}
		m.sessions[b.Session.Node] = s
	}
	if b.Session.Run < s.run {
		return BatchResult{Err: ErrSessionExpired}
	}
	s.settled = max(s.settled, b.Settled)
	if b.Number < s.settled {
		return BatchResult{Err: ErrSessionExpired}
	}
	if answer, again := s.answers[b.Number]; again {
		return BatchResult{Outcomes: answer}
	}
	outcomes := make([]store.Outcome, 0, len(events))
	for _, e := range events {
		outcomes = append(outcomes, m.store(e))
	}
	s.answers[b.Number] = outcomes
	return BatchResult{Outcomes: outcomes}
}

func (m *model) store(e oncelog.Event) store.Outcome {
	m.counters.Received++
	id, known := m.ids[e.Key()]
	if !known {
		m.counters.Unique++
		m.events = append(m.events, e)
		m.ids[e.Key()] = uint64(len(m.events))
		return store.Outcome{ID: uint64(len(m.events))}
	}
	conflict := string(m.events[id-1].Payload) != string(e.Payload)
	m.counters.Duplicates++
	if conflict {
		m.counters.Conflicts++
	}
	return store.Outcome{ID: id, Duplicate: true, Conflict: conflict}
}

// configure ends the sessions of those who are no longer members.
func (m *model) configure(nodes []uuid.UUID) {
	m.members = map[uuid.UUID]bool{}
	for _, n := range nodes {
		m.members[n] = true
	}
	for n := range m.sessions {
		if !m.members[n] {
			delete(m.sessions, n)
		}
	}
}

// scenario is a log with what each entry must answer.
type scenario struct {
	logs    []*raft.Log
	results []any
	model   *model
}

// sent is a batch that may be sent again.
type sent struct {
	batch  Batch
	events []oncelog.Event
}

var genEvent = rapid.Custom(func(t *rapid.T) oncelog.Event {
	return event(
		rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "topic"),
		fmt.Sprint(rapid.IntRange(0, 20).Draw(t, "id")),
		rapid.SampledFrom([]string{`{}`, `{"v":1}`}).Draw(t, "payload"))
})

// drawScenario draws a log: publishing, sending again, restarts of nodes,
// changes of the membership.
func drawScenario(t *rapid.T) *scenario {
	h, s := &history{}, &scenario{model: newModel()}
	nodes := []uuid.UUID{nodeA, nodeB, home}
	runs, next := map[uuid.UUID]uint64{}, map[uuid.UUID]uint64{}
	var past []sent
	add := func(log *raft.Log, result any) {
		s.logs, s.results = append(s.logs, log), append(s.results, result)
	}
	publish := func(x sent) {
		result, encoded := s.model.publish(x.batch, x.events), command(x.batch, int64(h.index))
		last := len(s.logs) - 1
		if results, ok := s.results[last].([]BatchResult); ok && rapid.Bool().Draw(t, "join") {
			s.logs[last].Data = Join(s.logs[last].Data, encoded)
			Stamp(s.logs[last].Data, int64(h.index))
			s.results[last] = append(results, result)
			return
		}
		add(h.command(encoded), []BatchResult{result})
	}
	configure := func(members []uuid.UUID) {
		s.model.configure(members)
		add(h.members(members...), nil)
	}
	configure(nodes)
	for range rapid.IntRange(1, 40).Draw(t, "entries") {
		node := rapid.SampledFrom(nodes).Draw(t, "node")
		switch rapid.SampledFrom([]string{"publish", "publish", "publish", "again", "again", "run", "open", "members", "term"}).Draw(t, "what") {
		case "publish":
			next[node]++
			events := rapid.SliceOfN(genEvent, 1, 12).Draw(t, "events")
			settled := rapid.Uint64Range(max(1, next[node]-min(next[node], 4)), next[node]).Draw(t, "settled")
			x := sent{batchOf(node, runs[node]+1, next[node], settled, events...), events}
			past = append(past, x)
			publish(x)
		case "again":
			if len(past) > 0 {
				publish(rapid.SampledFrom(past[max(0, len(past)-6):]).Draw(t, "past"))
			}
		case "run":
			runs[node]++
			next[node] = 0
		case "open":
			add(h.command(EncodeOpen(home)), nil)
		case "members":
			configure(nodes[:rapid.IntRange(1, len(nodes)).Draw(t, "members")])
		case "term":
			h.term++
		}
	}
	return s
}

// feed applies the scenario to a replica in drawn chunks, with drawn accidents
// between them, and checks each answer.
func (s *scenario) feed(t *rapid.T, r *replica) *replica {
	for at := 0; at < len(s.logs); {
		n := rapid.IntRange(1, len(s.logs)-at).Draw(t, "chunk")
		for i, response := range r.fsm.ApplyBatch(s.logs[at : at+n]) {
			require.NoError(t, r.failed)
			require.Equal(t, s.results[at+i], response, "entry %d", at+i+1)
		}
		at += n
		switch rapid.SampledFrom([]string{"", "", "flush", "restart", "crash", "move"}).Draw(t, "accident") {
		case "flush":
			_, err := r.store.Flush()
			require.NoError(t, err)
		case "restart":
			r.close()
			r.open()
		case "crash":
			r.crash(rapid.Uint64().Draw(t, "crash"))
			at = int(r.store.Applied().Index) // entries and indexes run in step
		case "move":
			r = r.move()
		}
	}
	return r
}

// crash loses what was not synced, and perhaps keeps some of it.
func (r *replica) crash(seed uint64) {
	percent := int(seed % 101)
	clone := r.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rand.New(rand.NewPCG(seed, 1))})
	r.close()
	r.fs = clone
	r.open()
}

// move carries the state to a new replica, as a leader does for a follower that
// is too far behind, with something else in it before.
func (r *replica) move() *replica {
	follower, h := newReplica(r.t), &history{}
	if r.store.Applied().Index > 2 {
		follower.apply(h.members(nodeB), h.publish(batchOf(nodeB, 9, 1, 1, event("old", "state", "{}"))))
	}
	meta := r.send(follower)
	require.Equal(r.t, r.store.Applied().Index, meta.Index)
	r.close()
	return follower
}

// send takes a snapshot through Raft's interfaces from one replica to another.
func (r *replica) send(follower *replica) *raft.SnapshotMeta {
	from, to := NewSnapshots(r.store), NewSnapshots(follower.store)
	meta, stream, err := from.Open("any")
	require.NoError(r.t, err)
	sink, err := to.Create(meta.Version, meta.Index, meta.Term, meta.Configuration, meta.ConfigurationIndex, nil)
	require.NoError(r.t, err)
	n, err := io.Copy(sink, stream)
	require.NoError(r.t, err)
	require.Equal(r.t, meta.Size, n)
	require.NoError(r.t, stream.Close())
	require.NoError(r.t, sink.Close())
	received, source, err := to.Open(sink.ID())
	require.NoError(r.t, err)
	require.Equal(r.t, meta.Configuration, received.Configuration)
	require.NoError(r.t, follower.fsm.Restore(source))
	return meta
}

func TestReplicasAgreeWithTheModelAndEachOther(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := drawScenario(t)
		one, two := newReplica(t), newReplica(t)
		defer func() { one.close(); two.close() }()
		one = s.feed(t, one)
		two = s.feed(t, two)
		state, digest := one.fsm.State()
		other, same := two.fsm.State()
		require.Equal(t, state, other)
		require.Equal(t, digest, same)
		require.Equal(t, s.model.counters, state.Counters)
		require.Equal(t, s.logs[len(s.logs)-1].Index, state.Applied.Index)
		var events []oncelog.Event
		id := uint64(0)
		for record, err := range two.store.Events(oncelog.Query{}) {
			require.NoError(t, err)
			id++
			require.Equal(t, id, record.ID)
			record.Timestamp = record.Timestamp.UTC()
			events = append(events, record.Event)
		}
		require.True(t, slices.EqualFunc(s.model.events, events, func(a, b oncelog.Event) bool {
			return a.Key() == b.Key() && string(a.Payload) == string(b.Payload)
		}))
	})
}
