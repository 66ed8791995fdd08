package store

import "github.com/cockroachdb/pebble/v2"

// blockBuilder gathers the records of the block to be written next.
type blockBuilder struct {
	first   uint64
	bytes   int
	records []rawRecord
}

// addToBlock adds a new event to the current block, or begins another one.
func (t *Txn) addToBlock(id uint64, e stagedEvent, processedAt int64) {
	b := &t.block
	if len(b.records) > 0 && b.bytes+len(e.record) > maxBlockBytes {
		t.closeBlock(processedAt)
	}
	if len(b.records) == 0 {
		b.first = id
	}
	b.records = append(b.records, e.record)
	b.bytes += len(e.record)
	t.topics.add(e.topic, id)
}

// closeBlock writes the current block straight into the Pebble batch.
func (t *Txn) closeBlock(processedAt int64) {
	b := &t.block
	if len(b.records) == 0 {
		return
	}
	op := t.batch.SetDeferred(blockKeyLen, blockLen(b.records))
	putBlockKey(op.Key, b.first)
	putBlock(op.Value, processedAt, b.records)
	t.ledger.chain.extend(t.hash, op.Key, op.Value)
	t.finish(op)
	t.topics.endBlock(func(topic, count uint32) {
		op := t.batch.SetDeferred(topicKeyLen, topicValueLen)
		putTopicKey(op.Key, topic, b.first)
		putTopicCount(op.Value, count)
		t.finish(op)
	})
	clear(b.records)
	b.records, b.bytes = b.records[:0], 0
}

// finish ends a write into the batch.
func (t *Txn) finish(op *pebble.DeferredBatchOp) {
	if err := op.Finish(); err != nil {
		t.err = err
	}
}

// topicTally counts a transaction's new events by topic.
type topicTally struct {
	// known and ids are the store's topics; what is new stays here until Commit.
	known    []topic
	ids      map[string]uint32
	fresh    []string
	freshIDs map[string]uint32

	// perTopic has a place for each topic id; touched lists the ones in use, and
	// inBlock those of the current block.
	perTopic []tally
	touched  []uint32
	inBlock  []uint32
}

type tally struct {
	touched bool
	count   uint64
	last    uint64
	inBlock uint32
}

// reset forgets what was counted.
func (y *topicTally) reset() {
	for _, id := range y.touched {
		y.perTopic[id] = tally{}
	}
	clear(y.freshIDs)
	clear(y.fresh)
	y.known, y.ids = nil, nil
	y.fresh, y.touched, y.inBlock = y.fresh[:0], y.touched[:0], y.inBlock[:0]
}

// id returns a topic's id, the next one for a topic not seen before.
func (y *topicTally) id(name []byte) uint32 {
	if id, ok := y.ids[string(name)]; ok {
		return id
	}
	if id, ok := y.freshIDs[string(name)]; ok {
		return id
	}
	if y.freshIDs == nil {
		y.freshIDs = make(map[string]uint32)
	}
	id := uint32(len(y.known) + len(y.fresh))
	y.fresh = append(y.fresh, string(name))
	y.freshIDs[y.fresh[len(y.fresh)-1]] = id
	y.touch(id)
	return id
}

// touch returns the tally of a topic whose metadata this transaction writes.
func (y *topicTally) touch(id uint32) *tally {
	if n := int(id) + 1; n > len(y.perTopic) {
		y.perTopic = append(y.perTopic, make([]tally, n-len(y.perTopic))...)
	}
	v := &y.perTopic[id]
	if !v.touched {
		v.touched = true
		y.touched = append(y.touched, id)
	}
	return v
}

// add counts one new event.
func (y *topicTally) add(id uint32, event uint64) {
	v := y.touch(id)
	v.count++
	v.last = event
	if v.inBlock == 0 {
		y.inBlock = append(y.inBlock, id)
	}
	v.inBlock++
}

// endBlock yields the counts of the current block, in the order in which its
// topics came.
func (y *topicTally) endBlock(yield func(topic, count uint32)) {
	for _, id := range y.inBlock {
		yield(id, y.perTopic[id].inBlock)
		y.perTopic[id].inBlock = 0
	}
	y.inBlock = y.inBlock[:0]
}

// result returns a touched topic as it is after the transaction.
func (y *topicTally) result(id uint32) topic {
	var t topic
	if int(id) < len(y.known) {
		t = y.known[id]
	} else {
		t.name = y.fresh[int(id)-len(y.known)]
	}
	v := y.perTopic[id]
	t.count += v.count
	if v.last != 0 {
		t.last = v.last
	}
	return t
}
