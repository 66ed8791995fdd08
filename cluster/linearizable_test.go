package cluster

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/oncelog/oncelog"
)

// keyState is all that a log knows of one key. An id of 0 is not known yet: an
// event was stored and nobody was told.
type keyState struct {
	present bool
	id      uint64
	payload byte
}

// keyModel is the log as one key sees it: absent, until one publication stores
// it for good.
var keyModel = porcupine.Model{
	Init: func() any { return keyState{} },
	Step: func(state, input, _ any) (bool, any) {
		return state.(keyState).after(input.(operation))
	},
	DescribeOperation: func(input, _ any) string { return input.(operation).String() },
	DescribeState:     func(state any) string { return fmt.Sprintf("%+v", state) },
}

// after is the state after an operation, and whether it can have been answered so.
func (s keyState) after(o operation) (bool, keyState) {
	switch o.told {
	case toldStored:
		return !s.present, keyState{present: true, id: o.id, payload: o.payload}
	case toldUnknown:
		// That it had no effect is the same as that it comes after all the rest.
		if s.present {
			return true, s
		}
		return true, keyState{present: true, payload: o.payload}
	case toldDuplicate:
		ok := s.is(o.id) && o.conflict == (o.payload != s.payload)
		return ok, keyState{present: true, id: o.id, payload: s.payload}
	case toldFound:
		return s.is(o.id) && o.payload == s.payload, keyState{present: true, id: o.id, payload: s.payload}
	case toldAbsent:
		return !s.present, s
	case toldNotApplied, toldNoAnswer, toldCounted:
	}
	return true, s
}

func (s keyState) is(id uint64) bool { return s.present && (s.id == id || s.id == 0) }

// violation is a history that no log can have, and its part that shows it.
type violation struct {
	says string
	ops  []operation
	// shown is porcupine's view of it, if it has one.
	shown *porcupine.LinearizationInfo
}

func (v *violation) Error() string {
	text := "not linearizable: " + v.says
	for _, o := range v.ops {
		text += "\n  " + o.String()
	}
	return text
}

// searchTime bounds the search for an order of one key's operations. It takes
// milliseconds.
const searchTime = time.Minute

// checkKeys looks for an order of each key's operations in which every answer is
// right, and which agrees with the times at which they were asked and answered.
func checkKeys(ops []operation) *violation {
	byKey := make(map[oncelog.Key][]operation)
	for _, o := range ops {
		if o.asked != askStats && o.told != toldNotApplied && o.told != toldNoAnswer {
			byKey[o.key] = append(byKey[o.key], o)
		}
	}
	for _, key := range slices.SortedFunc(maps.Keys(byKey), compareKeys) {
		timeline := timelineOf(byKey[key])
		result, info := porcupine.CheckOperationsVerbose(keyModel, timeline, searchTime)
		if result == porcupine.Ok {
			continue
		}
		says := fmt.Sprintf("%s/%s", key.Topic, key.EventID)
		if result == porcupine.Unknown {
			says += " could not be decided"
		}
		return &violation{says: says, ops: byKey[key], shown: &info}
	}
	return nil
}

func compareKeys(a, b oncelog.Key) int {
	return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.EventID, b.EventID))
}

// timelineOf are one key's operations as porcupine takes them. One whose outcome
// is unknown has no end. Of those with one payload the first one stands for all:
// whatever another of them can have done, it can have done too.
func timelineOf(ops []operation) []porcupine.Operation {
	var timeline []porcupine.Operation
	open := make(map[byte]operation)
	for _, o := range ops {
		if o.told != toldUnknown {
			timeline = append(timeline, porcupine.Operation{ClientId: o.client, Input: o, Call: int64(o.call), Return: int64(o.back)})
			continue
		}
		if first, ok := open[o.payload]; !ok || o.call < first.call {
			open[o.payload] = o
		}
	}
	for _, o := range open {
		timeline = append(timeline, porcupine.Operation{ClientId: o.client, Input: o, Call: int64(o.call), Return: math.MaxInt64})
	}
	return timeline
}
