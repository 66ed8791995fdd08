package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
)

// Addresses are one node's three, each a host:port.
type Addresses struct {
	HTTP   string
	Raft   string
	Gossip string
}

// ErrPortInUse is a port on which another program listens.
var ErrPortInUse = errors.New("the port is in use")

// Free ports are taken from below those that the kernel gives to outgoing
// connections, one of which could take a port while its node is down.
const (
	firstFreePort = 12_000
	lastFreePort  = 32_000
)

// port is one to be listened on, and what to call it.
type port struct {
	what   string
	number int
}

func (p port) addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(p.number)) }

// addresses plans the ports of all nodes and sees that each can be had now. All
// that cannot are in the error.
func (o Options) addresses() ([]Addresses, error) {
	var held listeners
	defer held.close()
	addrs := make([]Addresses, o.all())
	planned := make(map[int]string)
	var faults []error
	for i := range addrs {
		for _, want := range []struct {
			what  string
			first int
			addr  *string
		}{
			{"HTTP", o.HTTPPort, &addrs[i].HTTP},
			{"Raft", o.RaftPort, &addrs[i].Raft},
			{"gossip", o.GossipPort, &addrs[i].Gossip},
		} {
			p := port{what: fmt.Sprintf("%s port of %s", want.what, nodeName(i)), number: want.first + i}
			var err error
			if want.first == 0 {
				p.number, err = held.takeFree(p.what)
			} else {
				err = held.takeNew(p, planned)
			}
			faults = append(faults, err)
			*want.addr = p.addr()
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return addrs, nil
}

// listeners hold ports until all are found.
type listeners []io.Closer

func (l *listeners) close() {
	for _, c := range *l {
		_ = c.Close()
	}
}

// takeNew takes a port that nothing else is planned for.
func (l *listeners) takeNew(p port, planned map[int]string) error {
	if p.number < 1 || p.number > 65535 {
		return fmt.Errorf("%w: %s: %d is no port; 1 to 65535 are", ErrOptions, p.what, p.number)
	}
	if other, ok := planned[p.number]; ok {
		return fmt.Errorf("%w: %s: %d is the %s too", ErrOptions, p.what, p.number, other)
	}
	planned[p.number] = p.what
	return l.take(p)
}

// take binds a port for TCP and UDP, since gossip needs both.
func (l *listeners) take(p port) error {
	var lc net.ListenConfig
	stream, err := lc.Listen(context.Background(), "tcp", p.addr())
	if err != nil {
		return fmt.Errorf("%s: %w: %w", p.what, ErrPortInUse, err)
	}
	*l = append(*l, stream)
	packets, err := lc.ListenPacket(context.Background(), "udp", p.addr())
	if err != nil {
		return fmt.Errorf("%s: %w: %w", p.what, ErrPortInUse, err)
	}
	*l = append(*l, packets)
	return nil
}

// takeFree takes some port.
func (l *listeners) takeFree(what string) (number int, err error) {
	const attempts = 100
	for range attempts {
		p := port{what: what, number: firstFreePort + rand.IntN(lastFreePort-firstFreePort)}
		if err = l.take(p); err == nil {
			return p.number, nil
		}
	}
	return 0, err
}
