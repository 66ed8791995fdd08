package cluster

import (
	"context"
	"fmt"
	"strings"
	"time"
)

const (
	// diagnosisTimeout bounds each question of a diagnosis.
	diagnosisTimeout = 2 * time.Second
	// diagnosisLines is how much of each log it shows.
	diagnosisLines = 5
)

// Diagnose tells in words how each node is: whether it runs, what it says of
// itself and of the cluster, and the end of its log.
func (c *Cluster) Diagnose(ctx context.Context) string {
	var b strings.Builder
	for _, n := range c.nodes {
		fmt.Fprintf(&b, "%s, %s, %s\n", n, n.URL(), n.condition())
		if n.Alive() {
			fmt.Fprintf(&b, "  readyz   %s\n", n.readiness(ctx))
			fmt.Fprintf(&b, "  cluster  %s\n", n.view(ctx))
		}
		for _, line := range n.LogTail(diagnosisLines) {
			fmt.Fprintf(&b, "  log      %s\n", line)
		}
	}
	return strings.TrimRight(b.String(), "\n")
}

func (n *Node) condition() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.life == nil:
		return "never started"
	case n.life.running() && n.paused:
		return "paused"
	case n.life.running():
		return "alive"
	case n.life.told:
		return "stopped"
	default:
		return fmt.Sprintf("ended: %v", endOf(n.life))
	}
}

func (n *Node) readiness(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, diagnosisTimeout)
	defer cancel()
	if err := n.client.Ready(ctx); err != nil {
		return err.Error()
	}
	return "ready"
}

func (n *Node) view(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, diagnosisTimeout)
	defer cancel()
	view, err := n.client.Cluster(ctx)
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s, term %d, leader %q", view.ID, view.Term, view.Leader)
	for _, m := range view.Nodes {
		fmt.Fprintf(&b, "; %s %s %s at %d, lag %d", m.Name, m.Role, m.Status, m.AppliedIndex, m.Lag)
	}
	return b.String()
}
