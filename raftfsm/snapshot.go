package raftfsm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"

	"github.com/hashicorp/raft"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/raftfsm/store"
)

// Snapshot returns at once; all the work is in Persist.
func (f *FSM) Snapshot() (raft.FSMSnapshot, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.err != nil {
		return nil, f.err
	}
	return &durability{store: f.store, applied: f.store.Applied()}, nil
}

// durability is the node's own snapshot. It copies nothing: it makes sure that
// the store has on disk what Raft is about to drop from its log.
type durability struct {
	store   *store.Store
	applied store.Position
}

// Persist flushes the store. Only then may Raft truncate its log.
func (d *durability) Persist(sink raft.SnapshotSink) error {
	durable, err := d.store.Flush()
	if err != nil {
		return err
	}
	if durable.Index < d.applied.Index {
		return fmt.Errorf("flushed up to log index %d, not %d", durable.Index, d.applied.Index)
	}
	return sink.Close()
}

// Release has nothing to release.
func (d *durability) Release() {}

// errRestored guards against a snapshot that this state machine did not make.
var errRestored = errors.New("the snapshot to restore was not received by this node")

// Restore replaces the state by a snapshot received from the leader.
func (f *FSM) Restore(source io.ReadCloser) error {
	if w, ok := source.(raft.ReadCloserWrapper); ok {
		source = w.WrappedReadCloser()
	}
	received, ok := source.(*receivedSnapshot)
	if !ok {
		return errRestored
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return f.err
	}
	if received.incoming.Position().Index <= f.store.Applied().Index {
		// It came late. Raft sends again what follows it, and that is skipped.
		return received.incoming.Discard()
	}
	if err := f.swap(received.incoming); err != nil {
		f.err = fmt.Errorf("restore a snapshot: %w", err)
		f.fail(f.err)
		return f.err
	}
	f.applied.advance(f.store.Applied().Index)
	return nil
}

func (f *FSM) swap(incoming *store.Incoming) error {
	if err := f.store.Swap(incoming); err != nil {
		return err
	}
	m, err := loadMachine(f.store)
	if err != nil {
		return err
	}
	m.departed = f.departed.with(f.configuration, m.configuration)
	f.machine = *m
	return nil
}

// Snapshots is Raft's view of the store: what the store durably holds is the one
// snapshot there is, so a snapshot can never be newer than the state.
type Snapshots struct {
	store *store.Store

	// mu guards received.
	mu sync.Mutex
	// received is a snapshot from the leader, whole and checked, waiting for
	// Restore. There is at most one.
	received *receivedSnapshot
}

var _ raft.SnapshotStore = (*Snapshots)(nil)

// NewSnapshots serves the snapshots of a store.
func NewSnapshots(s *store.Store) *Snapshots { return &Snapshots{store: s} }

// List reports the store's durable position as the only snapshot.
func (s *Snapshots) List() ([]*raft.SnapshotMeta, error) {
	position, configuration, err := s.store.DurableMeta(metaConfiguration)
	if err != nil || position.Index == 0 {
		return nil, err
	}
	return []*raft.SnapshotMeta{snapshotMeta("durable-"+strconv.FormatUint(position.Index, 10), position, configuration)}, nil
}

// Create begins a snapshot: the node's own, to which nothing is written, or one
// that the leader sends.
func (s *Snapshots) Create(_ raft.SnapshotVersion, index, term uint64, c raft.Configuration, configurationIndex uint64, _ raft.Transport) (raft.SnapshotSink, error) {
	return &sink{snapshots: s, meta: raft.SnapshotMeta{
		Version: raft.SnapshotVersionMax,
		ID:      fmt.Sprintf("received-%d-%d", term, index),
		Index:   index, Term: term,
		Configuration: c, ConfigurationIndex: configurationIndex,
	}}, nil
}

// Open opens a received snapshot for Restore, or makes a checkpoint of the store
// to be sent to a follower. The checkpoint may be newer than what List told; its
// metadata is read from inside it.
func (s *Snapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	s.mu.Lock()
	if r := s.received; r != nil && r.meta.ID == id {
		s.received = nil
		s.mu.Unlock()
		return &r.meta, r, nil
	}
	s.mu.Unlock()
	checkpoint, err := s.store.Checkpoint()
	if err != nil {
		return nil, nil, fmt.Errorf("make a checkpoint for a follower: %w", err)
	}
	configuration, err := checkpoint.Meta(metaConfiguration)
	if err != nil {
		return nil, nil, errors.Join(err, checkpoint.Close())
	}
	meta := snapshotMeta(id, checkpoint.Position(), configuration)
	meta.Size = checkpoint.Size()
	return meta, checkpointReader{checkpoint.Reader(), checkpoint}, nil
}

// keep puts a received snapshot aside for Restore, in place of an older one.
func (s *Snapshots) keep(r *receivedSnapshot) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	if s.received != nil {
		err = s.received.incoming.Discard()
	}
	s.received = r
	return err
}

func snapshotMeta(id string, p store.Position, configuration []byte) *raft.SnapshotMeta {
	c := configurationEntry(configuration).decode()
	return &raft.SnapshotMeta{
		Version: raft.SnapshotVersionMax,
		ID:      id,
		Index:   p.Index, Term: p.Term,
		Configuration: c.Configuration, ConfigurationIndex: c.Index,
	}
}

// checkpointReader streams a checkpoint and removes it when it is closed.
type checkpointReader struct {
	io.ReadCloser
	checkpoint *store.Checkpoint
}

func (r checkpointReader) Close() error {
	return errors.Join(r.ReadCloser.Close(), r.checkpoint.Close())
}

// receivedSnapshot carries a received snapshot through Raft to Restore, which
// takes it as it is: there is nothing to read.
type receivedSnapshot struct {
	meta     raft.SnapshotMeta
	incoming *store.Incoming
}

func (*receivedSnapshot) Read([]byte) (int, error) { return 0, io.EOF }
func (*receivedSnapshot) Close() error             { return nil }

// sink takes a snapshot in. The bytes go through a pipe to the store, which
// checks them as they come.
type sink struct {
	snapshots *Snapshots
	meta      raft.SnapshotMeta
	// pipe and done are nil until the first byte: the node's own snapshot has none.
	pipe *io.PipeWriter
	done chan received
}

type received struct {
	incoming *store.Incoming
	err      error
}

// ID names the snapshot for Open.
func (k *sink) ID() string { return k.meta.ID }

// Write hands bytes of the leader's stream to the store.
func (k *sink) Write(p []byte) (int, error) {
	if k.pipe == nil {
		r, w := io.Pipe()
		k.pipe, k.done = w, make(chan received, 1)
		go func() {
			incoming, err := k.snapshots.store.Receive(r)
			r.CloseWithError(err)
			k.done <- received{incoming, err}
		}()
	}
	return k.pipe.Write(p)
}

// Close ends a snapshot that is whole. A received one is on disk and checked
// when Close returns, and waits for Restore.
func (k *sink) Close() error {
	if k.pipe == nil {
		return nil
	}
	result := k.finish(io.EOF)
	if result.err != nil {
		return result.err
	}
	if p := result.incoming.Position(); p.Index != k.meta.Index || p.Term != k.meta.Term {
		return errors.Join(
			fmt.Errorf("%w: the leader announced a snapshot of log index %d and sent one of %d", oncelog.ErrCorrupt, k.meta.Index, p.Index),
			result.incoming.Discard())
	}
	return k.snapshots.keep(&receivedSnapshot{meta: k.meta, incoming: result.incoming})
}

// Cancel ends a snapshot that is not whole and removes what came of it.
func (k *sink) Cancel() error {
	if k.pipe == nil {
		return nil
	}
	if result := k.finish(context.Canceled); result.incoming != nil {
		return result.incoming.Discard()
	}
	return nil
}

func (k *sink) finish(reason error) received {
	k.pipe.CloseWithError(reason)
	result := <-k.done
	k.pipe = nil
	return result
}
