package loadgen

import (
	"fmt"
	"net/url"
	"time"

	"github.com/oncelog/oncelog/httpapi/client"
)

// Targets are the nodes of a log as a load reaches them over HTTP.
type Targets struct {
	// Publisher spreads requests over all nodes and turns to the next when one
	// fails.
	Publisher *client.Client
	// Nodes are read from each by itself, under its host and port.
	Nodes []Node

	readers []*client.Client
}

// patience is how long a node may be silent before its request goes to another: a
// paused node must not hold up the load for long.
const patience = 5 * time.Second

// Connect makes clients of the nodes at some base URLs, for so many requests at
// once. Nothing is sent yet. The caller closes the result.
func Connect(targets []string, concurrency int) (*Targets, error) {
	publisher, err := client.New(targets, client.WithConcurrency(concurrency), client.WithPatience(patience))
	if err != nil {
		return nil, fmt.Errorf("loadgen: %w", err)
	}
	t := &Targets{Publisher: publisher}
	for _, target := range targets {
		reader, err := client.New([]string{target}, client.WithConcurrency(1))
		if err != nil {
			t.Close()
			return nil, fmt.Errorf("loadgen: %w", err)
		}
		t.readers = append(t.readers, reader)
		t.Nodes = append(t.Nodes, Node{Name: nodeName(target), Reader: reader})
	}
	return t, nil
}

// nodeName is a target without its scheme.
func nodeName(target string) string {
	if u, err := url.Parse(target); err == nil && u.Host != "" {
		return u.Host
	}
	return target
}

// Close drops the idle connections.
func (t *Targets) Close() {
	t.Publisher.Close()
	for _, r := range t.readers {
		r.Close()
	}
}
