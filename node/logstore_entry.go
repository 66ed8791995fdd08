package node

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/hashicorp/raft"

	"github.com/oncelog/oncelog"
)

// sealEntry returns a copy of the entry that carries its checksum, where Raft
// lets a log store keep something of its own. The entry itself is shared with
// the replication.
func sealEntry(log *raft.Log) *raft.Log {
	sealed := *log
	sealed.Extensions = binary.BigEndian.AppendUint32(nil, entryChecksum(log))
	return &sealed
}

// unseal checks an entry and takes the checksum off.
func unseal(index uint64, log *raft.Log) error {
	if log.Index != index {
		return fmt.Errorf("%w: entry %d says that it is entry %d", oncelog.ErrCorrupt, index, log.Index)
	}
	if len(log.Extensions) != 4 || binary.BigEndian.Uint32(log.Extensions) != entryChecksum(log) {
		return fmt.Errorf("%w: entry %d has a wrong checksum", oncelog.ErrCorrupt, index)
	}
	log.Extensions = nil
	return nil
}

// entryChecksum covers all of an entry that Raft acts on.
func entryChecksum(log *raft.Log) uint32 {
	var head [17]byte
	binary.BigEndian.PutUint64(head[:], log.Index)
	binary.BigEndian.PutUint64(head[8:], log.Term)
	head[16] = byte(log.Type)
	return crc32.Update(crc32.Checksum(head[:], castagnoli), castagnoli, log.Data)
}
