package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/raftfsm/store"
)

// mains is the power of all disks of a test. When it is cut, every disk keeps what
// it would hold after a power loss, all as of one moment. The nodes do not notice:
// they work on in a time that never was, until the test stops them.
type mains struct {
	// mu is held for each step of a disk, so that a cut has one moment.
	mu     sync.Mutex
	random *rand.Rand
	// lazy disks answer before they sync.
	lazy  bool
	disks []*powerDisk
	// cut is set at the cut; acked are the receipts that a client had until then.
	cut   bool
	acked []oncelog.Receipt
}

// acknowledge notes receipts that a client got, unless the power was gone by then.
func (m *mains) acknowledge(receipts []oncelog.Receipt) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.cut {
		m.acked = append(m.acked, receipts...)
	}
}

func (m *mains) acknowledged() []oncelog.Receipt {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.acked)
}

// fail cuts the power.
func (m *mains) fail() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cut = true
	for _, d := range m.disks {
		d.after = d.durable.clone()
		if m.random.IntN(2) == 0 && !m.lazy { // what was being synced may have been
			for _, change := range d.pending {
				change(&d.after)
			}
		}
		d.tablesAfter = d.tables.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50 * m.random.IntN(3), RNG: m.random})
	}
}

// restore gives the power back: the disks hold what they kept.
func (m *mains) restore() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cut = false
	for i, d := range m.disks {
		m.disks[i] = &powerDisk{mains: m, cached: d.after.clone(), durable: d.after, tables: d.tablesAfter}
	}
}

// newDisk makes a disk on which nothing is but the directory dir.
func (m *mains) newDisk(t *testing.T, dir string) *powerDisk {
	t.Helper()
	d := &powerDisk{mains: m, cached: newLogImage(), durable: newLogImage(), tables: vfs.NewCrashableMem()}
	require.NoError(t, d.tables.MkdirAll(dir, 0o750))
	for dir != "/" {
		dir = filepath.Dir(dir)
		parent, err := d.tables.OpenDir(dir)
		require.NoError(t, err)
		require.NoError(t, errors.Join(parent.Sync(), parent.Close()))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.disks = append(m.disks, d)
	return d
}

// logImage is a Raft log with the term and the vote.
type logImage struct {
	logs   map[uint64]raft.Log
	stable map[string][]byte
}

func newLogImage() logImage {
	return logImage{logs: make(map[uint64]raft.Log), stable: make(map[string][]byte)}
}

func (i logImage) clone() logImage {
	return logImage{logs: maps.Clone(i.logs), stable: maps.Clone(i.stable)}
}

// powerDisk is what one node keeps: the store's tables, and its Raft log, of which
// each operation is done whole or not at all, as with bolt.
type powerDisk struct {
	mains *mains
	// cached is what reads see, durable what is synced, pending what is between.
	cached, durable logImage
	pending         []func(*logImage)
	tables          *vfs.MemFS
	// after and tablesAfter are what is there when the power comes back.
	after       logImage
	tablesAfter *vfs.MemFS
}

// lazySyncs is how many changes a lazy disk syncs at once.
const lazySyncs = 20

// write changes the cache and then syncs it. The power may go in between.
func (d *powerDisk) write(change func(*logImage)) error {
	d.mains.mu.Lock()
	change(&d.cached)
	d.pending = append(d.pending, change)
	late := d.mains.lazy && len(d.pending) < lazySyncs
	d.mains.mu.Unlock()
	if late {
		return nil
	}
	d.mains.mu.Lock()
	defer d.mains.mu.Unlock()
	for _, change := range d.pending {
		change(&d.durable)
	}
	d.pending = nil
	return nil
}

// bound returns the log's first index, or the last one.
func (d *powerDisk) bound(better func(a, b uint64) bool) uint64 {
	d.mains.mu.Lock()
	defer d.mains.mu.Unlock()
	var best uint64
	for index := range d.cached.logs {
		if best == 0 || better(index, best) {
			best = index
		}
	}
	return best
}

func (d *powerDisk) FirstIndex() (uint64, error) {
	return d.bound(func(a, b uint64) bool { return a < b }), nil
}

func (d *powerDisk) LastIndex() (uint64, error) {
	return d.bound(func(a, b uint64) bool { return a > b }), nil
}

func (d *powerDisk) GetLog(index uint64, log *raft.Log) error {
	d.mains.mu.Lock()
	defer d.mains.mu.Unlock()
	entry, ok := d.cached.logs[index]
	if !ok {
		return raft.ErrLogNotFound
	}
	*log = entry
	return nil
}

func (d *powerDisk) StoreLog(log *raft.Log) error { return d.StoreLogs([]*raft.Log{log}) }

func (d *powerDisk) StoreLogs(logs []*raft.Log) error {
	return d.write(func(i *logImage) {
		for _, log := range logs {
			i.logs[log.Index] = *log
		}
	})
}

func (d *powerDisk) DeleteRange(from, to uint64) error {
	return d.write(func(i *logImage) {
		maps.DeleteFunc(i.logs, func(index uint64, _ raft.Log) bool { return from <= index && index <= to })
	})
}

func (d *powerDisk) Set(key, value []byte) error {
	name, value := string(key), slices.Clone(value)
	return d.write(func(i *logImage) { i.stable[name] = value })
}

func (d *powerDisk) Get(key []byte) ([]byte, error) {
	d.mains.mu.Lock()
	defer d.mains.mu.Unlock()
	value, ok := d.cached.stable[string(key)]
	if !ok {
		return nil, errNoKey
	}
	return value, nil
}

func (d *powerDisk) SetUint64(key []byte, value uint64) error {
	return d.Set(key, fmt.Append(nil, value))
}

func (d *powerDisk) GetUint64(key []byte) (value uint64, err error) {
	text, err := d.Get(key)
	if err == nil {
		_, err = fmt.Sscan(string(text), &value)
	}
	return value, err
}

func (d *powerDisk) Close() error { return nil }

// powered is a cluster on the disks of one mains.
type powered struct {
	t     *testing.T
	mains *mains
	nodes []*restartable
}

// startPowered starts three nodes that truncate their logs all the time.
func startPowered(t *testing.T, random *rand.Rand, lazy bool) *powered {
	t.Helper()
	p := &powered{t: t, mains: &mains{random: random, lazy: lazy}}
	p.nodes = startCluster(t, func(c *Config) {
		c.SnapshotBytes, c.TrailingBytes = 64<<10, 1
		plug(c, p.mains.newDisk(t, c.DataDir))
	})
	for _, n := range p.nodes { // where a node looks for its parts
		require.NoError(t, os.MkdirAll(filepath.Join(n.c.DataDir, "store"), 0o750))
	}
	return p
}

// plug puts a node on a disk.
func plug(c *Config, d *powerDisk) {
	c.store = func(o *store.Options) { o.FS = d.tables }
	c.disk = func(unused logStore) logStore { return besides{d, unused} }
}

// besides is a disk in place of a file that is open and not used.
type besides struct {
	*powerDisk
	file logStore
}

func (b besides) Close() error { return b.file.Close() }

// work publishes through all nodes until the power has been cut, some time after
// the clients had that many receipts.
func (p *powered) work(round, receipts int) {
	p.t.Helper()
	loading, stop := context.WithCancel(p.t.Context())
	defer stop()
	var loads sync.WaitGroup
	for i, n := range p.nodes {
		loads.Go(func() {
			for j := 0; loading.Err() == nil; j++ {
				es := bulky(0, 5)
				for k := range es {
					es[k].EventID = fmt.Sprintf("round %d, node %d, batch %d, event %d", round, i, j, k)
				}
				if got, err := n.publish(loading, es); err == nil {
					p.mains.acknowledge(got)
				}
			}
		})
	}
	before := len(p.mains.acknowledged())
	require.Eventually(p.t, func() bool { return len(p.mains.acknowledged()) >= before+receipts }, 30*time.Second, time.Millisecond, "load runs")
	p.mains.fail()
	stop()
	loads.Wait()
}

// restart starts all nodes from what their disks have kept.
func (p *powered) restart() error {
	for _, n := range p.nodes {
		require.NoError(p.t, n.Close())
	}
	p.mains.restore()
	for i, n := range p.nodes {
		plug(&n.c, p.mains.disks[i])
		started, err := New(n.c)
		if err != nil {
			return err
		}
		n.Node = started
	}
	return nil
}

// missing returns the acknowledged events that the cluster no longer holds.
func (p *powered) missing() (missing []oncelog.Receipt) {
	p.t.Helper()
	awaitReady(p.t, p.nodes[0].Node, p.nodes[1].Node, p.nodes[2].Node)
	held := make(map[uint64]oncelog.Key)
	for r, err := range p.nodes[0].Events(p.t.Context(), oncelog.Query{}, oncelog.Linearizable) {
		require.NoError(p.t, err)
		held[r.ID] = r.Key()
	}
	for _, r := range p.mains.acknowledged() {
		if held[r.ID] != r.Key {
			missing = append(missing, r)
		}
	}
	return missing
}

// All nodes lose power at once, again and again, at points drawn by lot.
// Whatever a client had a receipt for is there afterwards, under its id, and the
// nodes agree. What was published after the power was gone never happened.
func TestPowerLossOfAllNodesLosesNothingAcknowledged(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 3))
	p := startPowered(t, random, false)
	for round := range 5 {
		p.work(round, 5+random.IntN(400))
		ghost := someEvent(fmt.Sprintf("ghost %d", round))
		receipts, err := p.nodes[0].publish(t.Context(), []oncelog.Event{ghost})
		require.NoError(t, err)
		require.NoError(t, p.restart())
		require.Empty(t, p.missing())
		again, err := p.nodes[0].publish(t.Context(), []oncelog.Event{ghost})
		require.NoError(t, err)
		require.Equal(t, []oncelog.Status{oncelog.Stored, oncelog.Stored}, []oncelog.Status{receipts[0].Status, again[0].Status},
			"the nodes did lose power")
		p.mains.acknowledge(again)
		awaitLevel(t, p.nodes)
	}
}

// The test above notices disks that answer before they have synced.
func TestPowerLossTellsDisksThatAnswerTooEarly(t *testing.T) {
	t.Parallel()
	p := startPowered(t, rand.New(rand.NewPCG(1, 3)), true)
	for round := range 3 {
		p.work(round, 100)
		if err := p.restart(); err != nil {
			require.ErrorIs(t, err, oncelog.ErrCorrupt)
			return
		}
		if len(p.missing()) > 0 {
			return
		}
	}
	t.Fatal("nothing was noticed")
}
