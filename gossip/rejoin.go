package gossip

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"
)

// firstRetry is the wait before the second round; it doubles up to
// Config.RejoinInterval.
const firstRetry = 250 * time.Millisecond

// joiner keeps in touch: with the addresses it was given, since a node that
// comes back empty knows nobody else, and with members that failed, since after
// a partition neither side would ever ask the other again.
type joiner struct {
	join     []string
	self     string
	interval time.Duration
	dir      *directory
	log      *slog.Logger
	// ask makes one exchange with the node at an address.
	ask func(addr string) error
	// silent holds the addresses of the last round that did not answer.
	silent map[string]bool
	// asked is closed after the first round.
	asked chan struct{}
}

// run asks in rounds until ctx ends. They come close together at first, and whenever
// an address has ceased to answer, and become rarer: a node that has come back at
// another address has to ask again once the others have found its old one dead.
func (j *joiner) run(ctx context.Context) {
	wait, answered := firstRetry, true
	for first := true; ; first = false {
		before := answered
		answered = j.round(ctx)
		if first {
			close(j.asked)
		}
		if before && !answered {
			wait = firstRetry
		}
		timer := time.NewTimer(min(wait, j.interval))
		wait = min(2*wait, j.interval)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// round asks each address once, and logs which start or stop answering.
func (j *joiner) round(ctx context.Context) (allAnswered bool) {
	silent := make(map[string]bool)
	for _, addr := range j.targets() {
		if ctx.Err() != nil {
			return false
		}
		err := j.ask(addr)
		switch {
		case err == nil && j.silent[addr]:
			j.log.Info("a gossip address answers now", "addr", addr)
		case err != nil && ctx.Err() == nil && !j.silent[addr]:
			j.log.Warn("a gossip address cannot be joined; it is tried again and again", "addr", addr, "err", cause(err))
		}
		if err != nil {
			silent[addr] = true
		}
	}
	j.silent = silent
	return len(silent) == 0
}

// targets lists each address to ask once, never this node's own.
func (j *joiner) targets() []string {
	targets := slices.Clone(j.join)
	for _, m := range j.dir.list() {
		if m.Status == Failed {
			targets = append(targets, m.GossipAddr)
		}
	}
	slices.Sort(targets)
	targets = slices.Compact(targets)
	return slices.DeleteFunc(targets, func(addr string) bool { return addr == j.self })
}

// cause is the one error in the list that memberlist makes of it, whose text
// has several lines.
func cause(err error) error {
	if inner := errors.Unwrap(err); inner != nil {
		return inner
	}
	return err
}
