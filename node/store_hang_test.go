package node

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog/raftfsm/store"
)

// stuckTables is a disk on which no table gets any further, once it is stuck.
type stuckTables struct {
	stuck atomic.Bool
	hold  chan struct{}
}

// String and MaybeError implement errorfs.Injector.
func (*stuckTables) String() string { return "stuck tables" }

func (d *stuckTables) MaybeError(op errorfs.Op) error {
	if d.stuck.Load() && strings.HasSuffix(op.Path, ".sst") && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
		<-d.hold
	}
	return nil
}

// The leader's store hangs, while its log, which may be on another disk, does not.
// It can apply nothing, and has to make way.
func TestAStoreThatHangsStopsItsNode(t *testing.T) {
	t.Parallel()
	disk := &stuckTables{hold: make(chan struct{})}
	nodes := startCluster(t, func(c *Config) {
		c.Timing = patientTiming
		if c.Name == "n1" {
			c.MemTableBytes = 1 << 20
			c.store = func(o *store.Options) { o.FS = errorfs.Wrap(vfs.Default, disk) }
		}
	})
	handOver(t, nodes[1].Node, "n1")
	ended := make(chan error, 1)
	go func() { ended <- nodes[0].Run(context.Background()) }()
	load := startLoad(t, nodes[1].Node, "through a follower-")
	disk.stuck.Store(true)
	err := <-ended // though the disk still hangs
	nodes[0].failed = true
	require.ErrorContains(t, err, "the disk hangs")
	require.ErrorContains(t, err, nodes[0].group.storePath)
	load.await(t, 50)
	close(disk.hold)
	load.end()
}
