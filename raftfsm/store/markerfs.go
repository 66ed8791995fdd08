package store

import (
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// markerFS is the file system that Pebble gets. Pebble makes a new manifest, then
// a marker that names it, and syncs their directory only after both: where a power
// loss may keep the later entry of a directory without the earlier one, it would
// leave a marker that names nothing. So the directory is synced before a marker
// comes into it, which is seldom.
type markerFS struct{ vfs.FS }

// Create implements [vfs.FS].
func (m markerFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if strings.HasPrefix(m.PathBase(name), "marker.") {
		if err := syncDir(m.FS, m.PathDir(name)); err != nil {
			return nil, err
		}
	}
	return m.FS.Create(name, category)
}

// Unwrap implements [vfs.FS].
func (m markerFS) Unwrap() vfs.FS { return m.FS }
