package cluster

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestParseCPU(t *testing.T) {
	t.Parallel()
	const after = " S 1 2 3 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 9 0 12345 1000000 7 18446744073709551615 1 1"
	for _, name := range []string{"oncelog", "a name (with) brackets) S 9 9 9"} {
		cpu, err := parseCPU("4711 (" + name + ")" + after)
		require.NoError(t, err, name)
		require.Equal(t, 3*time.Second, cpu)
	}
	for _, line := range []string{"", "4711 (x)", "4711 (x) S 1 2 3", "4711 (x) S 1 2 3 0 -1 4194304 100 0 0 0 many 50 0 0 20 0 9 0 12345 1000000 7 1"} {
		_, err := parseCPU(line)
		require.ErrorIs(t, err, errProc, line)
	}
}

func TestParseMemory(t *testing.T) {
	t.Parallel()
	page := uint64(os.Getpagesize())
	rss, anon, err := parseMemory("100 70 20 5 0 60 0\n")
	require.NoError(t, err)
	require.Equal(t, 70*page, rss)
	require.Equal(t, 50*page, anon)
	for _, line := range []string{"", "100 70", "100 70 -20"} {
		_, _, err := parseMemory(line)
		require.ErrorIs(t, err, errProc, line)
	}
}

func TestUseOfThisProcess(t *testing.T) {
	t.Parallel()
	u, err := useOf(os.Getpid())
	require.NoError(t, err)
	require.Greater(t, u.anon, uint64(1<<20))
	require.Greater(t, u.rss, u.anon)
	_, err = useOf(-1)
	require.ErrorIs(t, err, os.ErrNotExist)
}

func FuzzParseProc(f *testing.F) {
	f.Add("4711 (oncelog) S 1 2 3 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 9 0 12345 1000000 7 1")
	f.Add("100 70 20 5 0 60 0")
	f.Add("1 () )")
	f.Fuzz(func(t *testing.T, line string) {
		if cpu, err := parseCPU(line); err == nil {
			require.GreaterOrEqual(t, cpu, time.Duration(0))
		}
		if rss, anon, err := parseMemory(line); err == nil {
			require.LessOrEqual(t, anon, rss)
		}
	})
}
