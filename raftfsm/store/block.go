package store

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/oncelog/oncelog"
)

const (
	// maxBlockBytes bounds a block's records; a larger record stands alone. It is
	// part of the format: replicas must cut the same blocks.
	maxBlockBytes = 64 << 10
	// blockHeader is the length of a block's fixed part. A block is:
	//
	//	 0     i64      processed_at of all its events, nanoseconds since 1970
	//	 8     u32      number of events n, 1 or more
	//	12     n × u32  where each record ends, counted from the first one's start
	//	12+4n           the records, whose ids are the key's id and up
	blockHeader = 12
)

func blockLen(records []rawRecord) int {
	n := blockHeader + 4*len(records)
	for _, r := range records {
		n += len(r)
	}
	return n
}

// putBlock writes a block into dst, which is blockLen bytes long.
func putBlock(dst []byte, processedAt int64, records []rawRecord) {
	binary.BigEndian.PutUint64(dst, uint64(processedAt))
	binary.BigEndian.PutUint32(dst[8:], uint32(len(records)))
	ends, body := dst[blockHeader:], dst[blockHeader+4*len(records):]
	end := 0
	for i, r := range records {
		end += copy(body[end:], r)
		binary.BigEndian.PutUint32(ends[4*i:], uint32(end))
	}
}

// block is a decoded block. It aliases the value that it was decoded from.
type block struct {
	first       uint64
	processedAt int64
	// Invariant: ends holds an ascending u32 for each record, the last one is
	// len(records), and every record is well formed.
	ends    []byte
	records []byte
}

func decodeBlock(first uint64, value []byte) (block, error) {
	if len(value) < blockHeader {
		return block{}, fmt.Errorf("block %d: %w: header cut off", first, oncelog.ErrCorrupt)
	}
	n := uint64(binary.BigEndian.Uint32(value[8:]))
	if first == 0 || n == 0 || n > uint64(len(value)-blockHeader)/4 || first+n < first {
		return block{}, fmt.Errorf("block %d: %w: %d events in %d bytes", first, oncelog.ErrCorrupt, n, len(value))
	}
	split := blockHeader + 4*int(n)
	b := block{
		first:       first,
		processedAt: int64(binary.BigEndian.Uint64(value)),
		ends:        value[blockHeader:split],
		records:     value[split:],
	}
	return b, b.check()
}

// check establishes the invariant of ends and records.
func (b block) check() error {
	at := 0
	for i := range b.len() {
		r, err := firstRecord(b.records[at:])
		if err != nil {
			return fmt.Errorf("block %d, event %d: %w", b.first, i, err)
		}
		at += len(r)
		if b.end(i) != at {
			return fmt.Errorf("block %d, event %d: %w: ends at byte %d, not %d", b.first, i, oncelog.ErrCorrupt, at, b.end(i))
		}
	}
	if at != len(b.records) {
		return fmt.Errorf("block %d: %w: %d bytes after the last record", b.first, oncelog.ErrCorrupt, len(b.records)-at)
	}
	return nil
}

func (b block) len() int      { return len(b.ends) / 4 }
func (b block) last() uint64  { return b.first + uint64(b.len()) - 1 }
func (b block) end(i int) int { return int(binary.BigEndian.Uint32(b.ends[4*i:])) }

func (b block) size() int { return len(b.ends) + len(b.records) }

// clone returns a block in memory of its own.
func (b block) clone() block {
	b.ends, b.records = bytes.Clone(b.ends), bytes.Clone(b.records)
	return b
}

// record returns the i-th record.
func (b block) record(i int) rawRecord {
	start, end := 0, b.end(i)
	if i > 0 {
		start = b.end(i - 1)
	}
	return b.records[start:end:end]
}
