package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oncelog/oncelog"
)

// traffic is clients that publish few keys over and over, read them, and count
// the log, at any node. None of them sends anything again. What they ask and are
// told is the history.
type traffic struct {
	*history
	nodes []*Node
	seed  uint64
	// reads is what the clients take for linearizable reads. It is
	// oncelog.Linearizable but in the test of the checks themselves.
	reads oncelog.Consistency
	// patiences are how long a client waits for an answer: one of them, by chance.
	patiences []time.Duration
	// published counts the publications; the keys in use move on with it.
	published atomic.Int64
	// acked is some event that was acknowledged lately.
	acked atomic.Pointer[operation]
	// lines carries the streams.
	lines *http.Client

	// faultsMu guards faults, which are answers outside of the contract.
	faultsMu sync.Mutex
	faults   []error
}

func newTraffic(nodes []*Node, seed uint64) *traffic {
	patiences := []time.Duration{300 * time.Millisecond, time.Second, 4 * time.Second, 9 * time.Second}
	return &traffic{
		history: newHistory(), nodes: nodes, seed: seed, patiences: patiences,
		lines: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
	}
}

const (
	// trafficTopic is the topic of all keys.
	trafficTopic = "chaos"
	// keysInUse is how many keys are published at a time, publicationsPerKey how
	// often each is about.
	keysInUse          = 8
	publicationsPerKey = 5
	// trafficClients is how many clients there are by default, clientPause their
	// longest pause between two questions.
	trafficClients = 32
	clientPause    = 50 * time.Millisecond
	// testsOwn is the number of the client that is the test itself.
	testsOwn = trafficClients
)

// payloads are those that a key is published with: the first two, or the others,
// of which a few are more than one entry of the log can hold.
var payloads = [][]byte{
	[]byte(`{"variant":0,"filler":"` + strings.Repeat("x", 300) + `"}`),
	[]byte(`{"variant":1,"filler":"` + strings.Repeat("y", 300) + `"}`),
	[]byte(`{"variant":2,"filler":"` + strings.Repeat("X", 150_000) + `"}`),
	[]byte(`{"variant":3,"filler":"` + strings.Repeat("Y", 150_000) + `"}`),
}

// bulk is how many events of great payloads go in one batch, which takes two
// entries of the log or more.
const bulk = 5

// payloadOf is a payload's index, and 255 for one that nobody has published.
func payloadOf(text []byte) byte {
	for i, p := range payloads {
		if bytes.Equal(p, text) {
			return byte(i)
		}
	}
	return 255
}

// run asks until ctx ends, and returns when all is answered or given up.
func (tr *traffic) run(ctx context.Context, clients int) {
	var asking sync.WaitGroup
	for i := range clients {
		asking.Go(func() {
			c := tr.asker(i)
			for rest(ctx, between(c.chance, 0, clientPause)) {
				c.ask(context.WithoutCancel(ctx))
			}
		})
	}
	asking.Wait()
}

// rest waits, and tells whether ctx is still on.
func rest(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// between is a time that chance gives, from least to less than most.
func between(chance *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(chance.Int64N(int64(most-least)))
}

func (tr *traffic) fault(err error) {
	tr.faultsMu.Lock()
	defer tr.faultsMu.Unlock()
	tr.faults = append(tr.faults, err)
}

// err is what was answered outside of the contract.
func (tr *traffic) err() error {
	tr.faultsMu.Lock()
	defer tr.faultsMu.Unlock()
	return errors.Join(tr.faults...)
}

// asker is one client, which asks one question after the other.
type asker struct {
	*traffic
	name   int
	chance *rand.Rand
}

// asker is the client of a number.
func (tr *traffic) asker(name int) *asker {
	return &asker{traffic: tr, name: name, chance: rand.New(rand.NewPCG(tr.seed, uint64(name)))}
}

// ask asks one question of one node.
func (a *asker) ask(ctx context.Context) {
	n := a.node()
	ctx, cancel := context.WithTimeout(ctx, a.patiences[a.chance.IntN(len(a.patiences))])
	defer cancel()
	switch kind := a.chance.IntN(1000); {
	case kind < 380:
		a.publish(ctx, n, 1)
	case kind < 470:
		a.publish(ctx, n, 2+a.chance.IntN(4))
	case kind < 472:
		a.publishBulk(ctx, n)
	case kind < 490:
		a.stream(ctx, n, 1+a.chance.IntN(10))
	case kind < 800:
		a.read(ctx, n)
	case kind < 900:
		a.readPlace(ctx, n)
	case kind < 950:
		a.count(ctx, n, oncelog.Linearizable)
	default:
		a.count(ctx, n, oncelog.Stale)
	}
}

// node is any, and most often one that runs. It may well be paused: what it is
// asked then waits in its sockets.
func (a *asker) node() *Node {
	var n *Node
	for range 3 {
		if n = a.nodes[a.chance.IntN(len(a.nodes))]; n.up() {
			break
		}
	}
	return n
}

// key is mostly one of those in use, and sometimes one from long ago.
func (a *asker) key() oncelog.Key {
	first := a.published.Load() / publicationsPerKey
	which := first + a.chance.Int64N(keysInUse)
	if a.chance.IntN(10) == 0 {
		which = a.chance.Int64N(first + keysInUse)
	}
	return oncelog.Key{Topic: trafficTopic, EventID: fmt.Sprint(which)}
}

// begin is an operation that is asked now.
func (a *asker) begin(n *Node, what asked) operation {
	return operation{client: a.name, node: n.Name(), run: n.Runs(), asked: what, call: a.now()}
}

// compose makes events of some payloads, to be sent to a node, and the operations
// that they will be.
func (a *asker) compose(n *Node, size int, variants ...byte) ([]operation, []oncelog.Event) {
	ops, events := make([]operation, size), make([]oncelog.Event, size)
	for i := range events {
		ops[i] = a.begin(n, askPublish)
		ops[i].key, ops[i].payload = a.key(), variants[a.chance.IntN(len(variants))]
		events[i] = anEvent(ops[i].key.Topic, ops[i].key.EventID)
		events[i].Payload = payloads[ops[i].payload]
	}
	a.published.Add(int64(size))
	return ops, events
}

// publish sends some events, as one request, and returns what it was told of the
// last one.
func (a *asker) publish(ctx context.Context, n *Node, size int) told {
	return a.publishAll(ctx, n, size, 0, 1)
}

// publishBulk sends a batch of great events.
func (a *asker) publishBulk(ctx context.Context, n *Node) { a.publishAll(ctx, n, bulk, 2, 3) }

func (a *asker) publishAll(ctx context.Context, n *Node, size int, variants ...byte) (last told) {
	ops, events := a.compose(n, size, variants...)
	call := a.now()
	receipts, err := send(ctx, n, events)
	back, told := a.now(), a.outcome(err)
	for i := range ops {
		ops[i].call, ops[i].back, ops[i].told = call, back, told
		if err == nil {
			a.acknowledge(&ops[i], receipts[i])
		}
		last = ops[i].told
	}
	a.add(ops...)
	return last
}

// acknowledge notes the receipt of an event.
func (a *asker) acknowledge(o *operation, r oncelog.Receipt) {
	o.id, o.conflict = r.ID, r.Conflict
	o.told = map[oncelog.Status]told{oncelog.Stored: toldStored, oncelog.Duplicate: toldDuplicate}[r.Status]
	known := *o
	a.acked.Store(&known)
}

// send sends one event alone and several as a batch.
func send(ctx context.Context, n *Node, events []oncelog.Event) ([]oncelog.Receipt, error) {
	if len(events) > 1 {
		return n.Client().PublishBatch(ctx, events)
	}
	r, err := n.Client().Publish(ctx, events[0])
	return []oncelog.Receipt{r}, err
}

// outcome is what a publication without receipts was told.
func (a *asker) outcome(err error) told {
	switch {
	case errors.Is(err, oncelog.ErrOutcomeUnknown):
		return toldUnknown
	case errors.Is(err, oncelog.ErrNotApplied), errors.Is(err, oncelog.ErrQueueFull):
		return toldNotApplied
	case err != nil:
		a.fault(fmt.Errorf("an answer to a publication: %w", err))
	}
	return toldUnknown
}

// read asks for one key.
func (a *asker) read(ctx context.Context, n *Node) {
	key := a.key()
	a.find(ctx, n, key, oncelog.Query{Topics: []string{key.Topic}, EventID: key.EventID})
}

// readPlace asks for the event at a place where one has to be.
func (a *asker) readPlace(ctx context.Context, n *Node) {
	if known := a.acked.Load(); known != nil {
		a.find(ctx, n, known.key, oncelog.Query{After: known.id - 1, Before: known.id + 1})
	}
}

// find asks a question whose only answer can be the event of a key.
func (a *asker) find(ctx context.Context, n *Node, key oncelog.Key, query oncelog.Query) {
	o := a.begin(n, askRead)
	o.key, o.told = key, toldAbsent
	for r, err := range n.Client().Events(ctx, query, a.reads) {
		if err != nil {
			a.unavailable(err)
			o.told, o.id = toldNoAnswer, 0
			break
		}
		if o.told == toldFound || r.Key() != o.key {
			a.fault(fmt.Errorf("%s answers the read of %v with event %d, %v", n, o.key, r.ID, r.Key()))
		}
		o.told, o.id, o.payload = toldFound, r.ID, payloadOf(r.Payload)
	}
	o.back = a.now()
	a.add(o)
}

// count asks for the log's numbers. Where it is not known which run of the node
// has answered, the answer is left out.
func (a *asker) count(ctx context.Context, n *Node, c oncelog.Consistency) {
	o := a.begin(n, askStats)
	o.consistency, o.told = c, toldNoAnswer
	s, err := n.Client().Stats(ctx, c)
	o.back = a.now()
	if err != nil {
		a.unavailable(err)
	} else {
		o.told, o.stats = toldCounted, &s
	}
	if o.run == n.Runs() {
		a.add(o)
	}
}

// unavailable takes the only error that a read may end in.
func (a *asker) unavailable(err error) {
	if !errors.Is(err, oncelog.ErrUnavailable) {
		a.fault(fmt.Errorf("an answer to a read: %w", err))
	}
}
