package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// linkFaultKinds are those of the links between the nodes' ports.
var linkFaultKinds = []fault{
	onLinks("cut", func(_ context.Context, m *nemesis, l *Links, chance *rand.Rand) string {
		a, b := m.pair(chance)
		l.Cut(a, b)
		return fmt.Sprintf("between %s and %s", a, b)
	}),
	onLinks("silence", func(_ context.Context, m *nemesis, l *Links, chance *rand.Rand) string {
		a, b := m.pair(chance)
		l.Silence(a, b)
		return fmt.Sprintf("from %s to %s", a, b)
	}),
	onLinks("isolate leader", func(ctx context.Context, m *nemesis, l *Links, chance *rand.Rand) string {
		n := m.leader(ctx, chance)
		l.Isolate(n)
		return n.String()
	}),
	onLinks("isolate follower", func(ctx context.Context, m *nemesis, l *Links, chance *rand.Rand) string {
		n := m.follower(ctx, chance)
		l.Isolate(n)
		return n.String()
	}),
	onLinks("leader not heard", func(ctx context.Context, m *nemesis, l *Links, chance *rand.Rand) string {
		n := m.leader(ctx, chance)
		l.silenceAll(n, There)
		return n.String()
	}),
	onLinks("leader hears nobody", func(ctx context.Context, m *nemesis, l *Links, chance *rand.Rand) string {
		n := m.leader(ctx, chance)
		l.silenceAll(n, Back)
		return n.String()
	}),
	onLinks("bridge", func(ctx context.Context, m *nemesis, l *Links, chance *rand.Rand) string {
		a, b := m.leader(ctx, chance), m.follower(ctx, chance)
		if a != b {
			l.Cut(a, b)
		}
		return fmt.Sprintf("over all but %s and %s", a, b)
	}),
	onLinks("lose replies", func(_ context.Context, m *nemesis, l *Links, chance *rand.Rand) string {
		every := 1 + chance.IntN(20)
		m.eachLink(l, func(link *Link) { link.LoseReplies(every) })
		return fmt.Sprintf("every %d", every)
	}),
	onLinks("delay", func(_ context.Context, m *nemesis, l *Links, chance *rand.Rand) string {
		a, b, d := m.any(chance), m.any(chance), between(chance, 20*time.Millisecond, 400*time.Millisecond)
		m.eachLink(l, func(link *Link) { link.Delay(d) }, a, b)
		return fmt.Sprintf("of %s at %s and %s", d.Round(time.Millisecond), a, b)
	}),
	onLinks("throttle", func(_ context.Context, m *nemesis, l *Links, chance *rand.Rand) string {
		n, rate := m.any(chance), 5000+chance.IntN(100_000)
		m.eachLink(l, func(link *Link) { link.Throttle(rate) }, n)
		return fmt.Sprintf("%s to %d bytes/s", n, rate)
	}),
}

// onLinks is a fault of links, which end in at most 6 s.
func onLinks(name string, fail func(context.Context, *nemesis, *Links, *rand.Rand) string) fault {
	return fault{name, func(ctx context.Context, m *nemesis, chance *rand.Rand) error {
		m.calm.Lock()
		defer m.calm.Unlock()
		asking, cancel := context.WithTimeout(ctx, 5*time.Second)
		links, err := m.cluster.Links(asking)
		cancel()
		if err != nil {
			return fmt.Errorf("%w: the nodes do not all know each other", errNotNow)
		}
		before := lostAnywhere(links)
		what := fail(ctx, m, links, chance)
		d := between(chance, 500*time.Millisecond, 6*time.Second)
		m.note("%s %s for %s", name, what, d.Round(time.Millisecond))
		rest(ctx, d)
		links.Heal()
		m.note("%s is over: %d", name, lostAnywhere(links)-before)
		return nil
	}}
}

// eachLink does something to all links of some nodes, or to all there are.
func (m *nemesis) eachLink(l *Links, do func(*Link), of ...*Node) {
	if len(of) == 0 {
		of = m.begun()
	}
	for _, a := range of {
		for _, b := range m.begun() {
			if a != b {
				do(l.Between(a, b))
				do(l.Between(b, a))
			}
		}
	}
}

// lostAnywhere counts what all links have refused, or made to vanish, or reset.
func lostAnywhere(l *Links) (lost int64) {
	for _, p := range l.proxies {
		for _, link := range p.all() {
			t := link.Traffic()
			lost += int64(t.Refused+t.LostReplies) + t.Vanished[There] + t.Vanished[Back]
		}
	}
	return lost
}
