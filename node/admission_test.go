package node

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/raftfsm"
	"github.com/oncelog/oncelog/raftfsm/store"
)

// pacedWay is a leader that takes so many bytes a second, one batch after the
// other.
type pacedWay struct {
	turn chan struct{}
	pace atomic.Int64
	// away holds all attempts while there is no leader.
	away atomic.Pointer[chan struct{}]
}

// pacing runs a proposer, with a queue of the usual size, over such a leader.
func pacing(t *testing.T, pace int64, test func(t *testing.T, p *proposer, way *pacedWay)) {
	t.Helper()
	way := new(pacedWay)
	way.pace.Store(pace)
	proposing(t, way, defaultQueueBytes, func(t *testing.T, p *proposer) {
		way.turn = make(chan struct{}, 1) // of the bubble
		test(t, p, way)
	})
}

func (w *pacedWay) submit(ctx context.Context, command []byte) ([]store.Outcome, error) {
	if away := w.away.Load(); away != nil {
		select {
		case <-*away:
		case <-ctx.Done():
			return nil, oncelog.ErrNotApplied
		}
	}
	select {
	case w.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, oncelog.ErrNotApplied
	}
	time.Sleep(time.Duration(int64(len(command)) * int64(time.Second) / w.pace.Load()))
	<-w.turn
	c, err := raftfsm.Decode(command)
	if err != nil {
		return nil, err
	}
	return make([]store.Outcome, c.Batches[0].Events), nil
}

// crowd is what came of the requests of many clients.
type crowd struct {
	stored, refused, late, failed int
	// slowest is the longest that a stored request took.
	slowest time.Duration
}

// send has clients send requests of one batch each, one after the other, for a
// time. A refused client waits as long as it is told.
func (c *crowd) send(t *testing.T, p *proposer, clients int, duration time.Duration) {
	t.Helper()
	var mu sync.Mutex
	var sending sync.WaitGroup
	end := time.Now().Add(duration)
	for range clients {
		sending.Go(func() {
			for time.Now().Before(end) {
				begin := time.Now()
				err := request(t.Context(), p, 10*time.Second)
				mu.Lock()
				c.note(err, time.Since(begin))
				mu.Unlock()
				if full := (*oncelog.QueueFullError)(nil); errors.As(err, &full) {
					time.Sleep(min(full.RetryAfter, time.Until(end)))
				}
			}
		})
	}
	sending.Wait()
}

func (c *crowd) note(err error, took time.Duration) {
	switch {
	case err == nil:
		c.stored++
		c.slowest = max(c.slowest, took)
	case errors.Is(err, oncelog.ErrQueueFull):
		c.refused++
	case errors.Is(err, oncelog.ErrOutcomeUnknown):
		c.late++
	default:
		c.failed++
	}
}

// request publishes one event that fills half a batch.
func request(ctx context.Context, p *proposer, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return ask(ctx, p, events(1, halfPayload))
}

var halfPayload = `{"half":"` + strings.Repeat("h", raftfsm.MaxCommandBytes/2-200) + `"}`

// TestProposerRefusesWhatWouldComeTooLate sends ten times what keeps a leader busy,
// to leaders of all speeds: what is taken is answered in good time, nothing is left
// in doubt, and as much is stored as without the crowd.
func TestProposerRefusesWhatWouldComeTooLate(t *testing.T) {
	t.Parallel()
	for _, pace := range []int64{1 << 20, 2 << 20, 4 << 20} {
		t.Run(fmt.Sprint(pace>>20, " MiB a second"), func(t *testing.T) {
			t.Parallel()
			var few, many crowd
			pacing(t, pace, func(t *testing.T, p *proposer, _ *pacedWay) {
				few.send(t, p, 16, 20*time.Second)
				many.send(t, p, 400, 20*time.Second)
			})
			require.Zero(t, few.refused+few.late+few.failed, "what keeps the leader busy is no overload")
			require.Zero(t, many.late+many.failed, "%+v", many)
			require.GreaterOrEqual(t, many.stored, few.stored*95/100, "%+v after %+v", many, few)
			require.Less(t, many.slowest, 5*time.Second)
			require.Positive(t, many.refused)
			require.Less(t, many.refused, 4*400, "each is told its own turn")
		})
	}
}

// TestProposerFollowsThePace has a leader become slow, and quick again, under a
// crowd.
func TestProposerFollowsThePace(t *testing.T) {
	t.Parallel()
	var quick, slower, slow, again crowd
	pacing(t, 8<<20, func(t *testing.T, p *proposer, way *pacedWay) {
		quick.send(t, p, 400, 10*time.Second)
		way.pace.Store(1 << 20)
		slower.send(t, p, 400, 20*time.Second) // what was taken before is too much now
		slow.send(t, p, 400, 20*time.Second)
		way.pace.Store(8 << 20)
		again.send(t, p, 400, 10*time.Second)
	})
	require.Zero(t, slow.late+slow.failed+again.late+again.failed)
	require.GreaterOrEqual(t, slow.stored, 2*quick.stored/8*9/10)
	require.GreaterOrEqual(t, again.stored, quick.stored*8/10, "it takes a second or two to see that it is quick again")
}

// TestALostLeaderIsNoOverload has no leader for a while, under a load that a leader
// can take: nobody is refused then, nor afterwards.
func TestALostLeaderIsNoOverload(t *testing.T) {
	t.Parallel()
	for _, gone := range []time.Duration{time.Second, 3 * time.Second, time.Minute} {
		t.Run(gone.String(), func(t *testing.T) {
			t.Parallel()
			var load crowd
			pacing(t, 8<<20, func(t *testing.T, p *proposer, way *pacedWay) {
				var leaders sync.WaitGroup
				leaders.Go(func() {
					time.Sleep(5 * time.Second)
					back := make(chan struct{})
					way.away.Store(&back)
					time.Sleep(gone)
					way.away.Store(nil)
					close(back)
				})
				load.send(t, p, 32, gone+20*time.Second)
				leaders.Wait()
			})
			require.Zero(t, load.refused, "%+v", load)
			require.Equal(t, gone > 10*time.Second, load.failed > 0, "a request outlives what is shorter than its time")
		})
	}
}

// TestIdleTimeSaysNothingOfThePace has a trickle of small requests, and then a load.
func TestIdleTimeSaysNothingOfThePace(t *testing.T) {
	t.Parallel()
	var load crowd
	pacing(t, 4<<20, func(t *testing.T, p *proposer, _ *pacedWay) {
		for range 100 {
			require.NoError(t, ask(t.Context(), p, events(1, "{}")))
			time.Sleep(time.Minute)
		}
		load.send(t, p, 32, 10*time.Second)
	})
	require.Zero(t, load.refused+load.late+load.failed, "%+v", load)
}

// TestARefusalSaysWhenThereIsRoom asks again at the time that it was told, and is
// taken.
func TestARefusalSaysWhenThereIsRoom(t *testing.T) {
	t.Parallel()
	pacing(t, 4<<20, func(t *testing.T, p *proposer, _ *pacedWay) {
		new(crowd).send(t, p, 32, 10*time.Second) // so that the pace is known
		var waiting sync.WaitGroup
		var full *oncelog.QueueFullError
		for full == nil {
			pieces := cut([]oncelog.Event{fullEvent()}, time.Now().Add(10*time.Second))
			if err := p.enqueue(pieces); err != nil {
				require.ErrorAs(t, err, &full)
				require.ErrorIs(t, err, oncelog.ErrQueueFull)
				break
			}
			waiting.Go(func() { p.wait(t.Context(), pieces) })
		}
		require.ErrorIs(t, p.admits(0, time.Now().Add(10*time.Second)), oncelog.ErrQueueFull, "the door knows")
		require.NoError(t, p.admits(0, time.Now().Add(100*time.Second)), "who has time may wait")
		time.Sleep(full.RetryAfter)
		synctest.Wait()
		require.NoError(t, request(t.Context(), p, 10*time.Second))
		waiting.Wait()
	})
}
