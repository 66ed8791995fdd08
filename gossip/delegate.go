package gossip

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/hashicorp/memberlist"
)

// maxTold bounds the refused peers that are kept in mind.
const maxTold = 64

// errRefused marks a peer that is not taken for a member.
var errRefused = errors.New("refused")

// delegate is what memberlist calls back. Every call but NodeMeta comes under
// memberlist's lock, so none blocks: each copies what it is told into the
// directory and pokes whoever waits.
type delegate struct {
	dir     *directory
	log     *slog.Logger
	changed chan struct{}

	// mu guards told.
	mu sync.Mutex
	// told is why each refused peer was refused, as far as it was logged.
	told map[string]string
}

var (
	_ memberlist.Delegate      = (*delegate)(nil)
	_ memberlist.EventDelegate = (*delegate)(nil)
	_ memberlist.AliveDelegate = (*delegate)(nil)
	_ memberlist.MergeDelegate = (*delegate)(nil)

	_ memberlist.ConflictDelegate = (*delegate)(nil)
)

// NodeMeta implements [memberlist.Delegate].
func (d *delegate) NodeMeta(int) []byte { return d.dir.encodedLocal() }

// NotifyMsg implements [memberlist.Delegate]; nodes send no other messages.
func (d *delegate) NotifyMsg([]byte) {}

// GetBroadcasts implements [memberlist.Delegate].
func (d *delegate) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState implements [memberlist.Delegate].
func (d *delegate) LocalState(bool) []byte { return nil }

// MergeRemoteState implements [memberlist.Delegate].
func (d *delegate) MergeRemoteState([]byte, bool) {}

// NotifyAlive implements [memberlist.AliveDelegate]: it keeps out strangers,
// one by one, however they are heard of.
func (d *delegate) NotifyAlive(peer *memberlist.Node) error {
	_, err := d.admit(peer)
	return err
}

// NotifyMerge implements [memberlist.MergeDelegate]: it tells a join with
// another cluster from one with ours. A single stranger among friends is left
// to NotifyAlive, since refusing the whole would cut off the friends.
func (d *delegate) NotifyMerge(peers []*memberlist.Node) error {
	var refusal error
	for _, peer := range peers {
		_, err := d.admit(peer)
		if err == nil {
			return nil
		}
		refusal = err
	}
	return refusal
}

// NotifyJoin implements [memberlist.EventDelegate].
func (d *delegate) NotifyJoin(n *memberlist.Node) { d.heard(n) }

// NotifyUpdate implements [memberlist.EventDelegate].
func (d *delegate) NotifyUpdate(n *memberlist.Node) { d.heard(n) }

// NotifyLeave implements [memberlist.EventDelegate]. It comes for failures too.
func (d *delegate) NotifyLeave(n *memberlist.Node) {
	d.dir.gone(n.Name)
	poke(d.changed)
}

// NotifyConflict implements [memberlist.ConflictDelegate]: two addresses claim
// one id. It comes for an id that has moved too, until its old address is found
// dead, so it only matters where the id is this node's own.
func (d *delegate) NotifyConflict(_, other *memberlist.Node) {
	m, err := d.admit(other)
	if err == nil && d.dir.noteTwin(m) {
		poke(d.changed)
	}
}

// heard records an admitted peer as it now is.
func (d *delegate) heard(n *memberlist.Node) {
	m, err := d.admit(n)
	if err != nil {
		return
	}
	d.dir.put(m)
	poke(d.changed)
}

// admit reads a peer's metadata and says whether it may be a member. A refusal
// is logged once for each peer and reason.
func (d *delegate) admit(n *memberlist.Node) (Member, error) {
	meta, leaving, err := decodeMeta(n.Meta)
	switch {
	case err != nil:
		err = fmt.Errorf("%w: %w", errRefused, err)
	case meta.ID != n.Name:
		err = fmt.Errorf("%w: it says that its id is %s", errRefused, meta.ID)
	case !d.dir.admits(meta):
		err = fmt.Errorf("%w: it belongs to another cluster, %s", errRefused, meta.ClusterID)
		poke(d.changed)
	}
	if err != nil {
		d.logOnce(n, meta.Name, err)
		return Member{}, err
	}
	m := Member{Meta: meta, GossipAddr: n.Address(), Status: Alive}
	if leaving {
		m.Status = Left
	}
	return m, nil
}

// logOnce logs why a peer is refused, unless it has already.
func (d *delegate) logOnce(n *memberlist.Node, name string, why error) {
	d.mu.Lock()
	known := d.told[n.Name] == why.Error()
	if !known {
		if len(d.told) >= maxTold {
			clear(d.told)
		}
		d.told[n.Name] = why.Error()
	}
	d.mu.Unlock()
	if !known {
		d.log.Warn("gossip from a stranger is ignored", "id", n.Name, "name", name, "addr", n.Address(), "reason", why)
	}
}

// poke wakes whoever waits on c, now or next.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
