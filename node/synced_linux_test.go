package node

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// unsynced asks the kernel how many pages of the files under dir are not on the
// disk yet (cachestat, Linux 6.5 and later).
func unsynced(t *testing.T, dir string) (pages uint64, err error) {
	t.Helper()
	const cachestat = 451
	walk := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer func() { require.NoError(t, f.Close()) }()
		var all [2]uint64 // offset and length; 0 is to the end
		var found struct{ cached, dirty, writeback, evicted, recentlyEvicted uint64 }
		_, _, errno := syscall.Syscall6(cachestat, f.Fd(), uintptr(unsafe.Pointer(&all)), uintptr(unsafe.Pointer(&found)), 0, 0, 0)
		if errno != 0 {
			return errno
		}
		pages += found.dirty + found.writeback
		return nil
	})
	return pages, walk
}

// What a log store has taken is on the disk when it answers, by the
// kernel's own account.
func TestWhatTheLogHasTakenIsOnTheDisk(t *testing.T) {
	t.Parallel()
	forLogStores(t, func(t *testing.T, kind logKind) {
		dir := t.TempDir()
		l, failed := openTestLog(t, kind, dir)
		defer func() { require.NoError(t, l.Close()) }()
		for i := range uint64(20) {
			require.NoError(t, l.StoreLogs(entries(1+10*i, 10+10*i)))
			require.NoError(t, l.SetUint64([]byte("CurrentTerm"), i))
			pages, err := unsynced(t, dir)
			if errors.Is(err, syscall.ENOSYS) {
				t.Log("this kernel can not tell: the test needs Linux 6.5")
				return
			}
			require.NoError(t, err)
			require.Zero(t, pages, "after round %d", i)
		}
		require.NoError(t, *failed)
	})
}
