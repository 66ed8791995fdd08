package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"syscall"

	"github.com/oncelog/oncelog/node"
)

// NewInProcess prepares a cluster whose nodes run in this process. They stop in
// order only: they can be neither killed nor paused. It starts none, but a bad
// directory ([os.PathError]) or a port in use ([ErrPortInUse]) is an error already.
func NewInProcess(o Options) (*Cluster, error) { return newCluster(o, "", startInProcess) }

// inProcess is a node of this process.
type inProcess struct {
	node *node.Node
	log  *os.File
	stop context.CancelFunc
	done chan struct{}
	// failure is set before done is closed.
	failure error
}

func startInProcess(s spec) (instance, error) {
	log, err := openLog(s)
	if err != nil {
		return nil, err
	}
	n, err := node.New(node.Config{
		Name: s.name, DataDir: s.dir,
		HTTPAddr: s.addrs.HTTP, RaftAddr: s.addrs.Raft, GossipAddr: s.addrs.Gossip,
		AdvertiseHost:   s.advertise,
		BootstrapExpect: s.expect, Join: s.join, LogStore: s.logStore, RaftProfile: s.profile,
		Logger: slog.New(slog.NewTextHandler(log, nil)),
	})
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	ctx, stop := context.WithCancel(context.Background())
	p := &inProcess{node: n, log: log, stop: stop, done: make(chan struct{})}
	go p.run(ctx)
	return p, nil
}

func (p *inProcess) run(ctx context.Context) {
	defer close(p.done)
	p.failure = errors.Join(p.node.Run(ctx), p.log.Close())
}

func (*inProcess) pid() int { return 0 }

func (p *inProcess) signal(s syscall.Signal) error {
	if s != syscall.SIGTERM {
		return fmt.Errorf("a node in this process: %w", errors.ErrUnsupported)
	}
	p.stop()
	return nil
}

func (p *inProcess) ended() <-chan struct{} { return p.done }

func (p *inProcess) err() error { return p.failure }
