package main

import (
	"math"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestMemoryFlags(t *testing.T) {
	o, err := settings(t, "cache-mib = 512\n", "--filter-mib", "64", "--memtable-mib", "32")
	require.NoError(t, err)
	require.EqualValues(t, 512<<20, o.node.CacheBytes)
	require.EqualValues(t, 64<<20, o.node.FilterBytes)
	require.EqualValues(t, 32<<20, o.node.MemTableBytes)
	require.EqualValues(t, 200+496+48+3*16, o.memory.heap(), "what is asked for comes on top of the default")

	for flag, value := range map[string]string{"--cache-mib": "0", "--filter-mib": "65537", "--memtable-mib": "1025"} {
		_, err := settings(t, "", flag, value)
		require.ErrorContains(t, err, flag+" "+value+": must be 1 to ")
	}
}

func TestTheHeapIsLimitedUnlessTheEnvironmentSays(t *testing.T) {
	before, percent := debug.SetMemoryLimit(-1), debug.SetGCPercent(100)
	t.Cleanup(func() { debug.SetMemoryLimit(before); debug.SetGCPercent(percent) })
	o := defaultMemory

	debug.SetMemoryLimit(math.MaxInt64)
	t.Setenv("GOMEMLIMIT", "1GiB")
	o.limitHeap()()
	require.EqualValues(t, math.MaxInt64, debug.SetMemoryLimit(-1))

	t.Setenv("GOMEMLIMIT", "")
	o.limitHeap()()
	require.EqualValues(t, 200<<20, debug.SetMemoryLimit(-1))
}

func TestGarbageIsCollectedAsTheEnvironmentSays(t *testing.T) {
	percent := debug.SetGCPercent(100)
	t.Cleanup(func() { debug.SetGCPercent(percent) })

	t.Setenv("GOGC", "50")
	collectAt(loadGCPercent)
	require.Equal(t, 100, debug.SetGCPercent(100))

	t.Setenv("GOGC", "")
	collectAt(loadGCPercent)
	require.Equal(t, loadGCPercent, debug.SetGCPercent(100))
}

func TestTheLimitLeavesRoomAboveWhatLives(t *testing.T) {
	for live, limit := range map[int64]int64{0: 200, 100: 200, 134: 200, 135: 208, 190: 272, 1000: 1288} {
		require.Equal(t, limit*mebibyte, heapLimit(200*mebibyte, live*mebibyte), "%d MiB live", live)
	}
}

func TestTheLimitFollowsWhatLives(t *testing.T) {
	before, percent := debug.SetMemoryLimit(-1), debug.SetGCPercent(100)
	t.Cleanup(func() { debug.SetMemoryLimit(before); debug.SetGCPercent(percent) })
	t.Setenv("GOMEMLIMIT", "")
	o := defaultMemory
	defer o.limitHeap()()

	held := make([]byte, 200*mebibyte)
	runtime.GC()
	require.Eventually(t, func() bool { return debug.SetMemoryLimit(-1) >= 282*mebibyte }, time.Minute, time.Millisecond)
	runtime.KeepAlive(held)
	runtime.GC()
	require.Eventually(t, func() bool { return debug.SetMemoryLimit(-1) == 200*mebibyte }, time.Minute, time.Millisecond)
}
