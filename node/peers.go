package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"

	"github.com/oncelog/oncelog/gossip"
	"github.com/oncelog/oncelog/raftfsm"
)

// errUnknownPeer is a node whose address nobody has told yet.
var errUnknownPeer = errors.New("no address is known for the node")

// peers finds the address of a node by its id: what gossip heard last, or else
// what the Raft configuration says. Addresses may change; ids do not.
type peers struct {
	identity *identity
	gossip   *gossip.Gossip
	fsm      *raftfsm.FSM
}

func (p *peers) addr(id uuid.UUID) (string, error) {
	if m, ok := p.gossip.Lookup(id.String()); ok && m.RaftAddr != "" {
		return m.RaftAddr, nil
	}
	for _, s := range p.fsm.Configuration().Servers {
		if string(s.ID) == id.String() {
			return hostPort(s.Address), nil
		}
	}
	return "", fmt.Errorf("%w %s", errUnknownPeer, id)
}

// dial connects to a node by its id.
func (p *peers) dial(ctx context.Context, id uuid.UUID, kind streamKind) (net.Conn, error) {
	addr, err := p.addr(id)
	if err != nil {
		return nil, err
	}
	return dialPeer(ctx, p.identity, id, addr, kind)
}

// Raft's configuration holds addresses of the form "id@host:port name": the
// preamble needs the id of the node that is dialled; Raft refuses two servers of
// one address, as a dead node and its successor in the same place have; and a dead
// node's name has to be known where gossip has forgotten it.
const (
	idSeparator   = "@"
	nameSeparator = " "
)

func raftAddress(id, hostPort, name string) raft.ServerAddress {
	return raft.ServerAddress(id + idSeparator + hostPort + nameSeparator + name)
}

// hostPort is the part of a Raft address that can be dialled.
func hostPort(address raft.ServerAddress) string {
	_, rest, _ := strings.Cut(string(address), idSeparator)
	addr, _, _ := strings.Cut(rest, nameSeparator)
	return addr
}

// nameIn is the node's name in a Raft address, "" where it has none.
func nameIn(address raft.ServerAddress) string {
	_, name, _ := strings.Cut(string(address), nameSeparator)
	return name
}

// ServerAddr implements raft.ServerAddressProvider.
func (p *peers) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
	node, err := uuid.Parse(string(id))
	if err != nil {
		return "", fmt.Errorf("%w %q: %w", errUnknownPeer, id, err)
	}
	addr, err := p.addr(node)
	if err != nil {
		return "", err
	}
	return raftAddress(string(id), addr, ""), nil
}

// raftStreams is Raft's way through the node port.
type raftStreams struct {
	*streamListener
	peers *peers
}

var _ raft.StreamLayer = raftStreams{}

// redialPause is the wait before a peer is dialled again.
const redialPause = 100 * time.Millisecond

// Dial implements raft.StreamLayer. It dials again and again for as long as it has
// time, unless the peer refuses: after a failure, Raft waits for up to 10 s before
// the next attempt, and a peer that is back should not. One that is back elsewhere is
// dialled there as soon as it has said so.
func (s raftStreams) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	id, _, _ := strings.Cut(string(address), idSeparator)
	target, err := uuid.Parse(id)
	if err != nil {
		return nil, fmt.Errorf("%w %q: %w", errUnknownPeer, address, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	conn, err := s.redial(ctx, target, hostPort(address))
	if err != nil {
		return nil, err
	}
	tracked, ok := s.track(conn, uuid.Nil)
	if !ok {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	return tracked, nil
}

func (s raftStreams) redial(ctx context.Context, target uuid.UUID, first string) (net.Conn, error) {
	addr := first
	for {
		conn, err := dialPeer(ctx, s.peers.identity, target, addr, streamRaft)
		if err == nil || errors.Is(err, errRefused) {
			return conn, err
		}
		select {
		case <-time.After(redialPause):
		case <-ctx.Done():
			return nil, err
		case <-s.closed:
			return nil, net.ErrClosed
		}
		if now, err := s.peers.addr(target); err == nil {
			addr = now
		}
	}
}
