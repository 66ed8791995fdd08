package node

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"

	"github.com/oncelog/oncelog/raftfsm/store"
)

const (
	// takeoverAsk bounds one question to another voter, and one look at the old
	// leader's port.
	takeoverAsk = 200 * time.Millisecond
	// takeoverPause is the wait before voters are asked again; it doubles each time.
	takeoverPause = 5 * time.Millisecond
)

// takeover has a leader whose process has ended followed at once, and not when
// Raft's time-outs are over. The kernel closes the connections of a process that
// dies, so its followers know; a pause, a cut cable or a dead machine close none,
// and are left to the time-outs.
//
// A voter to which the leader has no Raft stream any more, and at whose port nobody
// answers, asks the others whether they see the same. If a quorum does, it can not
// lead: it would need one of them. Of those the one with the longest log, and of
// equals the lowest id, stands for election. The questions take the place of Raft's
// pre-vote, so no two stand against each other, and none stands against a leader
// that others still hear.
//
// That a node stands early is never wrong, only perhaps in vain: an election is
// decided by Raft.
type takeover struct {
	leadership *leadership
	group      *group
	streams    *streamListener
	caller     *caller
	dial       func(ctx context.Context, id uuid.UUID, kind streamKind) (net.Conn, error)
	logger     *slog.Logger
	// patience is Raft's own; after it nothing is gained any more.
	patience time.Duration
}

// vacancy is the place of a leader that has ended, and the term in which it led.
type vacancy struct {
	Leader uuid.UUID `json:"leader"`
	Term   uint64    `json:"term"`
}

// claim is a voter's view of a vacancy, and how far its log goes.
type claim struct {
	Vacant bool   `json:"vacant"`
	Term   uint64 `json:"term"`
	Index  uint64 `json:"index"`
}

// run watches the leader's streams until ctx ends.
func (t *takeover) run(ctx context.Context) {
	for {
		select {
		case <-t.streams.silent:
			t.follow(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// follow tries until there is another leader, or the old one shows up.
func (t *takeover) follow(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, t.patience)
	defer cancel()
	lost, vacant := t.vacancy()
	for pause := takeoverPause; vacant; pause *= 2 {
		stands := t.mayStand(ctx, lost)
		if now, still := t.vacancy(); !still || now != lost {
			return
		}
		if stands {
			t.logger.Info("the leader has ended: standing for election", "leader", lost.Leader.String(), "term", lost.Term)
			t.group.gate.stand(ctx)
			return
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

// vacancy is that of the leader that this node follows, if it is silent.
func (t *takeover) vacancy() (vacancy, bool) {
	term := t.group.CurrentTerm()
	leader, known, _ := t.leadership.leader()
	silent := known && t.group.State() == raft.Follower && !t.streams.connected(leader)
	return vacancy{Leader: leader, Term: term}, silent
}

// mayStand tells whether this node is the one to stand for election.
func (t *takeover) mayStand(ctx context.Context, lost vacancy) bool {
	own := t.leadership.self
	voters := t.group.voters()
	claims := map[uuid.UUID]claim{own: t.claim(ctx, lost)}
	if !claims[own].Vacant || !slices.Contains(voters, own) {
		return false
	}
	asked := slices.DeleteFunc(slices.Clone(voters), func(id uuid.UUID) bool { return id == own || id == lost.Leader })
	answers := make([]claim, len(asked))
	var asking sync.WaitGroup
	for i, id := range asked {
		asking.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, takeoverAsk)
			defer cancel()
			// A voter that does not answer has no claim.
			_ = t.caller.call(ctx, id, pathVacancy, lost, &answers[i])
		})
	}
	asking.Wait()
	for i, id := range asked {
		claims[id] = answers[i]
	}
	return first(claims, len(voters)) == own
}

// first is the one of some voters that is to stand for election, or uuid.Nil where
// fewer than a quorum of all of them see a vacancy. Raft elects nobody whose log
// ends before a voter's own.
func first(claims map[uuid.UUID]claim, voters int) (best uuid.UUID) {
	agreed := 0
	for id, c := range claims {
		if !c.Vacant {
			continue
		}
		b := claims[best]
		if agreed++; agreed == 1 || cmp.Or(cmp.Compare(c.Term, b.Term), cmp.Compare(c.Index, b.Index), bytes.Compare(best[:], id[:])) > 0 {
			best = id
		}
	}
	if agreed < voters/2+1 {
		return uuid.Nil
	}
	return best
}

// serveVacancy serves pathVacancy.
func (t *takeover) serveVacancy(ctx context.Context, lost vacancy) (claim, error) {
	return t.claim(ctx, lost), nil
}

// claim is this node's view. Its log is at its end then: the stream of a dead leader
// ends when all that came over it has been answered.
func (t *takeover) claim(ctx context.Context, lost vacancy) claim {
	leader, known, _ := t.leadership.leader()
	moved := known && leader != lost.Leader || t.group.CurrentTerm() != lost.Term
	if moved || t.streams.connected(lost.Leader) || !t.ended(ctx, lost.Leader) {
		return claim{}
	}
	last, err := t.group.lastEntry()
	return claim{Vacant: err == nil, Term: last.Term, Index: last.Index}
}

// ended tells whether nobody is at a node's port any more.
func (t *takeover) ended(ctx context.Context, id uuid.UUID) bool {
	ctx, cancel := context.WithTimeout(ctx, takeoverAsk)
	defer cancel()
	conn, err := t.dial(ctx, id, streamCalls)
	if err == nil {
		_ = conn.Close()
	}
	return hungUp(err)
}

// hungUp tells what comes of dialling a process that has ended: the port is closed,
// or a proxy before it hangs up. A process that lives answers, and one that is
// paused, or cut off, leaves the caller waiting.
func hungUp(err error) bool {
	return slices.ContainsFunc([]error{syscall.ECONNREFUSED, syscall.ECONNRESET, io.EOF}, func(e error) bool { return errors.Is(err, e) })
}

// voters are those of Raft's latest configuration, committed or not, as in Raft's
// own counting: consecutive configurations have overlapping quorums.
func (g *group) voters() (ids []uuid.UUID) {
	for _, s := range g.GetConfiguration().Configuration().Servers {
		if id, err := uuid.Parse(string(s.ID)); err == nil && s.Suffrage == raft.Voter {
			ids = append(ids, id)
		}
	}
	return ids
}

// lastEntry is where this node's log ends, be it in a snapshot.
func (g *group) lastEntry() (store.Position, error) {
	applied := g.store.Applied()
	last, err := g.log.LastIndex()
	if err != nil || last <= applied.Index {
		return applied, err
	}
	term, err := g.log.termOf(last, last, last)
	return store.Position{Index: last, Term: term}, err
}
