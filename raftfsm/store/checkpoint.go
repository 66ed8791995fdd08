package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Checkpoint is a copy of the store as of one position, made of hard links, to be
// streamed to a follower. It does not change, and lives until Close or the next
// [Open] of the store.
type Checkpoint struct {
	fs       vfs.FS
	dir      string
	db       *pebble.DB
	position Position
	header   []byte
	files    []streamedFile
	size     int64
}

// Checkpoint flushes the store and makes a checkpoint of it. Its cost does not
// depend on how many events there are.
func (s *Store) Checkpoint() (*Checkpoint, error) {
	c, err := s.checkpoint()
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	return c, nil
}

func (s *Store) checkpoint() (_ *Checkpoint, err error) {
	c := &Checkpoint{fs: s.fs, dir: s.transientDir(checkpointPrefix)}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	if err := s.link(c.dir); err != nil {
		return nil, err
	}
	if err := c.list(); err != nil {
		return nil, err
	}
	if c.db, err = s.openPebble(c.dir, s.readOnly()); err != nil {
		return nil, err
	}
	c.position, err = iterate(c.db, &pebble.IterOptions{}, func(it *pebble.Iterator) (Position, error) {
		l, err := readLedger(it)
		return l.applied, err
	})
	return c, err
}

// link makes the directory of a checkpoint.
func (s *Store) link(dir string) error {
	s.admin.Lock()
	defer s.admin.Unlock()
	if _, err := s.flush(); err != nil {
		return err
	}
	gen, err := s.borrow()
	if err != nil {
		return err
	}
	defer s.life.RUnlock()
	_, err = awaitIn(s, gen, func() (struct{}, error) { return struct{}{}, gen.db.Checkpoint(dir) })
	return err
}

// list notes the files before the database is opened, which adds its lock.
func (c *Checkpoint) list() error {
	names, err := c.fs.List(c.dir)
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		info, err := c.fs.Stat(c.fs.PathJoin(c.dir, name))
		if err != nil {
			return err
		}
		c.files = append(c.files, streamedFile{name: name, size: info.Size()})
	}
	c.header, c.size = encodeHeader(c.files)
	return nil
}

// Position returns the position that the checkpoint holds, read from inside it.
func (c *Checkpoint) Position() Position { return c.position }

// Meta returns the state machine's metadata in the checkpoint, nil where there is
// none.
func (c *Checkpoint) Meta(name string) ([]byte, error) { return readMeta(c.db, name) }

// Size returns the exact length of the stream in bytes.
func (c *Checkpoint) Size() int64 { return c.size }

// Reader returns the checkpoint as a stream for [Store.Receive]. Each call starts
// anew. The reader is to be closed before the checkpoint.
func (c *Checkpoint) Reader() io.ReadCloser {
	r := &streamReader{}
	parts := []io.Reader{bytes.NewReader(c.header)}
	for _, f := range c.files {
		part := &fileReader{fs: c.fs, path: c.fs.PathJoin(c.dir, f.name), streamedFile: f}
		parts = append(parts, part)
		r.files = append(r.files, part)
	}
	r.Reader = io.MultiReader(parts...)
	return r
}

// Close removes the checkpoint.
func (c *Checkpoint) Close() error {
	var err error
	if c.db != nil {
		err = c.db.Close()
		c.db = nil
	}
	return errors.Join(err, c.fs.RemoveAll(c.dir))
}

// streamReader reads a whole stream.
type streamReader struct {
	io.Reader
	files []*fileReader
}

// Close closes the file that was being read.
func (r *streamReader) Close() error {
	var err error
	for _, f := range r.files {
		err = errors.Join(err, f.Close())
	}
	return err
}
