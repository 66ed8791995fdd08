package store

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
)

const (
	// hotBytes bounds the memory of the blocks that are kept, hotMost their number.
	hotBytes = 4 << 20
	hotMost  = 1 << 10
	// hotAsked is how many blocks are remembered as asked for once, hotTopics of how
	// many topics it is known where they begin.
	hotAsked  = 1 << 8
	hotTopics = 1 << 14
)

// hotBlocks keeps what small reads ask for again and again, so that they need not
// go through the levels of the tree: copies of the blocks that many of them begin
// in, and where topics begin. Nothing of that ever changes in one database: blocks
// are only added, and behind all others.
type hotBlocks struct {
	// mu guards what follows.
	mu sync.RWMutex
	// blocks are in the order of their ids, bytes is their size.
	blocks []*hotBlock
	bytes  int
	// hand is the place of the block that is the next to go, unless it was used
	// since the hand came by (the CLOCK algorithm).
	hand int
	// asked has first ids of blocks that were asked for, each in the place that is
	// its hash. A block is worth its copy when it is asked for once more.
	asked [hotAsked]uint64
	// begins has the first block of topics.
	begins map[uint32]uint64
}

type hotBlock struct {
	block
	used atomic.Bool
}

// holding returns the block that holds an event, if it is kept.
func (h *hotBlocks) holding(id uint64) (block, bool) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	i, found := h.search(id)
	if !found {
		i--
	}
	if i < 0 || h.blocks[i].last() < id {
		return block{}, false
	}
	h.blocks[i].used.Store(true)
	return h.blocks[i].block, true
}

// search returns the place of the block that begins with an id, and whether it is
// there.
func (h *hotBlocks) search(first uint64) (int, bool) {
	return slices.BinarySearchFunc(h.blocks, first, func(b *hotBlock, id uint64) int { return cmp.Compare(b.first, id) })
}

// offer tells of a block that was read. It is copied if that happens again.
func (h *hotBlocks) offer(b block) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if asked := &h.asked[b.first%hotAsked]; *asked != b.first {
		*asked = b.first
		return
	}
	if i, found := h.search(b.first); !found {
		newest := &hotBlock{block: b.clone()}
		h.blocks = slices.Insert(h.blocks, i, newest)
		h.bytes += b.size()
		h.shrink(newest)
	}
}

// shrink lets blocks go, but for the newest, until the others are within the
// bounds, which are those of many blocks.
func (h *hotBlocks) shrink(newest *hotBlock) {
	for h.bytes > hotBytes || len(h.blocks) > hotMost {
		h.hand %= len(h.blocks)
		b := h.blocks[h.hand]
		if b == newest || b.used.Swap(false) {
			h.hand++
			continue
		}
		h.blocks = slices.Delete(h.blocks, h.hand, h.hand+1)
		h.bytes -= b.size()
	}
}

// begin returns the first block of topics, 0 if it is not known of all of them.
func (h *hotBlocks) begin(topics []uint32) uint64 {
	h.mu.RLock()
	defer h.mu.RUnlock()
	var least uint64
	for _, topic := range topics {
		first, known := h.begins[topic]
		if !known {
			return 0
		}
		if least == 0 || first < least {
			least = first
		}
	}
	return least
}

// begun notes the first block of a topic.
func (h *hotBlocks) begun(topic uint32, first uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.begins == nil || len(h.begins) == hotTopics {
		h.begins = make(map[uint32]uint64)
	}
	h.begins[topic] = first
}
