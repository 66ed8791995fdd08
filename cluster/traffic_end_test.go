package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/oncelog/oncelog"
)

// readBack adds to the history what each node holds at the end, of all keys that
// were ever published. Each key is then looked up by itself, too.
func (tr *traffic) readBack(ctx context.Context, nodes []*Node) error {
	keys := make(map[oncelog.Key]bool)
	for _, o := range tr.all() {
		if o.asked == askPublish {
			keys[o.key] = true
		}
	}
	var held map[oncelog.Key]operation
	for _, n := range nodes {
		var err error
		if held, err = tr.readNode(ctx, n, keys); err != nil {
			return err
		}
	}
	return tr.lookUp(ctx, nodes, keys, held)
}

// readNode reads all that a node holds, by key.
func (tr *traffic) readNode(ctx context.Context, n *Node, keys map[oncelog.Key]bool) (map[oncelog.Key]operation, error) {
	asked := operation{client: testsOwn, node: n.Name(), asked: askRead, call: tr.now()}
	held := make(map[oncelog.Key]operation)
	var stamped time.Time
	for r, err := range n.Client().Events(ctx, oncelog.Query{}, oncelog.Linearizable) {
		switch {
		case err != nil:
			return nil, fmt.Errorf("%s: read back: %w", n, err)
		case !keys[r.Key()]:
			return nil, fmt.Errorf("I2 %w: %s holds event %d, %v, which nobody has published", ErrBroken, n, r.ID, r.Key())
		case r.ProcessedAt.Before(stamped):
			return nil, fmt.Errorf("I3 %w: %s: event %d was processed at %s, before the one before it", ErrBroken, n, r.ID, r.ProcessedAt)
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
	return held, nil
}

// lookUp asks for each key at one of the nodes, and holds the answer against what
// the nodes have told when they told all.
func (tr *traffic) lookUp(ctx context.Context, nodes []*Node, keys map[oncelog.Key]bool, held map[oncelog.Key]operation) error {
	const askers = 16
	asking := make(chan oncelog.Key)
	failed := make([]error, askers)
	var running sync.WaitGroup
	for i := range askers {
		running.Go(func() {
			n := nodes[i%len(nodes)]
			for key := range asking {
				if failed[i] == nil {
					failed[i] = lookUpAt(ctx, n, key, held[key].id)
				}
			}
		})
	}
	for key := range keys {
		asking <- key
	}
	close(asking)
	running.Wait()
	return errors.Join(failed...)
}

// lookUpAt requires that a node knows a key under an id, which is 0 for none.
func lookUpAt(ctx context.Context, n *Node, key oncelog.Key, want uint64) error {
	var ids []uint64
	for r, err := range n.Client().Events(ctx, oncelog.Query{Topics: []string{key.Topic}, EventID: key.EventID}, oncelog.Linearizable) {
		if err != nil {
			return fmt.Errorf("%s: look up %v: %w", n, key, err)
		}
		ids = append(ids, r.ID)
	}
	if want == 0 && len(ids) == 0 || len(ids) == 1 && ids[0] == want {
		return nil
	}
	return fmt.Errorf("I2 %w: %s knows %v under the ids %d, and it is %d in the log (0: not there)", ErrBroken, n, key, ids, want)
}
