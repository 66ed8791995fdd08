package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/google/uuid"
)

// The errors of a data directory that this node must not use.
var (
	// ErrDirectoryInUse: another process holds the directory.
	ErrDirectoryInUse = errors.New("the data directory is in use by another process")
	// ErrForeignDirectory: the directory is not this node's: of another node, of
	// another cluster, or of something else.
	ErrForeignDirectory = errors.New("the data directory is not this node's")
)

const (
	identityFile    = "node.json"
	lockFile        = "lock"
	identityVersion = 1
)

// identity is who the node is, kept in its data directory. It holds the
// directory's lock as long as it is open.
type identity struct {
	path string
	lock *os.File

	// mu guards state and the file.
	mu    sync.Mutex
	state identityState
}

// identityState is the content of the identity file.
//
// Invariant: ClusterID, once set, never changes.
type identityState struct {
	Version int       `json:"version"`
	NodeID  uuid.UUID `json:"node_id"`
	Name    string    `json:"name"`
	// ClusterID is uuid.Nil until the node has pledged itself to a cluster.
	ClusterID uuid.UUID `json:"cluster_id"`
	// Run counts the starts of this node; it numbers its sessions.
	Run uint64 `json:"run"`
	// Founding is set on the node that founds a cluster, from its decision until
	// the Raft configuration is on its disk.
	Founding []founder `json:"founding,omitempty"`
	// MemberAt is an applied index at which the node was a member, 0 before there was
	// one.
	MemberAt uint64 `json:"member_at,omitempty"`
	// Left is set for good when the node has left its cluster.
	Left bool `json:"left,omitempty"`
}

// session numbers this run. Later runs have greater numbers; the low half is drawn
// by lot, so that a copy of the directory never shares a session with the
// original: one of the two is refused.
func (s identityState) session() uint64 { return s.Run<<32 | uint64(rand.Uint32()) }

// belongs tells whether the node has pledged itself to a cluster.
func (s identityState) belongs() bool { return s.ClusterID != uuid.Nil }

// founder is one of the nodes that found a cluster.
type founder struct {
	ID   uuid.UUID `json:"id"`
	Name string    `json:"name"`
	Addr string    `json:"raft_addr"`
}

// openIdentity locks the directory, makes an identity in an empty one, and
// counts this run.
func openIdentity(dir, name string) (*identity, error) {
	if err := makeDir(dir); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	empty, err := isEmpty(dir)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	path := filepath.Join(dir, identityFile)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) && !empty {
		return nil, fmt.Errorf("%w: %s is not empty and has no %s; choose an empty directory", ErrForeignDirectory, dir, identityFile)
	}
	lock, err := lockDirectory(filepath.Join(dir, lockFile))
	if err != nil {
		return nil, err
	}
	id := &identity{path: path, lock: lock}
	if err := id.load(name); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return id, nil
}

// isEmpty also takes a directory for empty that has our lock and nothing else:
// an earlier start may have died between the two files.
func isEmpty(dir string) (bool, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false, err
	}
	for _, e := range entries {
		if e.Name() != lockFile && e.Name() != identityFile+".new" {
			return false, nil
		}
	}
	return true, nil
}

func lockDirectory(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("%w: %s", ErrDirectoryInUse, filepath.Dir(path))
	}
	return f, nil
}

func (id *identity) load(name string) error {
	state, err := readIdentity(id.path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return id.update(func(s *identityState) error {
			*s = identityState{Version: identityVersion, NodeID: uuid.New(), Name: name, Run: 1}
			return nil
		})
	case err != nil:
		return err
	case state.Name != name:
		return fmt.Errorf("%w: %s belongs to node %q, not %q; start with that name, or in another directory", ErrForeignDirectory, filepath.Dir(id.path), state.Name, name)
	}
	if err := refuseLeft(filepath.Dir(id.path), state); err != nil {
		return err
	}
	id.state = state
	return id.update(func(s *identityState) error {
		s.Run++
		return nil
	})
}

// readIdentity reads an identity file. It is the first that is read of a data
// directory, so its version stands for the directory as a whole.
func readIdentity(path string) (s identityState, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return s, fmt.Errorf("identity: %w", err)
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return s, fmt.Errorf("%w: %s: %w", ErrForeignDirectory, path, err)
	}
	switch {
	case s.Version != identityVersion:
		return s, fmt.Errorf("%w: %s has version %d; this program knows version %d; start the program that wrote it", ErrForeignDirectory, path, s.Version, identityVersion)
	case s.NodeID == uuid.Nil:
		return s, fmt.Errorf("%w: %s has no node id", ErrForeignDirectory, path)
	}
	return s, nil
}

// update changes the identity, unless change returns an error; it is on disk when
// update returns.
func (id *identity) update(change func(*identityState) error) error {
	id.mu.Lock()
	defer id.mu.Unlock()
	next := id.state
	if err := change(&next); err != nil {
		return err
	}
	data, err := json.MarshalIndent(next, "", "  ")
	if err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	if err := writeFileSync(id.path, append(data, '\n')); err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	id.state = next
	return nil
}

// get returns the identity as of now.
func (id *identity) get() identityState {
	id.mu.Lock()
	defer id.mu.Unlock()
	return id.state
}

// belongTo binds the node to a cluster for good.
func (id *identity) belongTo(cluster uuid.UUID) error {
	if id.get().ClusterID == cluster {
		return nil
	}
	return id.update(func(s *identityState) error { return s.join(cluster) })
}

// join sets the cluster of a node that has none.
func (s *identityState) join(cluster uuid.UUID) error {
	if s.ClusterID != uuid.Nil && s.ClusterID != cluster {
		return fmt.Errorf("%w: it belongs to cluster %s, not %s", ErrForeignDirectory, s.ClusterID, cluster)
	}
	s.ClusterID = cluster
	return nil
}

// heldInterval is how often a node looks whether its data directory is there.
const heldInterval = time.Second

// held tells whether the directory is still where it was. One that was removed, moved
// or unmounted keeps its open files: they take writes and syncs, and no later start
// finds what is in them.
func (id *identity) held() error {
	_, err := os.Stat(id.lock.Name())
	if !errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return fmt.Errorf("%w: it was removed, moved or unmounted while the node ran: %w", ErrForeignDirectory, err)
}

// watch calls lost once when the directory is no longer held, unless ctx ends first.
func (id *identity) watch(ctx context.Context, lost func(error)) {
	tick := time.NewTicker(heldInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if err := id.held(); err != nil {
			lost(err)
			return
		}
	}
}

// Close gives the directory free.
func (id *identity) Close() error { return id.lock.Close() }

// writeFileSync replaces a file so that a crash leaves the old or the new one.
func writeFileSync(path string, data []byte) (err error) {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// makeDir makes a directory and those above it; the ones that it made are on disk
// when it returns.
func makeDir(dir string) error {
	var above []string
	for at := dir; isAbsent(at); at = filepath.Dir(at) {
		above = append(above, filepath.Dir(at))
	}
	err := os.MkdirAll(dir, 0o750)
	for _, parent := range above {
		if err == nil {
			err = syncDir(parent)
		}
	}
	return err
}

func isAbsent(path string) bool {
	_, err := os.Stat(path)
	return errors.Is(err, os.ErrNotExist)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
