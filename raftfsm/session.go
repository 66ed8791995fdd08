package raftfsm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"

	"github.com/oncelog/oncelog/raftfsm/store"
)

// The answers of the state machine to a batch that it does not apply. Nothing
// of the batch is stored or counted, on any node, now or later.
var (
	// ErrSessionExpired: a later run of the node, or a settled number, has
	// overtaken the batch.
	ErrSessionExpired = errors.New("the batch's session has moved on")
	// ErrNotMember: the proposing node is not in the Raft configuration.
	ErrNotMember = errors.New("the proposing node is not a member of the cluster")
)

// sessions remembers, for each member, which of its batches were applied and
// might be sent again, so that a repeated one is recognised. See Lee et al.,
// "Implementing Linearizability at Large Scale and Low Latency" (SOSP 2015).
//
// One node has one session: a new run of the node ends the one before. Nothing
// expires by time. A node that leaves the configuration loses its session, and
// its batches are refused from then on, so none can be applied twice.
type sessions struct {
	// byNode is part of the replicated state.
	byNode map[uuid.UUID]*session
}

// session is one node's run. It is bounded by the batches that a node may have
// in flight.
type session struct {
	run uint64
	// settled is the lowest number that may still be sent.
	settled uint64
	// open holds the ids that each applied number at or above settled stored.
	//
	// Invariant: no key is below settled.
	open map[uint64]*store.Range
}

// verdict is what the session says of a batch.
type verdict struct {
	// refused is nil for a batch to be applied or recalled.
	refused error
	// again marks a batch that was applied before.
	again bool
	// ids is where the batch's range is, or is to be written.
	ids *store.Range
}

// admit decides on a batch and notes it as applied where it is new. The caller
// fills in the range of a new one.
func (s *sessions) admit(b *Batch) verdict {
	own := s.byNode[b.Session.Node]
	if own == nil || b.Session.Run > own.run {
		own = &session{run: b.Session.Run, settled: 1, open: make(map[uint64]*store.Range)}
		s.byNode[b.Session.Node] = own
	}
	if b.Session.Run < own.run {
		return verdict{refused: ErrSessionExpired}
	}
	own.settle(b.Settled)
	if b.Number < own.settled {
		return verdict{refused: ErrSessionExpired}
	}
	if ids, ok := own.open[b.Number]; ok {
		return verdict{again: true, ids: ids}
	}
	ids := new(store.Range)
	own.open[b.Number] = ids
	return verdict{ids: ids}
}

// settle forgets the numbers below settled: their answers have arrived.
func (s *session) settle(settled uint64) {
	if settled <= s.settled {
		return
	}
	s.settled = settled
	maps.DeleteFunc(s.open, func(number uint64, _ *store.Range) bool { return number < settled })
}

// keep drops the sessions of all nodes but the members.
func (s *sessions) keep(members map[uuid.UUID]bool) {
	maps.DeleteFunc(s.byNode, func(node uuid.UUID, _ *session) bool { return !members[node] })
}

// The layout of the sessions in the store, big endian: per session, in the order
// of node ids: node id 16, run u64, settled u64, count u32, then per open batch,
// in the order of numbers: number u64, first id u64, count of ids u64.
const (
	sessionHeader = 36
	openSize      = 24
)

// appendTo writes the sessions in an order that is the same on every node.
func (s *sessions) appendTo(dst []byte) []byte {
	nodes := slices.SortedFunc(maps.Keys(s.byNode), func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) })
	for _, node := range nodes {
		own := s.byNode[node]
		dst = append(dst, node[:]...)
		dst = binary.BigEndian.AppendUint64(dst, own.run)
		dst = binary.BigEndian.AppendUint64(dst, own.settled)
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(own.open)))
		for _, number := range slices.Sorted(maps.Keys(own.open)) {
			ids := own.open[number]
			dst = binary.BigEndian.AppendUint64(dst, number)
			dst = binary.BigEndian.AppendUint64(dst, ids.First)
			dst = binary.BigEndian.AppendUint64(dst, ids.Count)
		}
	}
	return dst
}

// decodeSessions is the reverse of appendTo.
func decodeSessions(data []byte) (*sessions, error) {
	s := &sessions{byNode: make(map[uuid.UUID]*session)}
	for len(data) > 0 {
		if len(data) < sessionHeader {
			return nil, fmt.Errorf("a session of %d bytes", len(data))
		}
		node := uuid.UUID(data[:16])
		own := &session{
			run:     binary.BigEndian.Uint64(data[16:]),
			settled: binary.BigEndian.Uint64(data[24:]),
		}
		count := int(binary.BigEndian.Uint32(data[32:]))
		data = data[sessionHeader:]
		if count > len(data)/openSize {
			return nil, fmt.Errorf("%d open batches in %d bytes", count, len(data))
		}
		own.open = make(map[uint64]*store.Range, count)
		for range count {
			own.open[binary.BigEndian.Uint64(data)] = &store.Range{
				First: binary.BigEndian.Uint64(data[8:]),
				Count: binary.BigEndian.Uint64(data[16:]),
			}
			data = data[openSize:]
		}
		s.byNode[node] = own
	}
	return s, nil
}
