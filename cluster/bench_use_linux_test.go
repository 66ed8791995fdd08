package cluster

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestParseUse(t *testing.T) {
	t.Parallel()
	const after = " S 1 2 3 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 9 0 12345 1000000 7 18446744073709551615 1 1"
	for _, name := range []string{"oncelog", "a name (with) brackets) S 9 9 9"} {
		u, err := parseUse("4711 (" + name + ")" + after)
		require.NoError(t, err, name)
		require.Equal(t, processUse{cpu: 3 * time.Second, rss: uint64(7 * os.Getpagesize())}, u)
	}
	for _, line := range []string{"", "4711 (x)", "4711 (x) S 1 2 3", "4711 (x) S 1 2 3 0 -1 4194304 100 0 0 0 many 50 0 0 20 0 9 0 12345 1000000 7 1"} {
		_, err := parseUse(line)
		require.ErrorIs(t, err, errStat, line)
	}
}

func TestUseOfThisProcess(t *testing.T) {
	t.Parallel()
	u, err := useOf(os.Getpid())
	require.NoError(t, err)
	require.Greater(t, u.rss, uint64(1<<20))
	_, err = useOf(-1)
	require.ErrorIs(t, err, os.ErrNotExist)
}

func FuzzParseUse(f *testing.F) {
	f.Add("4711 (oncelog) S 1 2 3 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 9 0 12345 1000000 7 1")
	f.Add("1 () )")
	f.Fuzz(func(t *testing.T, line string) {
		if u, err := parseUse(line); err == nil {
			require.GreaterOrEqual(t, u.cpu, time.Duration(0))
		}
	})
}
