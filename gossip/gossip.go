package gossip

import (
	"context"
	"errors"
	"fmt"
	"log"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// leaveTimeout bounds the announcement of a leave.
const leaveTimeout = 5 * time.Second

// ErrClosed is returned once the node takes no more part.
var ErrClosed = errors.New("gossip: closed")

// Gossip is one node's part. Its methods may be called at the same time.
type Gossip struct {
	list    *memberlist.Memberlist
	dir     *directory
	addr    string
	changed chan struct{}
	asked   chan struct{}

	// stop ends the joiner; done is closed when it has ended.
	stop context.CancelFunc
	done chan struct{}

	// mu serialises SetMeta, Leave and Close: memberlist neither updates a
	// node from two sides at once nor leaves after it was shut down.
	mu sync.Mutex
	// left and closed, guarded by mu, say that Leave and Close have begun.
	left, closed bool
}

// Start listens, and begins to join the addresses of cfg.Join in the
// background. That none of them answers is no error: they are tried until they
// do. It fails on a bad configuration, metadata ([ErrMeta]) or an address that
// cannot be listened on.
func Start(cfg Config) (*Gossip, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	logger := newLogBridge(cfg.Logger)
	t, err := listen(cfg.BindAddr, logger)
	if err != nil {
		return nil, err
	}
	g, err := create(cfg, t, logger)
	if err != nil {
		return nil, errors.Join(err, t.Shutdown())
	}
	return g, nil
}

// create makes a node of an open transport, which stays the caller's to close
// if it fails.
func create(cfg Config, t *transport, logger *log.Logger) (*Gossip, error) {
	conf, err := cfg.memberlist(t)
	if err != nil {
		return nil, err
	}
	dir := newDirectory(cfg.Meta)
	d := &delegate{dir: dir, log: cfg.Logger, changed: make(chan struct{}, 1), told: make(map[string]string)}
	conf.Logger = logger
	conf.Delegate, conf.Events, conf.Alive, conf.Merge, conf.Conflict = d, d, d, d, d
	list, err := memberlist.Create(conf)
	if err != nil {
		return nil, fmt.Errorf("gossip: %w", err)
	}
	j := &joiner{
		join:     cfg.Join,
		self:     list.LocalNode().Address(),
		interval: cfg.RejoinInterval,
		dir:      dir,
		log:      cfg.Logger,
		ask:      func(addr string) error { _, err := list.Join([]string{addr}); return err },
		asked:    make(chan struct{}),
	}
	ctx, stop := context.WithCancel(context.Background())
	g := &Gossip{
		list: list, dir: dir, addr: t.bound.String(), changed: d.changed, asked: j.asked,
		stop: stop, done: make(chan struct{}),
	}
	go func() {
		defer close(g.done)
		j.run(ctx)
	}()
	return g, nil
}

// Addr returns the host:port that is listened on.
func (g *Gossip) Addr() string { return g.addr }

// Changed receives after any change of the members, for one reader. Changes
// that come close together may be told as one, so look at everything.
func (g *Gossip) Changed() <-chan struct{} { return g.changed }

// Asked is closed when every address of Config.Join has been asked once,
// whether it answered or not. From then on NameTaken has something to go by.
func (g *Gossip) Asked() <-chan struct{} { return g.asked }

// Members lists every known node, this one included, sorted by id. Those that
// failed or left are listed until they return or are forgotten.
func (g *Gossip) Members() []Member { return g.dir.list() }

// Lookup returns the node with an id.
func (g *Gossip) Lookup(id string) (Member, bool) { return g.dir.lookup(id) }

// NameTaken returns an alive node, other than this one, that has a name.
func (g *Gossip) NameTaken(name string) (Member, bool) {
	self := g.dir.local().ID
	for _, m := range g.dir.list() {
		if m.Name == name && m.ID != self && m.Status == Alive {
			return m, true
		}
	}
	return Member{}, false
}

// Twin returns what was last heard of another node under this node's own id. It
// may be this node itself, at an address that it has left.
func (g *Gossip) Twin() (Member, bool) {
	g.dir.mu.Lock()
	defer g.dir.mu.Unlock()
	return g.dir.twin, g.dir.twin.ID != ""
}

// Forget drops a node that is not alive, such as one that was replaced. It is
// listed again if it returns.
func (g *Gossip) Forget(id string) {
	if g.dir.forget(id) {
		poke(g.changed)
	}
}

// SetMeta changes what the others are told of this node; all but the ID may
// change. It returns at once, and the news spreads from then on. The error is
// an [ErrMeta], and then nothing has changed, or [ErrClosed].
func (g *Gossip) SetMeta(update func(*Meta)) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed || g.left {
		return ErrClosed
	}
	self := g.dir.local()
	id := self.ID
	update(&self)
	if self.ID != id {
		return fmt.Errorf("%w: ID may not change", ErrMeta)
	}
	if err := self.validate(); err != nil {
		return err
	}
	g.dir.setLocal(self)
	// The only error is that the wait is over. The update is queued by then,
	// and each complete exchange carries it too.
	_ = g.list.UpdateNode(time.Nanosecond)
	poke(g.changed)
	return nil
}

// Leave tells the others that this node leaves on purpose, and waits until it
// has been said: until ctx's deadline, at most 5 s. The node then takes no more
// part; Close is still to be called.
func (g *Gossip) Leave(ctx context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed || g.left {
		return ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	timeout := leaveTimeout
	if deadline, ok := ctx.Deadline(); ok {
		timeout = min(timeout, time.Until(deadline))
	}
	g.left = true
	g.stop()
	// memberlist does not tell its events a leave from a failure, so the
	// metadata says it first.
	g.dir.setLeaving()
	err := errors.Join(g.list.UpdateNode(timeout/2), g.list.Leave(timeout/2))
	if err != nil {
		return fmt.Errorf("gossip: leave: %w", err)
	}
	return nil
}

// Close stops without a word, as for a restart: unless Leave came before, the
// others will find this node failed. The node's own goroutines have ended when
// it returns; memberlist's last ones end within Timings.StreamTimeout.
func (g *Gossip) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil
	}
	g.closed = true
	g.stop()
	// Shutdown also ends the exchange that the joiner may be in.
	err := g.list.Shutdown()
	<-g.done
	return err
}
