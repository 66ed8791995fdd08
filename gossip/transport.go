package gossip

import (
	"context"
	"fmt"
	"log"
	"net"
	"time"

	"github.com/hashicorp/memberlist"
)

// transport is memberlist's own, but that Shutdown also ends what was dialed (a node
// that closes does not wait for a peer that is silent), and that the connections
// that others open are bounded.
type transport struct {
	*memberlist.NetTransport
	bound   *net.TCPAddr
	streams *streams
	// ctx ends with Shutdown, and with it every connection dialed.
	ctx    context.Context
	cancel context.CancelFunc
}

var _ memberlist.NodeAwareTransport = (*transport)(nil)

// listen binds TCP and UDP on one port.
func listen(addr string, logger *log.Logger) (*transport, error) {
	bind, err := resolve("BindAddr", addr)
	if err != nil {
		return nil, err
	}
	nt, err := bindTransport(&memberlist.NetTransportConfig{
		BindAddrs: []string{bind.IP.String()},
		BindPort:  bind.Port,
		Logger:    logger,
	})
	if err != nil {
		return nil, fmt.Errorf("gossip: cannot listen on %s: %w", addr, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &transport{
		NetTransport: nt,
		bound:        &net.TCPAddr{IP: bind.IP, Port: nt.GetAutoBindPort()},
		streams:      newStreams(ctx, nt.StreamCh()),
		ctx:          ctx,
		cancel:       cancel,
	}, nil
}

// bindTransport tries again where the port is any: the one that TCP is given
// may be taken for UDP.
func bindTransport(conf *memberlist.NetTransportConfig) (nt *memberlist.NetTransport, err error) {
	attempts := 1
	if conf.BindPort == 0 {
		attempts = 10
	}
	for range attempts {
		if nt, err = memberlist.NewNetTransport(conf); err == nil {
			return nt, nil
		}
	}
	return nil, err
}

// DialTimeout implements [memberlist.Transport].
func (t *transport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return t.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

// DialAddressTimeout implements [memberlist.NodeAwareTransport].
func (t *transport) DialAddressTimeout(addr memberlist.Address, timeout time.Duration) (net.Conn, error) {
	dialer := net.Dialer{Timeout: timeout}
	conn, err := dialer.DialContext(t.ctx, "tcp", addr.Addr)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(t.ctx, func() { _ = conn.Close() })
	return &dialed{Conn: conn, stop: stop}, nil
}

// StreamCh implements [memberlist.Transport].
func (t *transport) StreamCh() <-chan net.Conn { return t.streams.out }

// Shutdown implements [memberlist.Transport].
func (t *transport) Shutdown() error {
	t.cancel()
	err := t.NetTransport.Shutdown()
	t.streams.end()
	return err
}

// dialed is a connection that its transport may close first.
type dialed struct {
	net.Conn
	stop func() bool
}

// Close implements [net.Conn].
func (d *dialed) Close() error {
	d.stop()
	return d.Conn.Close()
}
