package node

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/raftfsm/store"
)

// Config says what a node is. Only DataDir is required.
type Config struct {
	// Name is for people; unique in the cluster. Default "n1".
	Name string
	// DataDir holds everything the node keeps. It is made if it does not exist.
	DataDir string
	// HTTPAddr, RaftAddr and GossipAddr are the host:port to listen on. Port 0
	// takes a free one. Defaults: 127.0.0.1 with 8080, 7000 and 7946.
	HTTPAddr   string
	RaftAddr   string
	GossipAddr string
	// AdvertiseHost is the host under which others reach this node. Default: the
	// host of each address, which must then be a specific one.
	AdvertiseHost string
	// RaftAdvertise is the host:port told to the other nodes in place of RaftAddr,
	// such as a proxy's. Default: where RaftAddr is bound.
	RaftAdvertise string
	// BootstrapExpect is how many new nodes found the cluster together: 1 to 7.
	// The default is 1 without Join addresses, a cluster of one, and otherwise 0:
	// the node founds nothing and waits to be taken in. A node that knows its
	// cluster ignores it.
	BootstrapExpect int
	// Join lists gossip addresses of other nodes.
	Join []string
	// RequestTimeout bounds a request that brings no shorter deadline. Default 10 s.
	RequestTimeout time.Duration
	// QueueBytes bounds the events that were taken and not yet answered, in
	// bytes as stored; over it a publisher gets 429. At least 34 MiB, which one
	// request of the greatest size may need. Default 64 MiB.
	QueueBytes int64
	// CacheBytes, FilterBytes and MemTableBytes size what the store keeps in memory:
	// blocks of its tables, 1 MiB or more; the filter of known events, 64 KiB or more,
	// one MiB for each million events; a memtable, 1 MiB to 1 GiB, of which there are
	// up to three. Default 16 MiB each.
	CacheBytes    int64
	FilterBytes   int64
	MemTableBytes int64
	// RaftProfile is how long the nodes wait for each other. Default RaftDefault.
	RaftProfile RaftProfile
	// Timing has time-outs other than the profile's; zero means the profile's.
	Timing Timing
	// SnapshotBytes is how much may be appended to the Raft log before the store is
	// flushed and the log truncated; TrailingBytes is about how much of it stays
	// for followers that are a little behind. Defaults 16 MiB and 48 MiB: the
	// file is mapped, and most of it counts as the process's memory.
	SnapshotBytes int64
	TrailingBytes int64
	// DiskReserve is how many bytes of the disk are left free: with less, the node
	// takes no events (ErrDiskFull) and hands leadership to one with room. Default
	// 256 MiB.
	DiskReserve int64
	// LogStore is how the Raft log is kept: LogStoreBolt, the default, or
	// LogStoreWAL. A data directory keeps the one that it was made with.
	LogStore LogStore
	// Version is told to the other nodes and to people.
	Version string
	// Logger takes the node's log. Default: none.
	Logger *slog.Logger
	// Clock tells the time that is stamped on events. Default time.Now.
	Clock func() time.Time

	// free, in tests, tells how much room the disk has.
	free func() (uint64, error)
	// The rest is for tests. disk stands between the Raft log and its file, appends
	// between Raft and its log; store changes the store's options.
	disk    func(logStore) logStore
	appends func(*guardedLog) raft.LogStore
	store   func(*store.Options)
}

const (
	defaultRequestTimeout = 10 * time.Second
	defaultQueueBytes     = 64 << 20
	minQueueBytes         = oncelog.MaxBodyBytes + 2<<20
	defaultSnapshotBytes  = 16 << 20
	defaultTrailingBytes  = 48 << 20
	defaultDiskReserve    = 256 << 20
)

func (c Config) withDefaults() Config {
	setDefault(&c.Name, "n1")
	setDefault(&c.HTTPAddr, "127.0.0.1:8080")
	setDefault(&c.RaftAddr, "127.0.0.1:7000")
	setDefault(&c.GossipAddr, "127.0.0.1:7946")
	if len(c.Join) == 0 {
		setDefault(&c.BootstrapExpect, 1)
	}
	setDefault(&c.RequestTimeout, defaultRequestTimeout)
	setDefault(&c.QueueBytes, defaultQueueBytes)
	setDefault(&c.RaftProfile, RaftDefault)
	if timing, err := c.RaftProfile.Timing(); err == nil {
		setDefault(&c.Timing, timing)
	}
	setDefault(&c.SnapshotBytes, defaultSnapshotBytes)
	setDefault(&c.TrailingBytes, defaultTrailingBytes)
	setDefault(&c.DiskReserve, defaultDiskReserve)
	setDefault(&c.LogStore, LogStoreBolt)
	setDefault(&c.Version, "devel")
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.disk == nil {
		c.disk = func(s logStore) logStore { return s }
	}
	if c.appends == nil {
		c.appends = func(l *guardedLog) raft.LogStore { return l }
	}
	if c.store == nil {
		c.store = func(*store.Options) {}
	}
	return c
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// ErrConfig is a configuration that can not work.
var ErrConfig = errors.New("bad configuration")

// validate names the field at fault and what would be right. Every error is an
// ErrConfig.
func (c Config) validate() error {
	if err := c.check(); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return nil
}

func (c Config) check() error {
	if c.DataDir == "" {
		return errors.New("data directory: is required")
	}
	probe := oncelog.Event{Topic: c.Name, EventID: "x", Source: "x", Timestamp: time.Unix(0, 0), Payload: []byte("{}")}
	if err := probe.Validate(); err != nil || len(c.Name) > maxNodeName {
		return fmt.Errorf("name %q: must be 1 to %d bytes of UTF-8 without control characters", c.Name, maxNodeName)
	}
	if c.AdvertiseHost != "" && !reachable(c.AdvertiseHost) {
		return fmt.Errorf("advertise host %q: must be a name or an IP address under which others reach this node, without a port", c.AdvertiseHost)
	}
	for _, a := range []struct{ what, addr string }{{"HTTP", c.HTTPAddr}, {"Raft", c.RaftAddr}, {"gossip", c.GossipAddr}} {
		if err := c.checkAddr(a.addr); err != nil {
			return fmt.Errorf("%s address %q: %w", a.what, a.addr, err)
		}
	}
	for _, a := range c.Join {
		if _, _, err := net.SplitHostPort(a); err != nil {
			return fmt.Errorf("join address %q: %w", a, err)
		}
	}
	if _, _, err := net.SplitHostPort(c.RaftAdvertise); c.RaftAdvertise != "" && err != nil {
		return fmt.Errorf("advertised Raft address %q: %w", c.RaftAdvertise, err)
	}
	if _, err := kindOf(c.LogStore); err != nil {
		return err
	}
	if _, err := c.RaftProfile.Timing(); err != nil {
		return err
	}
	if err := c.Timing.check(); err != nil {
		return err
	}
	switch {
	case c.BootstrapExpect < 0 || c.BootstrapExpect > MaxFounders:
		return fmt.Errorf("bootstrap-expect %d: must be 1 to %d, or 0 to found no cluster", c.BootstrapExpect, MaxFounders)
	case c.BootstrapExpect == 1 && len(c.Join) > 0:
		return errors.New("bootstrap-expect 1 with join addresses: a node that founds a cluster alone would join no other; leave one of them out")
	case c.QueueBytes < minQueueBytes:
		return fmt.Errorf("queue of %d bytes: must be at least %d", c.QueueBytes, minQueueBytes)
	case c.SnapshotBytes < 0 || c.TrailingBytes < 0:
		return fmt.Errorf("snapshot of %d and trailing log of %d bytes: must be positive", c.SnapshotBytes, c.TrailingBytes)
	case c.DiskReserve < 0:
		return fmt.Errorf("disk reserve of %d bytes: must be positive", c.DiskReserve)
	case c.RequestTimeout < 0:
		return fmt.Errorf("request timeout %s: must be positive", c.RequestTimeout)
	}
	return nil
}

// MaxFounders is the greatest BootstrapExpect.
const MaxFounders = 7

// maxNodeName keeps a node's gossip metadata within its 512 bytes.
const maxNodeName = 64

func (c Config) checkAddr(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("port %q: must be 0 to 65535", port)
	}
	if c.AdvertiseHost == "" && !reachable(host) {
		return errors.New("others can not reach a node there: name one interface, or set the advertise host")
	}
	return nil
}

// reachable tells whether a host can be one that others connect to.
func reachable(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		return !ip.IsUnspecified()
	}
	return host != "" && !strings.ContainsAny(host, ":[]")
}

// advertised is the address to tell others, given the one a listener is bound to.
func (c Config) advertised(configured string, bound net.Addr) string {
	host, _, _ := net.SplitHostPort(configured)
	if c.AdvertiseHost != "" {
		host = c.AdvertiseHost
	}
	_, port, _ := net.SplitHostPort(bound.String())
	return net.JoinHostPort(host, port)
}
