package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
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

	// faultsMu guards faults, which are answers outside of the contract.
	faultsMu sync.Mutex
	faults   []error
}

func newTraffic(nodes []*Node, seed uint64) *traffic {
	patiences := []time.Duration{300 * time.Millisecond, time.Second, 4 * time.Second, 9 * time.Second}
	return &traffic{history: newHistory(), nodes: nodes, seed: seed, patiences: patiences}
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

// payloads are those that a key is published with.
var payloads = [][]byte{
	[]byte(`{"variant":0,"filler":"` + strings.Repeat("x", 300) + `"}`),
	[]byte(`{"variant":1,"filler":"` + strings.Repeat("y", 300) + `"}`),
}

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
	switch kind := a.chance.IntN(100); {
	case kind < 40:
		a.publish(ctx, n, 1)
	case kind < 50:
		a.publish(ctx, n, 2+a.chance.IntN(4))
	case kind < 90:
		a.read(ctx, n)
	case kind < 95:
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
	return operation{client: a.name, node: n.Name(), run: n.PID(), asked: what, call: a.now()}
}

// publish sends some events, as one request, and returns what it was told of the
// last one.
func (a *asker) publish(ctx context.Context, n *Node, size int) told {
	ops, events := make([]operation, size), make([]oncelog.Event, size)
	for i := range events {
		which := a.chance.IntN(len(payloads))
		key := a.key()
		events[i] = anEvent(key.Topic, key.EventID)
		events[i].Payload = payloads[which]
		ops[i] = operation{key: key, payload: byte(which)}
	}
	a.published.Add(int64(size))
	asked := a.begin(n, askPublish)
	receipts, err := send(ctx, n, events)
	asked.back = a.now()
	asked.told = a.outcome(err)
	for i := range ops {
		asked.key, asked.payload = ops[i].key, ops[i].payload
		if err == nil {
			r := receipts[i]
			asked.id, asked.conflict = r.ID, r.Conflict
			asked.told = map[oncelog.Status]told{oncelog.Stored: toldStored, oncelog.Duplicate: toldDuplicate}[r.Status]
		}
		ops[i] = asked
	}
	a.add(ops...)
	return asked.told
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
	o := a.begin(n, askRead)
	o.key, o.told = a.key(), toldAbsent
	query := oncelog.Query{Topics: []string{o.key.Topic}, EventID: o.key.EventID}
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
	if o.run == n.PID() {
		a.add(o)
	}
}

// unavailable takes the only error that a read may end in.
func (a *asker) unavailable(err error) {
	if !errors.Is(err, oncelog.ErrUnavailable) {
		a.fault(fmt.Errorf("an answer to a read: %w", err))
	}
}

// readBack adds to the history what each node holds at the end, of all keys that
// were ever published.
func (tr *traffic) readBack(ctx context.Context, nodes []*Node) error {
	keys := make(map[oncelog.Key]bool)
	for _, o := range tr.all() {
		if o.asked == askPublish {
			keys[o.key] = true
		}
	}
	for _, n := range nodes {
		if err := tr.readNode(ctx, n, keys); err != nil {
			return err
		}
	}
	return nil
}

func (tr *traffic) readNode(ctx context.Context, n *Node, keys map[oncelog.Key]bool) error {
	asked := operation{client: testsOwn, node: n.Name(), asked: askRead, call: tr.now()}
	held := make(map[oncelog.Key]operation)
	var stamped time.Time
	for r, err := range n.Client().Events(ctx, oncelog.Query{}, oncelog.Linearizable) {
		switch {
		case err != nil:
			return fmt.Errorf("%s: read back: %w", n, err)
		case !keys[r.Key()]:
			return fmt.Errorf("I2 %w: %s holds event %d, %v, which nobody has published", ErrBroken, n, r.ID, r.Key())
		case r.ProcessedAt.Before(stamped):
			return fmt.Errorf("I3 %w: %s: event %d was processed at %s, before the one before it", ErrBroken, n, r.ID, r.ProcessedAt)
		}
		stamped = r.ProcessedAt
		o := asked
		o.told, o.id, o.payload = toldFound, r.ID, payloadOf(r.Payload)
		held[r.Key()] = o
	}
	back := tr.now()
	for key := range keys {
		o, ok := held[key]
		if !ok {
			o = asked
			o.told = toldAbsent
		}
		o.key, o.back = key, back
		tr.add(o)
	}
	return nil
}
