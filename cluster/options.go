package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/oncelog/oncelog/node"
)

// Options says what a cluster is. Only Dir is required.
type Options struct {
	// Nodes is how many nodes there are, 1 to 7, named n1, n2 and so on. Default 3.
	Nodes int
	// Joiners is how many more nodes there are, which come after the others and
	// found nothing: each joins when [Node.Start] starts it for the first time.
	Joiners int
	// Dir holds the data of n1 in Dir/n1 and its log in Dir/n1.log, and so on.
	// Data that is there already is used. It is made if it does not exist.
	Dir string
	// HTTPPort, RaftPort and GossipPort are those of n1 on 127.0.0.1; each next
	// node has the next port. With 0, each node gets a free one.
	HTTPPort   int
	RaftPort   int
	GossipPort int
	// Links puts a proxy before each node's port, so that [Cluster.Links] can fail
	// what the nodes send each other. It takes a machine with the address 127.0.0.2.
	Links bool
	// LogStore is how the nodes keep their Raft log, as [node.Config] has it.
	LogStore node.LogStore
	// RaftProfile is how long the nodes wait for each other, as [node.Config] has it.
	RaftProfile node.RaftProfile
	// Patience bounds a wait whose context does not end sooner. Default 30 s.
	Patience time.Duration
	// OnFailure, if set, is told of each node that ended without being told to.
	// It is called by a goroutine of the node and must not start or stop one.
	OnFailure func(Failure)
}

// Failure is the end of a node that was not told to end.
type Failure struct {
	Node *Node
	// PID is the process's, or 0.
	PID int
	Err error
}

// ErrOptions marks an option with a value out of its range.
var ErrOptions = errors.New("cluster: cannot be started")

const (
	maxNodes        = 7
	defaultPatience = 30 * time.Second
)

func (o Options) withDefaults() Options {
	if o.Nodes == 0 {
		o.Nodes = 3
	}
	if o.Patience == 0 {
		o.Patience = defaultPatience
	}
	return o
}

// all counts the nodes.
func (o Options) all() int { return o.Nodes + o.Joiners }

func (o Options) validate() error {
	switch {
	case o.Nodes < 1 || o.Nodes > maxNodes:
		return fmt.Errorf("%w: %d nodes; 1 to %d are possible", ErrOptions, o.Nodes, maxNodes)
	case o.Joiners < 0 || o.all() > maxNodes:
		return fmt.Errorf("%w: %d nodes and %d to join; %d in all are possible", ErrOptions, o.Nodes, o.Joiners, maxNodes)
	case o.Dir == "":
		return fmt.Errorf("%w: a data directory is required", ErrOptions)
	case o.Patience < 0:
		return fmt.Errorf("%w: a patience of %s", ErrOptions, o.Patience)
	}
	return nil
}

// claimDir makes the directory and tries whether a file can be made in it.
func claimDir(dir string) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	f, err := os.CreateTemp(dir, ".probe-*")
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	if err := errors.Join(f.Close(), os.Remove(f.Name())); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	return nil
}

// spec is what one node is started with, the same each time.
type spec struct {
	// binary is the program of a process, "" for a node in this process.
	binary  string
	name    string
	dir     string
	logPath string
	addrs   Addresses
	// advertise is the host that the node tells others, "" for that of its addresses.
	advertise string
	// join lists the gossip addresses of all the other founders.
	join []string
	// expect is the number of founders, 0 for a node that is not one of them.
	expect int
	// logStore is the kind of Raft log, "" for the default.
	logStore node.LogStore
	// profile is the Raft profile, "" for the default.
	profile node.RaftProfile
}

// specs gives every node its place.
func (o Options) specs() ([]spec, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	addrs, err := o.addresses()
	if err != nil {
		return nil, err
	}
	if err := claimDir(dir); err != nil {
		return nil, err
	}
	advertise := ""
	if o.Links {
		advertise = linkHost
		for i := range addrs {
			// What is told must be true of gossip, which goes by no link.
			addrs[i].Gossip = onLinkHost(addrs[i].Gossip)
		}
	}
	specs := make([]spec, o.all())
	for i := range specs {
		s := spec{name: nodeName(i), addrs: addrs[i], advertise: advertise, logStore: o.LogStore, profile: o.RaftProfile}
		s.dir = filepath.Join(dir, s.name)
		s.logPath = s.dir + ".log"
		if i < o.Nodes {
			s.expect = o.Nodes
		}
		for j, other := range addrs[:o.Nodes] {
			if j != i {
				s.join = append(s.join, other.Gossip)
			}
		}
		specs[i] = s
	}
	return specs, nil
}

func nodeName(i int) string { return fmt.Sprintf("n%d", i+1) }
