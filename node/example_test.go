package node_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/node"
)

// Three nodes in one program found a cluster. The same event, published to each
// of them, is stored once.
func Example() {
	dir, err := os.MkdirTemp("", "oncelog")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()

	var nodes []*node.Node
	var join []string
	for _, name := range []string{"n1", "n2", "n3"} {
		n, err := node.New(node.Config{
			Name: name, DataDir: filepath.Join(dir, name),
			HTTPAddr: "127.0.0.1:0", RaftAddr: "127.0.0.1:0", GossipAddr: "127.0.0.1:0",
			BootstrapExpect: 3, Join: join,
			RequestTimeout: time.Minute, // the cluster has yet to be founded
		})
		if err != nil {
			panic(err)
		}
		nodes = append(nodes, n)
		join = []string{nodes[0].GossipAddr()}
	}

	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, len(nodes))
	for _, n := range nodes {
		go func() { ended <- n.Run(ctx) }()
	}

	event := oncelog.Event{
		Topic: "order", EventID: "d70a57dd", Source: "shop",
		Timestamp: time.Now(), Payload: []byte(`{"value": 100}`),
	}
	for _, n := range nodes {
		receipts, err := n.Publish(ctx, event)
		if err != nil {
			panic(err)
		}
		fmt.Println(receipts[0].Status, receipts[0].ID)
	}

	stop()
	for range nodes {
		if err := <-ended; err != nil {
			panic(err)
		}
	}
	// Output:
	// stored 1
	// duplicate 1
	// duplicate 1
}
