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
	// takeoverPause is the wait before voters are asked again; it doubles each time, up
	// to takeoverMaxPause.
	takeoverPause    = 5 * time.Millisecond
	takeoverMaxPause = 40 * time.Millisecond
	// takeoverLooks is how often the leader is looked at in the time that it may be
	// silent.
	takeoverLooks = 10
)

// takeover has a lost leader followed as soon as the voters agree that it is lost, and
// not when Raft's time-outs, which go by chance, have ended on each of them.
//
// A voter takes the leader for lost that has been silent for the heartbeat time-out, or
// sooner, if its process has ended: the kernel closes the connections of a process that
// dies, so no Raft stream of it is open any more, and nobody answers at its port. A
// pause, a cut cable or a dead machine close none.
//
// It then asks the others whether they see the same. If a quorum does, the leader can
// not lead: it would need one of them. Of those the one with the longest log, and of
// equals the lowest id, stands for election. The questions take the place of Raft's
// pre-vote, so no two stand against each other, and none stands against a leader that
// others still hear.
//
// That a node stands early is never wrong, only perhaps in vain: an election is
// decided by Raft. So its own time-outs stay, somewhat longer, for what the voters do
// not agree on.
type takeover struct {
	leadership *leadership
	group      *group
	streams    *streamListener
	caller     *caller
	dial       func(ctx context.Context, id uuid.UUID, kind streamKind) (net.Conn, error)
	logger     *slog.Logger
	// patience is how long the leader may be silent.
	patience time.Duration
}

// vacancy is the place of a leader that is lost, and the term in which it led.
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

// run watches the leader until ctx ends. It looks twice before it takes a leader for
// silent: a node that was stopped itself, or had to wait for a processor, finds at the
// second look what the leader has sent meanwhile.
func (t *takeover) run(ctx context.Context) {
	for suspected := false; ; {
		select {
		case <-t.streams.silent:
			t.follow(ctx)
		case <-time.After(max(t.patience-t.silence(), t.patience/takeoverLooks)):
			before := suspected
			suspected = t.silence() >= t.patience
			if before && suspected {
				t.follow(ctx)
			}
		case <-ctx.Done():
			return
		}
	}
}

// silence is how long nothing has been heard of the leader.
func (t *takeover) silence() time.Duration { return time.Since(t.group.LastContact()) }

// follow tries until there is another leader, or the old one shows up.
func (t *takeover) follow(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, t.patience)
	defer cancel()
	lost, vacant := t.vacancy()
	for pause := takeoverPause; vacant; pause = min(2*pause, takeoverMaxPause) {
		stands := t.mayStand(ctx, lost)
		if now, still := t.vacancy(); !still || now != lost {
			return
		}
		if stands {
			t.logger.Info("the leader is lost: standing for election", "leader", lost.Leader.String(), "term", lost.Term,
				"silent", t.silence().Round(time.Millisecond).String())
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

// vacancy is that of the leader that this node follows, if it may be lost.
func (t *takeover) vacancy() (vacancy, bool) {
	term := t.group.CurrentTerm()
	leader, known, _ := t.leadership.leader()
	follows := known && leader != t.leadership.self && t.group.State() == raft.Follower
	return vacancy{Leader: leader, Term: term}, follows && (!t.streams.connected(leader) || t.silence() >= t.patience)
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
			_ = t.caller.call(ctx, id, methodVacancy, lost, &answers[i])
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

// serveVacancy serves methodVacancy.
func (t *takeover) serveVacancy(ctx context.Context, lost vacancy) (claim, error) {
	return t.claim(ctx, lost), nil
}

// claim is this node's view. The log of a voter whose leader has ended is at its end:
// a stream is closed when all that came over it has been answered.
func (t *takeover) claim(ctx context.Context, lost vacancy) claim {
	leader, known, _ := t.leadership.leader()
	moved := known && leader != lost.Leader || t.group.CurrentTerm() != lost.Term
	if moved || t.silence() < t.patience && (t.streams.connected(lost.Leader) || !t.ended(ctx, lost.Leader)) {
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
