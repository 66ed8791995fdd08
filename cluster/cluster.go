package cluster

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"time"

	"github.com/oncelog/oncelog/httpapi/client"
	"github.com/oncelog/oncelog/loadgen"
)

// closePatience bounds the orderly stop of one node by [Cluster.Close].
const closePatience = 20 * time.Second

// Cluster is some nodes on this machine that found one cluster together.
type Cluster struct {
	nodes    []*Node
	patience time.Duration
	// proxies stand before the nodes, in their order; none without links.
	proxies []*proxy
}

// newCluster prepares nodes that start by launch; those that are processes run
// binary.
func newCluster(o Options, binary string, launch func(spec) (instance, error)) (*Cluster, error) {
	specs, err := o.specs()
	if err != nil {
		return nil, err
	}
	c := &Cluster{patience: o.withDefaults().Patience}
	for _, s := range specs {
		s.binary = binary
		n := &Node{spec: s, launch: launch, report: o.OnFailure}
		if n.client, err = client.New([]string{n.URL()}, client.WithoutRetries()); err != nil {
			return nil, errors.Join(err, c.Close())
		}
		c.nodes = append(c.nodes, n)
	}
	if o.Links {
		if err := c.openLinks(); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	return c, nil
}

// StartInProcess starts nodes in this process and waits until they are ready.
// The cluster lives on when ctx ends; the caller closes it.
func StartInProcess(ctx context.Context, o Options) (*Cluster, error) {
	c, err := NewInProcess(o)
	if err != nil {
		return nil, err
	}
	return c.startOrClose(ctx)
}

// StartProcesses starts processes of binary and waits until they are ready. The
// cluster lives on when ctx ends; the caller closes it.
func StartProcesses(ctx context.Context, binary string, o Options) (*Cluster, error) {
	c, err := NewProcesses(binary, o)
	if err != nil {
		return nil, err
	}
	return c.startOrClose(ctx)
}

func (c *Cluster) startOrClose(ctx context.Context) (*Cluster, error) {
	if err := c.Start(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// Start starts the nodes that do not run, in order, and waits until all are
// ready. Those that are to join are started only if they have been before.
func (c *Cluster) Start(ctx context.Context) error {
	for _, n := range c.nodes {
		if n.spec.expect == 0 && !n.begun() {
			continue
		}
		if err := n.Start(); err != nil && !errors.Is(err, ErrRunning) {
			return err
		}
	}
	return c.WaitReady(ctx)
}

// Stop stops the nodes in order, one after the other, so that the leadership
// moves on to those that are left.
func (c *Cluster) Stop(ctx context.Context) (err error) {
	for _, n := range c.nodes {
		err = errors.Join(err, n.Stop(ctx))
	}
	return err
}

// Kill ends all nodes' processes at one time, as when the power fails but for
// what the kernel still writes, and waits until they are gone.
func (c *Cluster) Kill() error {
	var dying []*life
	var failed []error
	for _, n := range c.nodes {
		l, err := n.end(syscall.SIGKILL)
		if l != nil && err == nil {
			dying = append(dying, l)
		}
		failed = append(failed, err)
	}
	for _, l := range dying {
		<-l.over
	}
	return errors.Join(failed...)
}

// Close stops all nodes and gives their clients up. A process that does not stop
// within 20 s is killed.
func (c *Cluster) Close() (err error) {
	for _, n := range c.nodes {
		ctx, cancel := context.WithTimeout(context.Background(), closePatience)
		err = errors.Join(err, n.Stop(ctx))
		cancel()
		n.client.Close()
	}
	for _, p := range c.proxies {
		err = errors.Join(err, p.Close())
	}
	c.proxies = nil
	return err
}

// Nodes returns all nodes, in the order of their names.
func (c *Cluster) Nodes() []*Node { return c.nodes }

// Node returns the node of a name, or nil.
func (c *Cluster) Node(name string) *Node {
	for _, n := range c.nodes {
		if n.Name() == name {
			return n
		}
	}
	return nil
}

// Alive returns the nodes that can answer.
func (c *Cluster) Alive() []*Node {
	var alive []*Node
	for _, n := range c.nodes {
		if n.Alive() {
			alive = append(alive, n)
		}
	}
	return alive
}

// Targets returns the URL of each node's API.
func (c *Cluster) Targets() []string {
	targets := make([]string, len(c.nodes))
	for i, n := range c.nodes {
		targets[i] = n.URL()
	}
	return targets
}

// Client returns a client of all nodes, which the caller closes.
func (c *Cluster) Client(opts ...client.Option) (*client.Client, error) {
	return client.New(c.Targets(), opts...)
}

// Readers returns all nodes as those that a load is verified on.
func (c *Cluster) Readers() []loadgen.Node {
	readers := make([]loadgen.Node, len(c.nodes))
	for i, n := range c.nodes {
		readers[i] = loadgen.Node{Name: n.Name(), Reader: n.Client()}
	}
	return readers
}

// String names the nodes as they run.
func (c *Cluster) String() string {
	names := make([]string, len(c.nodes))
	for i, n := range c.nodes {
		names[i] = n.String()
	}
	return strings.Join(names, ", ")
}
