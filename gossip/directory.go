package gossip

import (
	"cmp"
	"maps"
	"slices"
	"sync"
)

// Status is what gossip says of a member.
type Status string

// What gossip can say of a member.
const (
	// Alive: it answers, or has not been silent for long enough to be failed.
	Alive Status = "alive"
	// Failed: it has not answered for some seconds, nor said that it leaves.
	Failed Status = "failed"
	// Left: it has said that it leaves.
	Left Status = "left"
)

// MaxGone bounds how many members that failed or left are kept in mind.
const MaxGone = 64

// Member is a node as gossip knows it.
type Member struct {
	Meta
	// GossipAddr is host:port.
	GossipAddr string
	Status     Status
}

// directory is what is known of every member. memberlist has no safe view of
// its own: it lists the live only, by pointers into state that it goes on
// writing to. So its callbacks copy each change here.
type directory struct {
	// mu guards all below. memberlist's callbacks take it under memberlist's
	// own lock, so it is never held across a call into memberlist.
	mu sync.Mutex
	// self is what this node says of itself; leaving is said with it.
	self    Meta
	leaving bool
	// Invariant: no listed member's cluster id is foreign to self's.
	members map[string]entry
	// twin is the last other address heard of under this node's own id.
	twin Member
	// departures counts the members that went, so as to tell who went first.
	departures uint64
}

type entry struct {
	Member
	// departed is the value of departures when the member went; 0 while alive.
	departed uint64
}

func newDirectory(self Meta) *directory {
	return &directory{self: self, members: make(map[string]entry)}
}

// local returns what this node says of itself.
func (d *directory) local() Meta {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.self
}

// encodedLocal is local in wire form.
func (d *directory) encodedLocal() []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.self.encode(d.leaving)
}

// setLocal replaces what this node says of itself, and drops the members that
// are strangers in its light.
func (d *directory) setLocal(self Meta) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.self = self
	maps.DeleteFunc(d.members, func(_ string, e entry) bool { return d.foreign(e.Meta) })
}

// setLeaving makes this node say that it leaves.
func (d *directory) setLeaving() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.leaving = true
}

// foreign reports whether m belongs to another cluster than this node. A node
// without a cluster is foreign to none. The caller holds mu.
func (d *directory) foreign(m Meta) bool {
	return m.ID != d.self.ID && m.ClusterID != "" && d.self.ClusterID != "" && m.ClusterID != d.self.ClusterID
}

// admits reports whether m may be a member. One that may not is dropped if it
// was: it may have been known from before it had a cluster.
func (d *directory) admits(m Meta) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.foreign(m) {
		delete(d.members, m.ID)
		return false
	}
	return true
}

// put records a member that is heard of.
func (d *directory) put(m Member) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.foreign(m.Meta) {
		return
	}
	e := entry{Member: m}
	if m.Status != Alive {
		e.departed = d.nextDeparture()
	}
	d.members[m.ID] = e
	d.evict()
}

// noteTwin records another node under this node's id, and whether it is one.
func (d *directory) noteTwin(m Member) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if m.ID != d.self.ID {
		return false
	}
	d.twin = m
	return true
}

// gone records that a member answers no more.
func (d *directory) gone(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e, ok := d.members[id]
	if !ok {
		return
	}
	if e.Status == Alive {
		e.Status = Failed
	}
	e.departed = d.nextDeparture()
	d.members[id] = e
	d.evict()
}

func (d *directory) nextDeparture() uint64 {
	d.departures++
	return d.departures
}

// evict forgets the members gone longest, beyond MaxGone. The caller holds mu.
func (d *directory) evict() {
	var gone []entry
	for _, e := range d.members {
		if e.departed != 0 && e.ID != d.self.ID {
			gone = append(gone, e)
		}
	}
	if len(gone) <= MaxGone {
		return
	}
	slices.SortFunc(gone, func(a, b entry) int { return cmp.Compare(a.departed, b.departed) })
	for _, e := range gone[:len(gone)-MaxGone] {
		delete(d.members, e.ID)
	}
}

// forget drops a member that is not alive.
func (d *directory) forget(id string) (dropped bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e, ok := d.members[id]; !ok || e.Status == Alive || id == d.self.ID {
		return false
	}
	delete(d.members, id)
	return true
}

func (d *directory) lookup(id string) (Member, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e, ok := d.members[id]
	return e.Member, ok
}

// list returns all members, sorted by id.
func (d *directory) list() []Member {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make([]Member, 0, len(d.members))
	for _, e := range d.members {
		all = append(all, e.Member)
	}
	slices.SortFunc(all, func(a, b Member) int { return cmp.Compare(a.ID, b.ID) })
	return all
}
