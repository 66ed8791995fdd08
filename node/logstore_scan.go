package node

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"

	"github.com/oncelog/oncelog"
)

// The layout of a raft-wal segment, little endian: a header of 32 bytes, then
// frames, each padded to 8 bytes:
//
//	0  u8  type: 1 entry, 2 index, 3 commit
//	1  3   0
//	4  u32 length of what follows; of a commit, the CRC-32C since the commit before
//
// A batch ends with a commit. The first one's checksum covers the file's header.
const (
	segmentHeader = 32
	frameHeader   = 8
	frameEntry    = 1
	frameIndex    = 2
	frameCommit   = 3
)

// checkSegment looks for damage in the last segment. A crash cuts off at most the
// last batch, which nobody was told of. So if a batch is not whole, and a whole one
// follows it, then what is between was on the disk, and it is damaged.
func (d walDisk) checkSegment(tail types.SegmentInfo) error {
	name := segment.FileName(tail)
	content, err := d.read(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	end := wholeBatches(content)
	if at, found := laterBatch(content, end); found {
		return fmt.Errorf("%w: %s is damaged after byte %d: a batch that was written later is at byte %d",
			oncelog.ErrCorrupt, filepath.Join(d.dir, name), end, at)
	}
	return nil
}

func (d walDisk) read(name string) ([]byte, error) {
	f, err := d.files.OpenReader(d.dir, name)
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<32))
	return content, errors.Join(err, f.Close())
}

// wholeBatches returns where the last of the whole batches ends that the segment
// begins with.
func wholeBatches(content []byte) (end int) {
	at := segmentHeader
	for {
		commit, whole := nextBatch(content, end, at)
		if !whole {
			return end
		}
		end = commit + frameHeader
		at = end
	}
}

// laterBatch looks for a whole batch that begins after from.
func laterBatch(content []byte, from int) (at int, found bool) {
	for at := from + frameHeader; at < len(content); at += frameHeader {
		if _, whole := nextBatch(content, at, at); whole {
			return at, true
		}
	}
	return 0, false
}

// nextBatch follows the frames from at to the next commit, whose checksum is over
// all since from. It returns where the commit is. Both are multiples of 8.
func nextBatch(content []byte, from, at int) (commit int, whole bool) {
	for at+frameHeader <= len(content) {
		head, length := binary.LittleEndian.Uint32(content[at:]), binary.LittleEndian.Uint32(content[at+4:])
		switch head {
		case frameEntry, frameIndex:
			at += frameHeader + (int(length)+7)&^7
		case frameCommit:
			return at, crc32.Checksum(content[from:at], castagnoli) == length
		default:
			return 0, false
		}
	}
	return 0, false
}
