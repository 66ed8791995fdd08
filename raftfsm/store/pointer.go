package store

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/oncelog/oncelog"
)

// The names in a store's directory.
const (
	lockName         = "LOCK"
	pointerName      = "CURRENT"
	pointerTemp      = "CURRENT.tmp"
	generationPrefix = "gen-"
	checkpointPrefix = "checkpoint-"
	incomingPrefix   = "incoming-"
)

// castagnoli is the table of CRC32C, which all checksums of this package are.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func generationName(number uint64) string { return fmt.Sprintf("%s%06d", generationPrefix, number) }

// pointer is the content of CURRENT. Its text form is
//
//	gen-000002
//	durable 1042 3
//	crc32c 9a3b5c7d
//
// The durable position (index, term) is the newest one that the store has called
// durable, so that the log below it may be gone. Pebble takes a damaged manifest
// for one that ends early and would silently go back to an older state; a store
// that holds less than its pointer says is refused.
type pointer struct {
	generation uint64
	durable    Position
}

func (p pointer) encode() string {
	text := fmt.Sprintf("%s\ndurable %d %d\n", generationName(p.generation), p.durable.Index, p.durable.Term)
	return text + fmt.Sprintf("crc32c %08x\n", crc32.Checksum([]byte(text), castagnoli))
}

// decodePointer takes what encode makes and nothing else.
func decodePointer(text string) (pointer, error) {
	var p pointer
	_, err := fmt.Sscanf(text, generationPrefix+"%d\ndurable %d %d\n", &p.generation, &p.durable.Index, &p.durable.Term)
	if err != nil || p.encode() != text {
		return pointer{}, fmt.Errorf("%w: %.80q", oncelog.ErrCorrupt, text)
	}
	return p, nil
}

// readPointer returns found == false where there is none.
func readPointer(vs vfs.FS, dir string) (p pointer, found bool, err error) {
	path := vs.PathJoin(dir, pointerName)
	f, err := vs.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return pointer{}, false, nil
	}
	if err != nil {
		return pointer{}, false, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	text, err := io.ReadAll(io.LimitReader(f, 1<<10))
	if err != nil {
		return pointer{}, false, err
	}
	if p, err = decodePointer(string(text)); err != nil {
		return pointer{}, false, fmt.Errorf("%s: %w", path, err)
	}
	return p, true, nil
}

// writePointer replaces CURRENT: after a crash it is the old one or the new one.
func writePointer(vs vfs.FS, dir string, p pointer) error {
	temp := vs.PathJoin(dir, pointerTemp)
	if err := writeFile(vs, temp, strings.NewReader(p.encode())); err != nil {
		return err
	}
	if err := vs.Rename(temp, vs.PathJoin(dir, pointerName)); err != nil {
		return err
	}
	return syncDir(vs, dir)
}

// writeFile creates a file from r and syncs it. The directory is not synced.
func writeFile(vs vfs.FS, path string, r io.Reader) (err error) {
	f, err := vs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := io.Copy(f, r); err != nil {
		return err
	}
	return f.Sync()
}

// syncDir makes the entries of a directory durable.
func syncDir(vs vfs.FS, dir string) error {
	d, err := vs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
