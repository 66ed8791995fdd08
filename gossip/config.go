package gossip

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/hashicorp/memberlist"
)

// DefaultBindAddr is where gossip listens when it is not told where.
const DefaultBindAddr = "127.0.0.1:7946"

// Config says how a node takes part. The zero value of any field but Meta
// means the default. Nothing in it changes after [Start].
type Config struct {
	// BindAddr is the host:port to listen on, for TCP and UDP alike. Port 0
	// takes any free one.
	BindAddr string
	// AdvertiseAddr is the host:port at which the others reach this node, if
	// that is not BindAddr. Port 0 means the one bound. Bound to every IPv4
	// interface, the default is the first private address; IPv6 has none.
	AdvertiseAddr string
	// Join lists gossip addresses (host:port) of other nodes. This node's own
	// may be among them.
	Join []string
	// Meta is what the others are told; its ID is required.
	Meta Meta
	// Logger takes memberlist's messages too. The default discards them.
	Logger *slog.Logger
	// RejoinInterval is how often the addresses of Join, and members that
	// failed, are tried again: this is what heals a partition. 10 s.
	RejoinInterval time.Duration
	// Timings are those of failure detection.
	Timings Timings
}

// Timings are how fast failures are noticed and news spreads. With the defaults
// a dead node of a small cluster is found failed in about 3 s.
type Timings struct {
	// ProbeInterval is the time between two probes (500 ms); ProbeTimeout is
	// the wait for an answer before others are asked to probe too (300 ms).
	ProbeInterval time.Duration
	ProbeTimeout  time.Duration
	// SuspicionMult times ProbeInterval is how long a node that does not
	// answer is suspected before it is called failed (4).
	SuspicionMult int
	// GossipInterval is the time between two packets of news (100 ms).
	GossipInterval time.Duration
	// PushPullInterval is the time between two complete exchanges with a
	// random node (15 s).
	PushPullInterval time.Duration
	// StreamTimeout bounds one TCP exchange, its dialing included (3 s).
	StreamTimeout time.Duration
}

// errConfig marks a configuration that cannot work.
var errConfig = errors.New("gossip: bad configuration")

// withDefaults returns c with every unset field set.
func (c Config) withDefaults() Config {
	setDefault(&c.BindAddr, DefaultBindAddr)
	setDefault(&c.RejoinInterval, 10*time.Second)
	setDefault(&c.Timings.ProbeInterval, 500*time.Millisecond)
	setDefault(&c.Timings.ProbeTimeout, 300*time.Millisecond)
	setDefault(&c.Timings.SuspicionMult, 4)
	setDefault(&c.Timings.GossipInterval, 100*time.Millisecond)
	setDefault(&c.Timings.PushPullInterval, 15*time.Second)
	setDefault(&c.Timings.StreamTimeout, 3*time.Second)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// validate reports the first setting that cannot work.
func (c Config) validate() error {
	if err := c.Meta.validate(); err != nil {
		return err
	}
	for _, addr := range c.Join {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return fmt.Errorf("%w: Join: %w", errConfig, err)
		}
	}
	t := c.Timings
	for _, d := range []time.Duration{
		c.RejoinInterval, t.ProbeInterval, t.ProbeTimeout,
		t.GossipInterval, t.PushPullInterval, t.StreamTimeout,
	} {
		if d < 0 {
			return fmt.Errorf("%w: a duration is negative: %v", errConfig, d)
		}
	}
	if t.SuspicionMult < 0 {
		return fmt.Errorf("%w: SuspicionMult is negative: %d", errConfig, t.SuspicionMult)
	}
	return nil
}

// resolve turns an address into one that memberlist takes, which reads IPs
// only. An empty host means every interface.
func resolve(setting, addr string) (*net.TCPAddr, error) {
	a, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", errConfig, setting, err)
	}
	if a.IP == nil {
		a.IP = net.IPv4zero
	}
	return a, nil
}

// memberlist returns memberlist's form of c, without delegates.
func (c Config) memberlist(t *transport) (*memberlist.Config, error) {
	m := memberlist.DefaultLANConfig()
	m.Name = c.Meta.ID
	m.Transport = t
	m.BindAddr, m.BindPort = t.bound.IP.String(), t.bound.Port
	m.AdvertisePort = t.bound.Port
	if c.AdvertiseAddr == "" && t.bound.IP.Equal(net.IPv6unspecified) {
		return nil, fmt.Errorf("%w: bound to every interface, the node needs an AdvertiseAddr", errConfig)
	}
	if c.AdvertiseAddr != "" {
		a, err := resolve("AdvertiseAddr", c.AdvertiseAddr)
		if err != nil {
			return nil, err
		}
		m.AdvertiseAddr = a.IP.String()
		if a.Port != 0 {
			m.AdvertisePort = a.Port
		}
	}
	m.ProbeInterval = c.Timings.ProbeInterval
	m.ProbeTimeout = c.Timings.ProbeTimeout
	m.SuspicionMult = c.Timings.SuspicionMult
	m.GossipInterval = c.Timings.GossipInterval
	m.PushPullInterval = c.Timings.PushPullInterval
	m.TCPTimeout = c.Timings.StreamTimeout
	// A node that restarts on other ports takes its id back as soon as the
	// others have found its old address dead. Zero would mean never.
	m.DeadNodeReclaimTime = time.Nanosecond
	return m, nil
}
