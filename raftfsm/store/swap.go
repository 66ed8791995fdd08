package store

import (
	"errors"
	"fmt"
	"io"

	"github.com/oncelog/oncelog"
)

// Incoming is a snapshot that was received whole, is on disk and was checked. It
// lives until [Store.Swap], Discard or the next [Open] of the store.
type Incoming struct {
	store    *Store
	dir      string
	position Position
}

// Receive reads a stream made by [Checkpoint.Reader] to its end and puts it on
// disk beside the live state. It checks every file against its size and checksum,
// and then the whole database against the digest in it, which takes as long as
// reading it all. What is not a whole and sound snapshot is an
// [oncelog.ErrCorrupt] that names the file at fault, and leaves nothing behind.
func (s *Store) Receive(r io.Reader) (*Incoming, error) {
	i := &Incoming{store: s, dir: s.transientDir(incomingPrefix)}
	if err := i.receive(r); err != nil {
		return nil, errors.Join(fmt.Errorf("receive a snapshot: %w", err), i.Discard())
	}
	return i, nil
}

func (i *Incoming) receive(r io.Reader) error {
	s := i.store
	if err := s.usable(); err != nil {
		return err
	}
	if err := s.fs.MkdirAll(i.dir, 0o755); err != nil {
		return err
	}
	if err := receiveFiles(s.fs, i.dir, r); err != nil {
		return err
	}
	if err := syncDir(s.fs, s.dir); err != nil {
		return err
	}
	db, err := s.openPebble(i.dir, s.readOnly())
	if err != nil {
		return err
	}
	c, err := verify(db)
	i.position = c.ledger.applied
	if err = errors.Join(err, db.Close()); err != nil {
		return fmt.Errorf("%s: %w", i.dir, err)
	}
	return nil
}

// Position returns the position that the snapshot holds.
func (i *Incoming) Position() Position { return i.position }

// Discard removes the snapshot.
func (i *Incoming) Discard() error { return i.store.fs.RemoveAll(i.dir) }

// Swap replaces the whole state by a received snapshot, which it uses up. No Txn
// is open meanwhile. A crash at any step leaves the old state or the new one,
// whole. An error leaves the old state live; if it cannot be told which of the two
// the disk will show, the store has failed.
func (s *Store) Swap(i *Incoming) error {
	s.admin.Lock()
	defer s.admin.Unlock()
	if err := s.usable(); err != nil {
		return err
	}
	old, err := s.borrow()
	if err != nil {
		return err
	}
	s.life.RUnlock()
	next, c, err := s.adopt(i, old.number+1)
	if err != nil {
		return fmt.Errorf("swap in a snapshot: %w", err)
	}
	p := pointer{generation: next.number, durable: i.position}
	if err := writePointer(s.fs, s.dir, p); err != nil {
		s.fail(fmt.Errorf("swap in a snapshot: %w", err))
		return errors.Join(s.failure, next.db.Close())
	}
	s.stopBackground()
	s.replace(next, c)
	s.startBackground()
	s.durable = p.durable
	s.drop(old)
	return nil
}

// adopt makes the snapshot a generation and opens it, beside the live one.
func (s *Store) adopt(i *Incoming, number uint64) (*generation, contents, error) {
	dir := s.generationDir(number)
	if err := s.fs.Rename(i.dir, dir); err != nil {
		return nil, contents{}, err
	}
	if err := syncDir(s.fs, s.dir); err != nil {
		return nil, contents{}, err
	}
	gen, c, err := s.openGeneration(number, i.position)
	if err == nil && c.ledger.applied != i.position {
		err = fmt.Errorf("%w: %s has changed since it was received", oncelog.ErrCorrupt, dir)
		err = errors.Join(err, gen.db.Close())
	}
	if err != nil {
		return nil, contents{}, errors.Join(err, s.fs.RemoveAll(dir))
	}
	return gen, c, nil
}

// replace makes a generation the live one, once no reader is in the old one.
func (s *Store) replace(next *generation, c contents) {
	s.life.Lock()
	defer s.life.Unlock()
	s.view.Lock()
	defer s.view.Unlock()
	s.gen, s.contents = next, c
	s.recent, s.replay = recentKeys{}, replay{}
}

// drop closes and removes the old generation. The new one is live whatever comes
// of it, and the next Open removes what stays.
func (s *Store) drop(old *generation) {
	s.txn.reset()
	if old.refs.Load() > 1 {
		// The store has failed, and work that hangs was left behind with it.
		return
	}
	err := errors.Join(old.db.Close(), s.fs.RemoveAll(old.dir))
	if err != nil {
		s.log.Warn("the state before a snapshot was not removed", "dir", old.dir, "err", err)
	}
}
