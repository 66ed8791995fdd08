package node

import (
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/metadb"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"

	"github.com/oncelog/oncelog"
)

// walSegmentBytes is the size of a segment: what is truncated goes segment by
// segment, and each is allocated whole.
const walSegmentBytes = 16 << 20

// walLog keeps the Raft log in segments, with the term and the vote in a bbolt file
// beside them. What raft-wal leaves open, it closes:
//   - a crash between the end of a segment and the next one's beginning leaves a
//     log that takes no appends any more; openWAL begins the next segment,
//   - the name of a new segment is synced with its first append, but not if there is
//     a restart in between; openWAL syncs the directory,
//   - raft-wal takes damage in the last segment for a write that the crash cut off,
//     and drops what follows; openWAL looks for what can not have been cut off, and
//     after an orderly stop it knows where the log has ended.
type walLog struct {
	*wal.WAL
}

var _ logStore = (*walLog)(nil)

// walDisk is where the segments and what is known of them are kept.
type walDisk struct {
	dir     string
	files   types.VFS
	meta    types.MetaStore
	syncDir func(dir string) error
}

// openWAL opens or makes the directory.
func openWAL(dir string, logger *slog.Logger) (*walLog, error) {
	if err := makeDir(dir); err != nil {
		return nil, err
	}
	return walDisk{dir, fs.New(), &metadb.BoltMetaDB{}, syncDir}.open(walSegmentBytes, logger)
}

func (d walDisk) open(segmentBytes int, logger *slog.Logger) (_ *walLog, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(walError(err), d.meta.Close())
		}
	}()
	filer := segment.NewFiler(d.dir, d.files)
	if err := d.finishRotation(filer, segmentBytes); err != nil {
		return nil, err
	}
	w, err := wal.Open(d.dir,
		wal.WithSegmentFiler(filer), wal.WithMetaStore(d.meta),
		wal.WithSegmentSize(segmentBytes), wal.WithLogger(raftLogger(logger)))
	if err != nil {
		return nil, err
	}
	l := &walLog{w}
	if err := errors.Join(d.syncDir(d.dir), l.checkEnd()); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return l, nil
}

// finishRotation looks at the last segment. If it is whole and full, it makes the
// next one known, which raft-wal does after it has answered the append.
func (d walDisk) finishRotation(filer types.SegmentFiler, segmentBytes int) error {
	state, err := d.meta.Load(d.dir)
	if err != nil || len(state.Segments) == 0 {
		return err
	}
	tail := &state.Segments[len(state.Segments)-1]
	if !tail.SealTime.IsZero() {
		return nil
	}
	if err := d.checkSegment(*tail); err != nil {
		return err
	}
	w, err := filer.RecoverTail(*tail)
	if errors.Is(err, os.ErrNotExist) {
		return nil // its beginning was cut off
	}
	if err != nil {
		return err
	}
	sealed, indexStart, err := w.Sealed()
	last := w.LastIndex()
	if err = errors.Join(err, w.Close()); err != nil || !sealed {
		return err
	}
	tail.SealTime, tail.MaxIndex, tail.IndexStart = tail.CreateTime, last, indexStart
	next := types.SegmentInfo{
		ID: state.NextSegmentID, BaseIndex: last + 1, MinIndex: last + 1,
		SizeLimit: uint32(segmentBytes), Codec: tail.Codec, CreateTime: tail.CreateTime,
	}
	state.Segments, state.NextSegmentID = append(state.Segments, next), state.NextSegmentID+1
	return d.meta.CommitState(state)
}

// walEnd is the key of the last index at an orderly stop. It is absent while the
// log is open.
var walEnd = []byte("oncelog-end")

// checkEnd makes sure that the log has what it had when it was closed. It may have
// more: an append whose sync failed.
func (l *walLog) checkEnd() error {
	ended, err := l.Get(walEnd)
	if errors.Is(err, errNoKey) {
		return nil
	}
	if err != nil {
		return err
	}
	last, err := l.WAL.LastIndex()
	if err != nil {
		return err
	}
	end, err := decodeUint64(ended)
	if err == nil && last < end {
		err = fmt.Errorf("%w: it ends at entry %d; it ended at %d when the node stopped", oncelog.ErrCorrupt, last, end)
	}
	if err != nil {
		return err
	}
	return l.Set(walEnd, nil)
}

// Close notes where the log ends, and closes it.
func (l *walLog) Close() error {
	last, err := l.WAL.LastIndex()
	if err == nil {
		err = l.SetUint64(walEnd, last)
	}
	return errors.Join(err, l.WAL.Close())
}

// GetLog implements raft.LogStore. What DeleteRange has dropped is not found, though
// raft-wal may still have it.
func (l *walLog) GetLog(index uint64, log *raft.Log) error {
	first, err := l.WAL.FirstIndex()
	if err != nil {
		return err
	}
	if index < first {
		return raft.ErrLogNotFound
	}
	return walError(l.WAL.GetLog(index, log))
}

// Get implements raft.StableStore.
func (l *walLog) Get(key []byte) ([]byte, error) {
	value, err := l.WAL.Get(key)
	if err == nil && value == nil {
		return nil, errNoKey
	}
	return value, err
}

// SetUint64 implements raft.StableStore.
func (l *walLog) SetUint64(key []byte, value uint64) error { return l.Set(key, boltKey(value)) }

// GetUint64 implements raft.StableStore.
func (l *walLog) GetUint64(key []byte) (uint64, error) {
	value, err := l.Get(key)
	if err != nil {
		return 0, err
	}
	return decodeUint64(value)
}

// walError marks what raft-wal finds damaged.
func walError(err error) error {
	if errors.Is(err, wal.ErrCorrupt) {
		return fmt.Errorf("%w: %w", oncelog.ErrCorrupt, err)
	}
	return err
}
