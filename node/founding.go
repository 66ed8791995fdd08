package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/gossip"
)

const (
	// foundingPause is how often a new node looks whether a cluster can be
	// founded, besides when gossip has news.
	foundingPause = 500 * time.Millisecond
	// foundingReport is how often it says what it waits for.
	foundingReport = 10 * time.Second
)

// founding makes a cluster of new nodes. Exactly as many as expected must be
// seen alive and new by gossip; the one with the lowest id asks each whether it
// is new, writes down its decision, has each pledge itself to the new cluster's
// id, and only then gives them all one Raft configuration. No step falls back to
// anything when time passes: a node that has pledged itself waits.
type founding struct {
	identity *identity
	group    *group
	gossip   *gossip.Gossip
	caller   *caller
	expect   int
	logger   *slog.Logger
}

// errNotNew is a node that belongs to a cluster already.
var errNotNew = fmt.Errorf("%w: the node belongs to a cluster", oncelog.ErrNotApplied)

// run ends when the node belongs to a cluster, or with ctx.
func (f *founding) run(ctx context.Context) error {
	report := time.Now().Add(foundingReport / 5)
	for {
		belongs, waiting, err := f.step(ctx)
		if err != nil || belongs || ctx.Err() != nil {
			return err
		}
		if now := time.Now(); now.After(report) {
			f.logger.Info("not in a cluster yet", "waiting_for", waiting)
			report = now.Add(foundingReport)
		}
		select {
		case <-time.After(foundingPause):
		case <-ctx.Done():
			return nil
		}
	}
}

// step does what can be done now. It returns what the node waits for.
func (f *founding) step(ctx context.Context) (belongs bool, waiting string, err error) {
	own := f.identity.get()
	if own.ClusterID != uuid.Nil {
		if len(own.Founding) == 0 {
			return true, "", nil
		}
		waiting, err := f.finish(ctx, own)
		return waiting == "" && err == nil, waiting, err
	}
	founders, waiting := f.candidates(f.gossip.Members())
	if waiting != "" {
		return false, waiting, nil
	}
	if founders[0].ID != own.NodeID {
		return false, "node " + founders[0].Name + " to found the cluster", nil
	}
	for _, other := range founders[1:] {
		if err := f.askNew(ctx, other); err != nil {
			return false, fmt.Sprintf("node %s: %v", other.Name, err), nil
		}
	}
	cluster := uuid.New()
	f.logger.Info("founding a cluster", "cluster", cluster.String(), "nodes", len(founders))
	err = f.identity.update(func(s *identityState) error {
		if err := s.join(cluster); err != nil {
			return err
		}
		s.Founding = founders
		return nil
	})
	if errors.Is(err, ErrForeignDirectory) {
		return true, "", nil // another founder was quicker, and has this node's pledge
	}
	return false, "the founding", err
}

// candidates are the new nodes that gossip sees, in the order of their ids, or
// else what there is to wait for.
func (f *founding) candidates(members []gossip.Member) (founders []founder, waiting string) {
	if f.expect == 0 {
		return nil, "a cluster to take this node in"
	}
	names := make(map[string]bool)
	for _, m := range members {
		if m.ClusterID != "" { // alive or not: there is a cluster
			return nil, "the leader of cluster " + m.ClusterID + " to take this node in"
		}
		if m.Status != gossip.Alive || m.Expect == 0 {
			continue
		}
		switch {
		case names[m.Name]:
			return nil, fmt.Sprintf("one of two new nodes named %q to get another name", m.Name)
		case m.Expect != f.expect:
			return nil, fmt.Sprintf("node %s, which expects %d nodes and not %d, to be corrected", m.Name, m.Expect, f.expect)
		}
		id, err := uuid.Parse(m.ID)
		if err != nil {
			return nil, fmt.Sprintf("node %s to get a valid id: %v", m.Name, err)
		}
		names[m.Name] = true
		founders = append(founders, founder{ID: id, Name: m.Name, Addr: m.RaftAddr})
	}
	if len(founders) != f.expect {
		return nil, fmt.Sprintf("exactly %d new nodes; gossip sees %d", f.expect, len(founders))
	}
	slices.SortFunc(founders, func(a, b founder) int { return cmp.Compare(a.ID.String(), b.ID.String()) })
	return founders, ""
}

// finish has every founder pledge itself and then writes the configuration.
func (f *founding) finish(ctx context.Context, own identityState) (waiting string, err error) {
	for _, other := range own.Founding {
		if other.ID == own.NodeID {
			continue
		}
		if err := f.askPledge(ctx, other, own.ClusterID); err != nil {
			return fmt.Sprintf("node %s to pledge itself: %v", other.Name, err), nil
		}
	}
	var c raft.Configuration
	for _, s := range own.Founding {
		c.Servers = append(c.Servers, raft.Server{ID: raft.ServerID(s.ID.String()), Address: raftAddress(s.ID.String(), s.Addr, s.Name)})
	}
	if err := f.group.BootstrapCluster(c).Error(); err != nil && !errors.Is(err, raft.ErrCantBootstrap) {
		return "", fmt.Errorf("found the cluster: %w", err)
	}
	return "", f.identity.update(func(s *identityState) error {
		s.Founding = nil
		return nil
	})
}

// pledge is a node's word that it belongs to a cluster from now on.
type pledge struct {
	Cluster uuid.UUID `json:"cluster"`
}

func (f *founding) askPledge(ctx context.Context, other founder, cluster uuid.UUID) error {
	ctx, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	var p pledge
	return f.caller.call(ctx, other.ID, methodPledge, pledge{Cluster: cluster}, &p)
}

// servePledge serves methodPledge.
func (f *founding) servePledge(_ context.Context, p pledge) (pledge, error) {
	if p.Cluster == uuid.Nil {
		return pledge{}, fmt.Errorf("%w: a pledge without a cluster", oncelog.ErrNotApplied)
	}
	if err := f.identity.belongTo(p.Cluster); err != nil {
		return pledge{}, fmt.Errorf("%w: %w", errNotNew, err)
	}
	f.logger.Info("pledged to a new cluster", "cluster", p.Cluster.String())
	return p, nil
}

// askNew asks a node itself, since gossip may be old.
func (f *founding) askNew(ctx context.Context, other founder) error {
	ctx, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	s, err := f.caller.status(ctx, other.ID)
	if err != nil {
		return err
	}
	if s.Cluster != uuid.Nil {
		return errNotNew
	}
	return nil
}
