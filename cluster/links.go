package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/google/uuid"

	"github.com/oncelog/oncelog"
)

// linkHost is where the proxies of links listen and what the nodes tell each
// other, each with the port that the node itself has at 127.0.0.1. Linux has all
// of 127.0.0.0/8.
const linkHost = "127.0.0.2"

// errNoLinks: the cluster was made without [Options.Links].
var errNoLinks = errors.New("the cluster was made without links")

// onLinkHost is an address with the host of the links.
func onLinkHost(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return net.JoinHostPort(linkHost, port)
}

// openLinks puts a proxy in front of each node.
func (c *Cluster) openLinks() error {
	for _, n := range c.nodes {
		p, err := openProxy(onLinkHost(n.spec.addrs.Raft), n.spec.addrs.Raft)
		if err != nil {
			return fmt.Errorf("link to %s: %w", n.Name(), err)
		}
		c.proxies = append(c.proxies, p)
	}
	return nil
}

// Links are the ways of a cluster's nodes to each other's node ports. Gossip has
// its own way, which no link carries.
type Links struct {
	nodes   []*Node
	proxies []*proxy
	ids     map[string]uuid.UUID
}

// Links asks who is who and returns the links of a cluster that was made with
// [Options.Links]. A node that returns with another id has other links.
func (c *Cluster) Links(ctx context.Context) (*Links, error) {
	if len(c.proxies) == 0 {
		return nil, errNoLinks
	}
	l := &Links{nodes: c.nodes, proxies: c.proxies}
	err := c.Await(ctx, "all nodes to know each other", func(ctx context.Context) error {
		return c.eachAlive(func(n *Node) (err error) {
			l.ids, err = n.identities(ctx, c.nodes)
			return err
		})
	})
	return l, err
}

// identities are the ids of some nodes, by name, as this one knows them.
func (n *Node) identities(ctx context.Context, nodes []*Node) (map[string]uuid.UUID, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	view, err := n.client.Cluster(ctx)
	if err != nil {
		return nil, err
	}
	ids := make(map[string]uuid.UUID)
	for _, m := range view.Nodes {
		// A dead node may be there beside the one that replaces it.
		if _, ok := ids[m.Name]; ok && m.Status != oncelog.Alive {
			continue
		}
		if ids[m.Name], err = uuid.Parse(m.ID); err != nil {
			return nil, fmt.Errorf("the id of %s: %w", m.Name, err)
		}
	}
	for _, other := range nodes {
		if _, ok := ids[other.Name()]; !ok && other.begun() {
			return nil, fmt.Errorf("it does not know %s", other.Name())
		}
	}
	return ids, nil
}

// Between is the link with the connections that from dials to to.
func (l *Links) Between(from, to *Node) *Link {
	return l.before(to).link(l.ids[from.Name()])
}

// before is the proxy that stands before a node.
func (l *Links) before(n *Node) *proxy { return l.proxies[slices.Index(l.nodes, n)] }

// Cut cuts two nodes off from each other.
func (l *Links) Cut(a, b *Node) {
	l.Between(a, b).Cut()
	l.Between(b, a).Cut()
}

// Silence makes all that from sends to to vanish, whoever of them dialled.
func (l *Links) Silence(from, to *Node) {
	l.Between(from, to).Silence(There)
	l.Between(to, from).Silence(Back)
}

// Isolate cuts a node off from all others, and from those that are yet to come.
func (l *Links) Isolate(n *Node) {
	l.before(n).setShut(true)
	for _, other := range l.nodes {
		if other != n {
			l.Cut(n, other)
		}
	}
}

// Heal ends the faults of all links.
func (l *Links) Heal() {
	for _, p := range l.proxies {
		p.setShut(false)
		for _, link := range p.all() {
			link.Heal()
		}
	}
}
