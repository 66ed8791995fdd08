package node

import (
	"encoding/binary"
	"errors"
	"path/filepath"
	"slices"
	"time"

	"github.com/hashicorp/go-msgpack/v2/codec"
	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"
)

// boltMmapBytes is the log file's first mapping: growing it stops writers.
const boltMmapBytes = 1 << 30

// The buckets of the file: entries by index, and the term, the vote and the owner.
var (
	boltLogs   = []byte("logs")
	boltStable = []byte("conf")
)

// boltPiece is the greatest value in the log. A leaf of bolt's tree has at least two
// values and up to four however large they are, and every commit writes the last
// leaf anew: with whole entries in it, most of what is written was written before.
const boltPiece = 16 << 10

// boltLog keeps the Raft log in one bbolt file. An entry in msgpack is cut into
// pieces: the first under the entry's index, u64 big endian, the others under the
// index and their number, u16 big endian, from 1. Every operation is on the disk
// when it returns, whole or not at all.
type boltLog struct {
	db     *bbolt.DB
	handle *codec.MsgpackHandle
	// encoded is the memory that entries are encoded in, which bolt reads until it has
	// committed them. It belongs to the transaction that writes.
	encoded []byte
}

var _ logStore = (*boltLog)(nil)

// openBolt opens or makes the file.
func openBolt(path string) (*boltLog, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout:         time.Second,
		NoFreelistSync:  true,
		FreelistType:    bbolt.FreelistMapType,
		InitialMmapSize: boltMmapBytes,
	})
	if err != nil {
		return nil, err
	}
	l := &boltLog{db: db, handle: new(codec.MsgpackHandle)}
	l.handle.TimeNotBuiltin = true // the older of the two forms that a time can have
	err = db.Update(func(tx *bbolt.Tx) error {
		_, err1 := tx.CreateBucketIfNotExists(boltLogs)
		_, err2 := tx.CreateBucketIfNotExists(boltStable)
		return errors.Join(err1, err2)
	})
	if err == nil {
		err = syncDir(filepath.Dir(path)) // bolt syncs the file that it makes, not its name
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return l, nil
}

// Close closes the file.
func (l *boltLog) Close() error { return l.db.Close() }

// FirstIndex implements raft.LogStore.
func (l *boltLog) FirstIndex() (uint64, error) { return l.end((*bbolt.Cursor).First) }

// LastIndex implements raft.LogStore.
func (l *boltLog) LastIndex() (uint64, error) { return l.end((*bbolt.Cursor).Last) }

func (l *boltLog) end(seek func(*bbolt.Cursor) (key, value []byte)) (index uint64, err error) {
	err = l.db.View(func(tx *bbolt.Tx) error {
		if key, _ := seek(tx.Bucket(boltLogs).Cursor()); key != nil {
			index = indexOf(key)
		}
		return nil
	})
	return index, err
}

// GetLog implements raft.LogStore.
func (l *boltLog) GetLog(index uint64, log *raft.Log) error {
	return l.db.View(func(tx *bbolt.Tx) error {
		cursor := tx.Bucket(boltLogs).Cursor()
		key, value := cursor.Seek(boltKey(index))
		if key == nil || indexOf(key) != index {
			return raft.ErrLogNotFound
		}
		if len(value) == boltPiece {
			value = slices.Clone(value)
			for key, piece := cursor.Next(); key != nil && indexOf(key) == index; key, piece = cursor.Next() {
				value = append(value, piece...)
			}
		}
		return codec.NewDecoderBytes(value, l.handle).Decode(log)
	})
}

// StoreLog implements raft.LogStore.
func (l *boltLog) StoreLog(log *raft.Log) error { return l.StoreLogs([]*raft.Log{log}) }

// StoreLogs implements raft.LogStore.
func (l *boltLog) StoreLogs(logs []*raft.Log) error {
	return l.db.Update(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket(boltLogs)
		free := l.room(logs)
		for _, log := range logs {
			value := free[:0]
			if err := codec.NewEncoderBytes(&value, l.handle).Encode(log); err != nil {
				return err
			}
			if err := putPieces(bucket, log.Index, value); err != nil {
				return err
			}
			free = value[len(value):]
		}
		return nil
	})
}

const (
	// logOverhead is at least what the encoding adds to an entry's data.
	logOverhead = 256
	// keptEncoded is the most memory that is kept for the next entries: room for a full
	// one, but not for many at once or for one that is larger than most.
	keptEncoded = 1 << 20
)

// room is memory to encode entries in.
func (l *boltLog) room(logs []*raft.Log) []byte {
	size := 0
	for _, log := range logs {
		size += len(log.Data) + len(log.Extensions) + logOverhead
	}
	if size > keptEncoded {
		return make([]byte, 0, size)
	}
	if size > cap(l.encoded) {
		l.encoded = make([]byte, 0, size)
	}
	return l.encoded
}

// putPieces stores an entry. There is none of that index: Raft deletes entries
// before it puts others in their place.
func putPieces(bucket *bbolt.Bucket, index uint64, value []byte) error {
	key := boltKey(index)
	for n := uint16(1); len(value) > boltPiece; n++ {
		if err := bucket.Put(key, value[:boltPiece]); err != nil {
			return err
		}
		value, key = value[boltPiece:], binary.BigEndian.AppendUint16(boltKey(index), n)
	}
	return bucket.Put(key, value)
}

// DeleteRange implements raft.LogStore. A cursor may skip a key after a deletion, so
// what is left is looked for until there is nothing.
func (l *boltLog) DeleteRange(from, to uint64) error {
	return l.db.Update(func(tx *bbolt.Tx) error {
		cursor := tx.Bucket(boltLogs).Cursor()
		within := func(key []byte) bool { return key != nil && indexOf(key) <= to }
		for {
			key, _ := cursor.Seek(boltKey(from))
			if !within(key) {
				return nil
			}
			for ; within(key); key, _ = cursor.Next() {
				if err := cursor.Delete(); err != nil {
					return err
				}
			}
		}
	})
}

// Set implements raft.StableStore.
func (l *boltLog) Set(key, value []byte) error {
	return l.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(boltStable).Put(key, value) })
}

// Get implements raft.StableStore.
func (l *boltLog) Get(key []byte) (value []byte, err error) {
	err = l.db.View(func(tx *bbolt.Tx) error {
		found := tx.Bucket(boltStable).Get(key)
		if found == nil {
			return errNoKey
		}
		value = append([]byte(nil), found...)
		return nil
	})
	return value, err
}

// SetUint64 implements raft.StableStore.
func (l *boltLog) SetUint64(key []byte, value uint64) error { return l.Set(key, boltKey(value)) }

// GetUint64 implements raft.StableStore.
func (l *boltLog) GetUint64(key []byte) (uint64, error) {
	value, err := l.Get(key)
	if err != nil {
		return 0, err
	}
	return decodeUint64(value)
}

func boltKey(index uint64) []byte { return binary.BigEndian.AppendUint64(nil, index) }

func indexOf(key []byte) uint64 { return binary.BigEndian.Uint64(key) }
