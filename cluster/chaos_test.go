package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/loadgen"
	"github.com/oncelog/oncelog/node"
)

// What a run of the nemesis is made of. Without them, the seed is by chance and
// the run is short.
const (
	seedVariable    = "ONCELOG_SEED"
	minutesVariable = "ONCELOG_MINUTES"
	// onlyVariable chooses faults by a regular expression, such as "disk|clock".
	onlyVariable = "ONCELOG_ONLY"
	shortRun     = 18 * time.Second
)

// chaosSeed is the seed that was asked for, or any.
func chaosSeed(t *testing.T) uint64 {
	t.Helper()
	text := os.Getenv(seedVariable)
	if text == "" {
		return uint64(rand.Uint32())
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	require.NoError(t, err, seedVariable)
	return seed
}

// chaosTime is how long the faults go on.
func chaosTime(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv(minutesVariable)
	if text == "" {
		return shortRun
	}
	minutes, err := strconv.ParseFloat(text, 64)
	require.NoError(t, err, minutesVariable)
	return time.Duration(minutes * float64(time.Minute))
}

// All faults, by chance, upon a cluster of real processes under load. Whatever
// its clients were told must be an answer of one log that stores each event once,
// and what the nodes hold in the end must be just that.
func TestNemesis(t *testing.T) {
	seed, length := chaosSeed(t), chaosTime(t)
	t.Logf("repeat with: %s=%d %s=%.2g go test ./cluster -run '^TestNemesis$' -count=1 -v -timeout 0",
		seedVariable, seed, minutesVariable, length.Minutes())
	ch := newChaos(t, seed)
	if only := os.Getenv(onlyVariable); only != "" {
		var err error
		ch.nemesis.only, err = regexp.Compile(only)
		require.NoError(t, err, onlyVariable)
	}
	ch.run(t, length)
	t.Log(ch.summary(t))
	ch.requireWhole(t)
	total, kinds := ch.nemesis.total()
	require.Positive(t, total)
	require.True(t, kinds > 1 || ch.nemesis.only != nil)
	require.Greater(t, ch.traffic.count(toldStored), 100, "the load ran")
}

// The history has teeth: reads that only say that they are linearizable are found
// out when a node is paused and another is cut off.
func TestStaleReadsAreFound(t *testing.T) {
	ch := newChaos(t, chaosSeed(t))
	ch.traffic.reads, ch.traffic.patiences = oncelog.Stale, ch.traffic.patiences[:2]
	ch.underLoad(t, func(ctx context.Context) {
		chance := rand.New(rand.NewPCG(ch.seed, 0))
		paused := ch.nemesis.leader(ctx, chance)
		require.NoError(t, paused.Pause())
		ch.await(t, "some reads", 100, toldFound, toldAbsent)
		require.NoError(t, paused.Continue())
		links, err := ch.cluster.Links(ctx)
		require.NoError(t, err)
		links.Isolate(ch.nemesis.follower(ctx, chance))
		ch.await(t, "some reads", 200, toldFound, toldAbsent)
		links.Heal()
	})
	broken := checkHistory(ch.traffic.all())
	require.NotNil(t, broken, "%d reads", ch.traffic.count(toldFound, toldAbsent))
	t.Log(broken)
}

// chaos is a cluster, its clients and its nemesis.
type chaos struct {
	seed uint64
	// dir has all that the nodes write, and is kept if the test fails.
	dir     string
	cluster *Cluster
	traffic *traffic
	nemesis *nemesis
	// healed is how long it took until all nodes were ready and voted.
	healed time.Duration

	// mu guards failures.
	mu       sync.Mutex
	failures []error
}

// newChaos starts the cluster.
func newChaos(t *testing.T, seed uint64) *chaos {
	t.Helper()
	name := fmt.Sprintf("oncelog-%s-seed-%d-pid-%d", t.Name(), seed, os.Getpid())
	ch := &chaos{seed: seed, dir: filepath.Join(os.TempDir(), strings.ReplaceAll(name, "/", "-"))}
	require.NoError(t, os.Mkdir(ch.dir, 0o750))
	t.Cleanup(func() { ch.keepOrRemove(t) })
	options := Options{Dir: ch.dir, Joiners: 1, Links: true, OnFailure: ch.nodeFailed}
	// Every other seed has nodes that take a snapshot after every few events, and
	// whose clocks can be moved; every third keeps its log in segments.
	program, own := binary(), seed%2 == 1
	if own {
		program = os.Args[0]
	}
	if seed%3 == 0 {
		options.LogStore = node.LogStoreWAL
	}
	var err error
	ch.cluster, err = NewProcesses(program, options)
	require.NoError(t, err)
	closeLater(t, ch.cluster)
	ch.traffic = newTraffic(ch.cluster.nodes, seed)
	ch.nemesis = newNemesis(ch.cluster, func(line string) { t.Log(line) })
	ch.nemesis.clocks = own
	require.NoError(t, ch.cluster.Start(t.Context()))
	return ch
}

// nodeFailed takes note of a node that has ended though no fault has ended it.
func (ch *chaos) nodeFailed(f Failure) {
	if ch.nemesis.isDoomed(f.Node) {
		return
	}
	ch.mu.Lock()
	defer ch.mu.Unlock()
	ch.failures = append(ch.failures, fmt.Errorf("I7 %w: %s has ended: %w", ErrBroken, f.Node.Name(), f.Err))
}

// run lets the clients and the nemesis go on for a time, and then heals all.
func (ch *chaos) run(t *testing.T, length time.Duration) {
	t.Helper()
	ch.underLoad(t, func(ctx context.Context) {
		failing, stop := context.WithTimeout(ctx, length)
		defer stop()
		ch.nemesis.run(failing, ch.seed)
		begin := time.Now()
		require.NoError(t, ch.nemesis.heal(ctx))
		ch.healed = time.Since(begin)
	})
}

// underLoad does something while the clients ask, and returns when all they have
// asked is answered.
func (ch *chaos) underLoad(t *testing.T, during func(context.Context)) {
	t.Helper()
	loading, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { ch.traffic.run(loading, trafficClients) })
	defer running.Wait()
	defer stop()
	during(t.Context())
}

// await waits until so many more questions were told one of some answers.
func (ch *chaos) await(t *testing.T, what string, more int, answers ...told) {
	t.Helper()
	want := ch.traffic.count(answers...) + more
	require.NoError(t, ch.cluster.Await(t.Context(), what, func(context.Context) error {
		if got := ch.traffic.count(answers...); got < want {
			return fmt.Errorf("%d of %d", got, want)
		}
		return nil
	}))
}

// requireWhole holds everything that happened, and what is left in the end,
// against the promises.
func (ch *chaos) requireWhole(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	require.NoError(t, errors.Join(append(ch.failures, ch.nemesis.err(), ch.traffic.err())...))
	require.NoError(t, ch.cluster.WaitReady(ctx))
	require.NoError(t, ch.cluster.Check(ctx))
	for _, check := range ch.agree(ctx).Checks {
		require.True(t, check.OK, "%s: %s", check.Name, check.Detail)
	}
	require.NoError(t, ch.traffic.readBack(ctx, ch.cluster.Alive()))
	final := ch.traffic.asker(testsOwn)
	for _, n := range ch.cluster.Alive() {
		final.count(ctx, n, oncelog.Linearizable)
	}
	if broken := checkHistory(ch.traffic.all()); broken != nil {
		ch.keepHistory(t, broken)
		require.NoError(t, broken)
	}
	require.Empty(t, ch.cries(t), "what the nodes wrote into their logs")
}

// agree compares all that the nodes hold.
func (ch *chaos) agree(ctx context.Context) loadgen.Verdict {
	var readers []loadgen.Node
	for _, n := range ch.cluster.Alive() {
		readers = append(readers, loadgen.Node{Name: n.Name(), Reader: n.Client()})
	}
	return loadgen.Agree(ctx, readers, defaultPatience)
}

// summary is the run in numbers.
func (ch *chaos) summary(t *testing.T) string {
	t.Helper()
	elections := 0
	for _, n := range ch.nemesis.begun() {
		elections += logged(t, n, "msg=leading ")
	}
	snapshots := 0
	for _, n := range ch.nemesis.begun() {
		snapshots += logged(t, n, snapshotInstalled)
	}
	h := ch.traffic
	total, kinds := ch.nemesis.total()
	return fmt.Sprintf(`seed %d, %.0f s, healed %.2f s after the last fault
operations: %d; stored %d, duplicate %d, not applied %d, unknown %d; reads: found %d, absent %d, counts %d, without an answer %d
faults: %d of %d kinds: %s
elections: %d; snapshots installed: %d`,
		ch.seed, h.now().Seconds(), ch.healed.Seconds(),
		len(h.all()), h.count(toldStored), h.count(toldDuplicate), h.count(toldNotApplied), h.count(toldUnknown),
		h.count(toldFound), h.count(toldAbsent), h.count(toldCounted), h.count(toldNoAnswer),
		total, kinds, ch.nemesis, elections, snapshots)
}

// cries are the lines of the nodes' logs that no healthy program writes.
func (ch *chaos) cries(t *testing.T) []string {
	t.Helper()
	var cries []string
	for _, n := range ch.cluster.nodes {
		log, err := os.ReadFile(n.LogPath())
		if errors.Is(err, os.ErrNotExist) {
			continue // it was never there
		}
		require.NoError(t, err)
		for line := range strings.Lines(string(log)) {
			for _, cry := range []string{"panic:", "fatal error:", "DATA RACE", "goroutine 1 ["} {
				if strings.Contains(line, cry) {
					cries = append(cries, n.Name()+": "+line)
				}
			}
		}
	}
	return cries
}

// keepHistory writes the history beside the nodes' data, and what is wrong with it.
func (ch *chaos) keepHistory(t *testing.T, broken *violation) {
	t.Helper()
	var text strings.Builder
	for _, o := range ch.traffic.all() {
		fmt.Fprintln(&text, o)
	}
	require.NoError(t, os.WriteFile(filepath.Join(ch.dir, "history.txt"), []byte(text.String()), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(ch.dir, "violation.txt"), []byte(broken.Error()), 0o600))
	if broken.shown != nil {
		require.NoError(t, porcupine.VisualizePath(keyModel, *broken.shown, filepath.Join(ch.dir, "violation.html")))
	}
}

func (ch *chaos) keepOrRemove(t *testing.T) {
	t.Helper()
	if t.Failed() {
		t.Logf("seed %d: the nodes' logs and data, and the history if it is at fault, are in %s", ch.seed, ch.dir)
		return
	}
	require.NoError(t, os.RemoveAll(ch.dir))
}
