package node

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/raftfsm"
	"github.com/oncelog/oncelog/raftfsm/store"
)

// backlog is a log that is full until it is told otherwise.
type backlog struct {
	mu     sync.Mutex
	ended  bool
	change chan struct{}
}

func (b *backlog) full() (bool, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.ended, b.change
}

// finish tells of a snapshot that was finished, and whether that was enough.
func (b *backlog) finish(enough bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = enough
	close(b.change)
	b.change = make(chan struct{})
}

// fullGate is the gate, in term 5, of a follower whose log holds entries 1 to 20 and
// is full.
func fullGate(t *testing.T) (*gate, *backlog) {
	t.Helper()
	l, _ := openTestLog(t, logKinds()[0], t.TempDir())
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	require.NoError(t, l.StoreLogs(entries(1, 20)))
	b := &backlog{change: make(chan struct{})}
	g := newGate(nil, l, newParallelLog(l), logOf(t), nil)
	g.rpcs = make(chan raft.RPC, 1)
	g.full = b.full
	return g, b
}

func newEntries(term uint64) (raft.RPC, <-chan raft.RPCResponse) {
	answers := make(chan raft.RPCResponse, 1)
	return raft.RPC{
		Command:  &raft.AppendEntriesRequest{Term: term, Entries: entries(21, 22)},
		RespChan: answers,
	}, answers
}

func TestGateHoldsEntriesUpWhileTheLogIsFull(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, b := fullGate(t)
		rpc, answers := newEntries(5)
		g.pass(t.Context(), rpc, 5)
		time.Sleep(holdTime / 2)
		b.finish(false)
		synctest.Wait()
		require.Empty(t, g.rpcs)
		b.finish(true)
		require.Equal(t, rpc.Command, (<-g.rpcs).Command)
		require.Empty(t, answers, "the answer is Raft's")
		g.pass(t.Context(), rpc, 5)
		require.Len(t, g.rpcs, 1, "there is room")
	})
}

// The leader has its answer before it takes the connection for broken.
func TestGatePutsEntriesOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, _ := fullGate(t)
		rpc, answers := newEntries(5)
		begin := time.Now()
		g.pass(t.Context(), rpc, 5)
		answer := <-answers
		require.Less(t, time.Since(begin), transportTimeout)
		require.NoError(t, answer.Error)
		response := answer.Response.(*raft.AppendEntriesResponse)
		require.False(t, response.Success)
		require.True(t, response.NoRetryBackoff, "it has waited enough")
		require.Equal(t, uint64(5), response.Term)
		require.Equal(t, uint64(20), response.LastLog)
		require.Empty(t, g.rpcs)
	})
}

// What a full log does not concern passes, also while entries wait: the commit index,
// a vote, another leader's first word.
func TestAFullLogHoldsNothingElseUp(t *testing.T) {
	t.Parallel()
	for name, command := range map[string]any{
		"no entries":            &raft.AppendEntriesRequest{Term: 5, LeaderCommitIndex: 20},
		"a vote":                &raft.RequestVoteRequest{Term: 6},
		"of a leader that was":  &raft.AppendEntriesRequest{Term: 4, Entries: entries(21, 22)},
		"of a leader to become": &raft.AppendEntriesRequest{Term: 6, Entries: entries(21, 22)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g, _ := fullGate(t)
				ctx, cancel := context.WithCancel(t.Context())
				waits, _ := newEntries(5)
				begin := time.Now()
				g.pass(ctx, waits, 5)
				g.pass(ctx, raft.RPC{Command: command}, 5)
				require.Len(t, g.rpcs, 1)
				require.Equal(t, command, (<-g.rpcs).Command)
				g.stand(ctx)
				require.IsType(t, &raft.TimeoutNowRequest{}, (<-g.rpcs).Command)
				cancel()
				g.tasks.close() // a node that stops waits for nobody
				require.Zero(t, time.Since(begin))
			})
		})
	}
}

// A store that has got behind makes room again by what it applies.
func TestLogSizeTellsAFullLog(t *testing.T) {
	t.Parallel()
	const size = 256 << 10
	s := newLogSize(4*size, 100*size)
	full := func(committed uint64) bool { full, _ := s.full(committed); return full }
	for i := uint64(1); i <= 40; i++ {
		s.append(i, size)
	}
	require.False(t, full(16))
	require.True(t, full(17), "more than four snapshots")
	require.True(t, full(40))
	s.advance(3)
	require.Empty(t, s.due)
	s.advance(30)
	require.Len(t, s.due, 1)
	_, moved := s.full(40)
	s.cut(40, 1<<16)
	require.True(t, full(40), "the snapshot is under way")
	s.finished()
	<-moved
	require.False(t, full(40), "ten entries are left")
}

// What another leader has put Raft's own entry in the place of will never be applied.
func TestLogSizeForgetsWhatWasReplaced(t *testing.T) {
	t.Parallel()
	s := newLogSize(4, 100)
	for i := uint64(1); i <= 40; i++ {
		s.append(i, 1)
	}
	s.advance(10)
	s.cut(40, 1<<16)
	s.finished()
	s.append(11, 0)
	full, _ := s.full(11)
	require.False(t, full)
}

// What the store held at the start is no backlog, however long the log is.
func TestLogSizeBeginsWithoutABacklog(t *testing.T) {
	t.Parallel()
	log := raft.NewInmemStore()
	for i := uint64(1); i <= 40; i++ {
		require.NoError(t, log.StoreLog(&raft.Log{Index: i, Data: []byte{0}}))
	}
	s := newLogSize(4, 100)
	require.NoError(t, s.seed(log, 30))
	require.Len(t, s.due, 1, "it is to be truncated")
	full, _ := s.full(40)
	require.False(t, full)
}

// A snapshot from the leader takes the place of all that waited to be applied: where
// nothing else is applied, it has to make the room.
func TestASnapshotFromTheLeaderMakesRoom(t *testing.T) {
	t.Parallel()
	s, err := store.Open("store", store.Options{FS: vfs.NewMem()})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	fsm, err := raftfsm.New(s, func(error) {})
	require.NoError(t, err)
	advanced := 0
	watched := watchedFSM{FSM: fsm, advance: func() { advanced++ }}
	require.Error(t, watched.Restore(io.NopCloser(strings.NewReader("no snapshot"))))
	require.Equal(t, 1, advanced)
}

// A follower whose store stands still takes no more than a stated backlog. The others
// go on under the same leader, and it is level again once its store is.
func TestAFollowerWhoseStoreLagsStaysSmall(t *testing.T) {
	t.Parallel()
	disk := &stuckTables{hold: make(chan struct{})}
	nodes := startCluster(t, func(c *Config) {
		c.Timing = patientTiming
		if c.Name == "n2" {
			c.SnapshotBytes, c.TrailingBytes, c.MemTableBytes = 256<<10, 512<<10, 1<<20
			c.store = func(o *store.Options) { o.FS = errorfs.Wrap(vfs.Default, disk) }
		}
	})
	handOver(t, nodes[0].Node, "n1")
	leader, slow := nodes[0].group, nodes[1].group
	term, stored := leader.CurrentTerm(), uint64(0)
	publish := func(through *restartable) {
		es := make([]oncelog.Event, 8)
		for i := range es {
			es[i] = someEvent(fmt.Sprintf("%d-%d", stored, i))
			es[i].Payload = largePayload
		}
		_, err := through.publish(t.Context(), es)
		require.NoError(t, err)
		stored += uint64(len(es))
	}
	full := func() bool { full, _ := slow.logSize.full(slow.CommitIndex()); return full }

	disk.stuck.Store(true)
	for i := 0; !full(); i++ {
		require.Less(t, i, 100, "it has a bound")
		publish(nodes[i%2*2])
	}
	held := slow.LastIndex()
	for i := range 20 {
		publish(nodes[i%2*2])
	}
	require.GreaterOrEqual(t, leader.CommitIndex(), held+20, "the others go on")
	require.Equal(t, held, slow.LastIndex(), "the follower takes no more")
	disk.stuck.Store(false)
	close(disk.hold)

	requireLevel(t, nodes, store.Counters{Received: stored, Unique: stored})
	require.Equal(t, term, leader.CurrentTerm(), "nobody else had to lead")
	require.Eventually(t, func() bool {
		first, err := slow.log.FirstIndex()
		return err == nil && first > held
	}, 20*time.Second, 10*time.Millisecond, "its log is short again")
}
