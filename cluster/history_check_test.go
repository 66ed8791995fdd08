package cluster

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
)

// checkHistory is every check of a history.
func checkHistory(ops []operation) *violation {
	for _, check := range []func([]operation) *violation{checkCounts, checkOrder, checkKeys} {
		if broken := check(ops); broken != nil {
			return broken
		}
	}
	return nil
}

// at is an operation on a key, from one second to another.
func at(call, back int, what asked, answer told, key string, id uint64) operation {
	return operation{
		asked: what, told: answer, id: id, key: oncelog.Key{Topic: "t", EventID: key}, node: "n1",
		call: time.Duration(call) * time.Second, back: time.Duration(back) * time.Second,
	}
}

// of is the operation with another payload.
func (o operation) of(payload byte) operation {
	o.payload = payload
	return o
}

// withConflict is the operation with a conflict told.
func (o operation) withConflict() operation {
	o.conflict = true
	return o
}

// counts is an answer to a question for the numbers.
func counts(call, back int, node string, c oncelog.Consistency, index, received, unique uint64) operation {
	o := at(call, back, askStats, toldCounted, "", 0)
	o.node, o.consistency = node, c
	o.stats = &oncelog.Stats{AppliedIndex: index, Received: received, Unique: unique, Duplicates: received - unique, Digest: fmt.Sprint(index)}
	return o
}

func TestHistoriesOfALog(t *testing.T) {
	t.Parallel()
	for name, ops := range map[string][]operation{
		"nothing": nil,
		"a second attempt is a duplicate": {
			at(0, 1, askPublish, toldStored, "a", 1), at(2, 3, askPublish, toldDuplicate, "a", 1), at(4, 5, askRead, toldFound, "a", 1),
		},
		"of two at once, either is stored": {
			at(0, 5, askPublish, toldDuplicate, "a", 1), at(1, 3, askPublish, toldStored, "a", 1),
		},
		"a read beside a publication may miss it": {
			at(0, 5, askPublish, toldStored, "a", 1), at(1, 2, askRead, toldAbsent, "a", 0), at(3, 4, askRead, toldFound, "a", 1),
		},
		"an unknown outcome may come true": {
			at(0, 1, askPublish, toldUnknown, "a", 0), at(2, 3, askRead, toldAbsent, "a", 0), at(4, 5, askPublish, toldDuplicate, "a", 1),
		},
		"an unknown outcome may stay without effect": {
			at(0, 1, askPublish, toldUnknown, "a", 0), at(2, 3, askPublish, toldStored, "a", 1), at(4, 5, askPublish, toldDuplicate, "a", 1),
		},
		"of unknown outcomes, either payload may be the first": {
			at(0, 1, askPublish, toldUnknown, "a", 0).of(1), at(0, 1, askPublish, toldUnknown, "a", 0).of(2),
			at(2, 3, askPublish, toldDuplicate, "a", 1).of(1).withConflict(), at(4, 5, askRead, toldFound, "a", 1).of(2),
		},
		"a failed read says nothing": {
			at(0, 1, askPublish, toldStored, "a", 1), at(2, 3, askRead, toldNoAnswer, "a", 0),
		},
		"counts": {
			at(0, 1, askPublish, toldStored, "a", 1), counts(2, 3, "n1", oncelog.Linearizable, 5, 1, 1),
			at(4, 5, askPublish, toldDuplicate, "a", 1), counts(6, 7, "n2", oncelog.Stale, 5, 1, 1), counts(6, 7, "n1", oncelog.Linearizable, 6, 2, 1),
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Nil(t, checkHistory(ops))
		})
	}
}

func TestHistoriesThatNoLogCanHave(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		ops  []operation
		says string
	}{
		"stored twice": {[]operation{
			at(0, 1, askPublish, toldStored, "a", 1), at(2, 3, askPublish, toldStored, "a", 2),
		}, "t/a"},
		"stored twice at once": {[]operation{
			at(0, 3, askPublish, toldStored, "a", 1), at(1, 3, askPublish, toldStored, "a", 1),
		}, "t/a"},
		"a stale read after a stored event": {[]operation{
			at(0, 1, askPublish, toldStored, "a", 1), at(2, 3, askRead, toldAbsent, "a", 0),
		}, "t/a"},
		"a stale read after a read": {[]operation{
			at(0, 9, askPublish, toldStored, "a", 1), at(1, 2, askRead, toldFound, "a", 1), at(3, 4, askRead, toldAbsent, "a", 0),
		}, "t/a"},
		"a duplicate of another id": {[]operation{
			at(0, 1, askPublish, toldStored, "a", 1), at(2, 3, askPublish, toldDuplicate, "a", 2),
		}, "t/a"},
		"a read of another id": {[]operation{
			at(0, 1, askPublish, toldStored, "a", 1), at(2, 3, askRead, toldFound, "a", 7),
		}, "t/a"},
		"a duplicate of nothing": {[]operation{
			at(0, 1, askPublish, toldDuplicate, "a", 1), at(2, 3, askPublish, toldStored, "a", 1),
		}, "t/a"},
		"an acknowledged event is lost": {[]operation{
			at(0, 1, askPublish, toldStored, "a", 1), at(2, 3, askPublish, toldDuplicate, "a", 1), at(8, 9, askRead, toldAbsent, "a", 0),
		}, "t/a"},
		"an unknown outcome comes true and is lost": {[]operation{
			at(0, 1, askPublish, toldUnknown, "a", 0), at(2, 3, askRead, toldFound, "a", 1), at(4, 5, askRead, toldAbsent, "a", 0),
		}, "t/a"},
		"an unknown outcome comes true before it was asked for": {[]operation{
			at(0, 1, askRead, toldFound, "a", 1), at(2, 3, askPublish, toldUnknown, "a", 0),
		}, "t/a"},
		"what was not applied is there": {[]operation{
			at(0, 1, askPublish, toldNotApplied, "a", 0), at(2, 3, askRead, toldFound, "a", 1),
		}, "t/a"},
		"the second payload is kept": {[]operation{
			at(0, 1, askPublish, toldStored, "a", 1).of(1), at(2, 3, askPublish, toldDuplicate, "a", 1).of(2).withConflict(), at(4, 5, askRead, toldFound, "a", 1).of(2),
		}, "t/a"},
		"a conflict of equals": {[]operation{
			at(0, 1, askPublish, toldStored, "a", 1), at(2, 3, askPublish, toldDuplicate, "a", 1).withConflict(),
		}, "t/a"},
		"a conflict is not told": {[]operation{
			at(0, 1, askPublish, toldStored, "a", 1).of(1), at(2, 3, askPublish, toldDuplicate, "a", 1).of(2),
		}, "t/a"},
		"an id for two keys": {[]operation{
			at(0, 1, askPublish, toldStored, "a", 1), at(2, 3, askPublish, toldStored, "b", 1),
		}, "an id is not greater"},
		"ids against the order of time": {[]operation{
			at(0, 1, askPublish, toldStored, "a", 2), at(2, 3, askPublish, toldStored, "b", 1),
		}, "an id is not greater"},
		"a count without what was read": {[]operation{
			at(0, 1, askPublish, toldUnknown, "a", 0), at(2, 3, askRead, toldFound, "a", 1), counts(4, 5, "n1", oncelog.Linearizable, 5, 0, 0),
		}, "a count leaves out an id"},
		"a count steps back": {[]operation{
			at(0, 9, askPublish, toldStored, "a", 1), counts(1, 2, "n1", oncelog.Stale, 5, 1, 1), counts(4, 5, "n2", oncelog.Linearizable, 4, 0, 0),
		}, "a count leaves out an id"},
		"more received than sent": {[]operation{
			at(0, 1, askPublish, toldStored, "a", 1), counts(2, 3, "n1", oncelog.Stale, 5, 2, 1),
		}, "2 received of 1 sent"},
		"less received than acknowledged": {[]operation{
			at(0, 1, askPublish, toldStored, "a", 1), at(1, 2, askPublish, toldDuplicate, "a", 1), counts(3, 4, "n1", oncelog.Linearizable, 5, 1, 1),
		}, "1 received after 2 were acknowledged"},
		"two digests of one index": {[]operation{
			at(0, 9, askPublish, toldStored, "a", 1), counts(1, 2, "n1", oncelog.Stale, 5, 1, 1), counts(1, 2, "n2", oncelog.Stale, 5, 0, 0),
		}, "one index"},
		"a stale read steps back": {[]operation{
			at(0, 9, askPublish, toldStored, "a", 1), counts(1, 2, "n1", oncelog.Stale, 5, 1, 1), counts(3, 4, "n1", oncelog.Stale, 4, 0, 0),
		}, "a node steps back"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			broken := checkHistory(c.ops)
			require.NotNil(t, broken)
			require.ErrorContains(t, broken, c.says)
		})
	}
}

// A log that is asked by many at once has a history that passes, whatever of its
// answers are lost. With one answer that is not true, it does not.
func TestHistoriesOfASimulatedLog(t *testing.T) {
	t.Parallel()
	for seed := range uint64(60) {
		ops := simulate(rand.New(rand.NewPCG(seed, 0)))
		require.Nil(t, checkHistory(ops), "seed %d", seed)
		for i := range ops {
			lie := ops[i]
			switch lie.told {
			case toldDuplicate, toldFound:
				lie.id++
			case toldAbsent:
				lie.told, lie.id = toldFound, 1<<40
			default:
				continue
			}
			honest := ops[i]
			ops[i] = lie
			require.NotNil(t, checkHistory(ops), "seed %d, %s in place of %s", seed, lie, honest)
			ops[i] = honest
		}
	}
}

// simulate asks a log of a few keys. Each question takes effect at a moment
// between its call and its answer, and some answers are lost. At the end, all that
// is there is read.
func simulate(chance *rand.Rand) []operation {
	const questions, keys, overlap = 60, 4, 5 * time.Second
	log := make(map[string]operation)
	ops := make([]operation, 0, questions)
	for i := range questions {
		moment := time.Duration(i) * time.Second
		o := operation{
			client: i, asked: askPublish, payload: byte(chance.IntN(2)), key: oncelog.Key{Topic: "t", EventID: fmt.Sprint(chance.IntN(keys))},
			call: moment - between(chance, 0, overlap), back: moment + between(chance, 1, overlap),
		}
		first, present := log[o.key.EventID]
		lost, reads := chance.IntN(5) == 0, chance.IntN(2) == 0
		switch {
		case reads && !present:
			o.asked, o.told = askRead, toldAbsent
		case reads:
			o.asked, o.told, o.id, o.payload = askRead, toldFound, first.id, first.payload
		case present:
			o.told, o.id, o.conflict = toldDuplicate, first.id, first.payload != o.payload
		default:
			o.told, o.id = toldStored, uint64(len(log))+1
			log[o.key.EventID] = o
		}
		switch {
		case lost && reads:
			o.told, o.id = toldNoAnswer, 0
		case lost:
			o.told, o.id, o.conflict = toldUnknown, 0, false
		}
		ops = append(ops, o)
	}
	end := questions*time.Second + overlap
	for key, first := range log {
		o := operation{asked: askRead, told: toldFound, id: first.id, payload: first.payload, key: oncelog.Key{Topic: "t", EventID: key}, call: end, back: end + 1}
		ops = append(ops, o)
	}
	return ops
}
