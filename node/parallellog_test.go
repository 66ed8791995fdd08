package node

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
)

// heldDisk lets no write through while it is held.
type heldDisk struct {
	logStore
	held *sync.RWMutex
	// waiting is how many writes there are that have not come through.
	waiting *atomic.Int64
}

func newHeldDisk() heldDisk { return heldDisk{held: new(sync.RWMutex), waiting: new(atomic.Int64)} }

// over is the disk with that log on it.
func (d heldDisk) over(s logStore) logStore {
	d.logStore = s
	return d
}

func (d heldDisk) StoreLogs(logs []*raft.Log) error {
	d.waiting.Add(1)
	d.held.RLock()
	defer d.held.RUnlock()
	defer d.waiting.Add(-1)
	return d.logStore.StoreLogs(logs)
}

// heldLog is a log in memory whose writes wait for their outcome.
type heldLog struct {
	*raft.InmemStore
	outcome chan error
}

func (l heldLog) StoreLogs(logs []*raft.Log) error {
	if err := <-l.outcome; err != nil {
		return err
	}
	return l.InmemStore.StoreLogs(logs)
}

func always(is bool) *func() bool {
	answer := func() bool { return is }
	return &answer
}

// leadersLog holds entries 1 to 3, and writes 4 and 5 as soon as there is an outcome.
func leadersLog(t *testing.T) (*parallelLog, heldLog) {
	t.Helper()
	held := heldLog{raft.NewInmemStore(), make(chan error, 1)}
	p := newParallelLog(held)
	held.outcome <- nil
	require.NoError(t, p.StoreLogs(entries(1, 3)))
	p.othersCommit.Store(always(true))
	require.NoError(t, p.StoreLogs(entries(4, 5)), "it does not wait for an outcome")
	return p, held
}

// asking is everything that the log can be asked for, with what it says of an error.
func asking(p *parallelLog) map[string]func() error {
	var log raft.Log
	return map[string]func() error{
		"an entry that is written": func() error { return p.GetLog(5, &log) },
		"where it begins":          func() error { _, err := p.FirstIndex(); return err },
		"where it ends":            func() error { _, err := p.LastIndex(); return err },
		"to be truncated":          func() error { return p.DeleteRange(2, 5) },
		"to be truncated before":   func() error { return p.DeleteRange(1, 2) },
		"another entry":            func() error { return p.StoreLog(entries(6, 6)[0]) },
		"whether all is written":   p.await,
		"whether one is written":   func() error { return p.awaitEntry(4) },
	}
}

func TestNothingOvertakesAWrite(t *testing.T) {
	t.Parallel()
	for name := range asking(nil) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p, held := leadersLog(t)
				answer := make(chan error, 1)
				go func() { answer <- asking(p)[name]() }()
				synctest.Wait()
				require.Empty(t, answer)
				var log raft.Log
				require.NoError(t, p.GetLog(3, &log), "what was written before is there")
				require.NoError(t, p.awaitEntry(3))
				held.outcome <- nil
				require.NoError(t, <-answer)
				held.outcome <- nil
				synctest.Wait()
			})
		})
	}
}

// Nothing comes behind the entries that are missing, however often it is tried.
func TestAWriteThatFailsIsTold(t *testing.T) {
	t.Parallel()
	for name := range asking(nil) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, held := leadersLog(t)
			eio := errors.New("input/output error")
			held.outcome <- eio
			for range 2 {
				require.ErrorIs(t, asking(p)[name](), eio)
			}
			last, err := held.LastIndex()
			require.NoError(t, err)
			require.Equal(t, uint64(3), last)
			require.NoError(t, p.awaitEntry(3), "what was written before is there")
		})
	}
}

// Entries that this node could commit alone are on disk before Raft counts them, and so
// is what could bring that about.
func TestWhatIsNotWrittenInParallel(t *testing.T) {
	t.Parallel()
	change := append(entries(1, 1), &raft.Log{Index: 2, Type: raft.LogConfiguration})
	for name, test := range map[string]struct {
		othersCommit *func() bool
		logs         []*raft.Log
	}{
		"before Raft has begun":  {nil, entries(1, 2)},
		"alone, or no leader":    {always(false), entries(1, 2)},
		"a change of membership": {always(true), change},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				held := heldLog{raft.NewInmemStore(), make(chan error)}
				p := newParallelLog(held)
				p.othersCommit.Store(test.othersCommit)
				stored := make(chan error, 1)
				go func() { stored <- p.StoreLogs(test.logs) }()
				synctest.Wait()
				require.Empty(t, stored)
				held.outcome <- nil
				require.NoError(t, <-stored)
			})
		})
	}
}

// A leader that was tells its successor that it has what it still writes: not before it
// has. What says nothing of its log passes.
func TestGateAwaitsWhatWasStoredAsLeader(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		command any
		waits   bool
	}{
		"entries":                {&raft.AppendEntriesRequest{Term: 6, PrevLogEntry: 5, Entries: entries(6, 6)}, true},
		"no entries":             {&raft.AppendEntriesRequest{Term: 6, PrevLogEntry: 5}, true},
		"a snapshot":             {&raft.InstallSnapshotRequest{Term: 6, LastLogIndex: 9}, true},
		"a vote":                 {&raft.RequestVoteRequest{Term: 6}, false},
		"the word of the leader": {&raft.TimeoutNowRequest{}, false},
	} {
		for outcome, err := range map[string]error{"written": nil, "not written": errors.New("input/output error")} {
			t.Run(name+" "+outcome, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					p, held := leadersLog(t)
					g := newGate(nil, nil, p, logOf(t), nil)
					g.rpcs = make(chan raft.RPC, 1)
					g.full = func() (bool, <-chan struct{}) { return false, nil }
					go g.pass(t.Context(), raft.RPC{Command: test.command, Reader: io.LimitReader(nil, 0)}, 5)
					synctest.Wait()
					require.Equal(t, test.waits, len(g.rpcs) == 0)
					held.outcome <- err
					synctest.Wait()
					require.Equal(t, !test.waits || err == nil, len(g.rpcs) == 1)
				})
			})
		}
	}
}

// heldCluster starts nodes whose disks can be held, by name.
func heldCluster(t *testing.T) ([]*restartable, map[string]heldDisk) {
	t.Helper()
	disks := map[string]heldDisk{}
	nodes := startCluster(t, func(c *Config) {
		d := newHeldDisk()
		disks[c.Name] = d
		c.disk = d.over
		c.Timing = patientTiming
	})
	return nodes, disks
}

// publishing publishes an event, and answers with what came of it.
func publishing(t *testing.T, n *Node, id string) <-chan error {
	t.Helper()
	answer := make(chan error, 1)
	go func() {
		_, err := n.publish(t.Context(), []oncelog.Event{someEvent(id)})
		answer <- err
	}()
	return answer
}

// requireNoAnswer is for what must not end while a write is under way.
func requireNoAnswer(t *testing.T, answer <-chan error) {
	t.Helper()
	select {
	case err := <-answer:
		require.Fail(t, "a write is under way", "%v", err)
	case <-time.After(200 * time.Millisecond):
	}
}

// While the leader writes an entry, the followers have it. It is committed, and a
// publisher told, once the leader has it on disk as well.
func TestAnEntryIsSentWhileItIsWritten(t *testing.T) {
	t.Parallel()
	nodes, disks := heldCluster(t)
	leader, others := leaderOf(t, nodes)
	_, err := leader.publish(t.Context(), []oncelog.Event{someEvent("before")})
	require.NoError(t, err)
	awaitLevel(t, nodes)
	at, committed := leader.group.LastIndex(), leader.group.CommitIndex()
	disk := disks[leader.c.Name]
	disk.held.Lock()
	answer := publishing(t, leader.Node, "held")
	for _, n := range others {
		require.Eventually(t, func() bool { last, err := n.group.log.LastIndex(); return err == nil && last > at },
			5*time.Second, time.Millisecond, "a follower has it")
	}
	requireNoAnswer(t, answer)
	require.Equal(t, committed, leader.group.CommitIndex())
	require.Equal(t, int64(1), disk.waiting.Load(), "one write at a time")
	disk.held.Unlock()
	require.NoError(t, <-answer)
}

// Where nobody else votes, what the leader counts is committed.
func TestALeaderAloneWritesBeforeItCommits(t *testing.T) {
	t.Parallel()
	c, disk := testNode(t, "n1"), newHeldDisk()
	c.disk = disk.over
	n := start(t, c)
	awaitReady(t, n)
	require.NoError(t, n.group.writes.await())
	committed := n.group.CommitIndex()
	disk.held.Lock()
	answer := publishing(t, n, "held")
	require.Eventually(t, func() bool { return disk.waiting.Load() == 1 }, 5*time.Second, time.Millisecond)
	requireNoAnswer(t, answer)
	require.Equal(t, committed, n.group.CommitIndex())
	disk.held.Unlock()
	require.NoError(t, <-answer)
}

// Behind the end of the group's part the log is closed. No answer of a follower is under
// way, which would be waited for.
func TestAStopAwaitsTheWriteUnderWay(t *testing.T) {
	t.Parallel()
	nodes, disks := heldCluster(t)
	leader, _ := leaderOf(t, nodes)
	for _, d := range disks {
		d.held.Lock()
	}
	publishing(t, leader.Node, "held")
	require.Eventually(t, func() bool { return disks[leader.c.Name].waiting.Load() == 1 }, 5*time.Second, time.Millisecond)
	left := make(chan error, 1)
	go func() { left <- leader.group.leave() }()
	require.Eventually(t, func() bool { return leader.group.State() == raft.Shutdown }, 5*time.Second, time.Millisecond)
	requireNoAnswer(t, left)
	for _, d := range disks {
		d.held.Unlock()
	}
	require.NoError(t, <-left)
	require.NoError(t, leader.Node.failed())
}
