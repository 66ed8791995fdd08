package node

import (
	"fmt"
	"log/slog"
	"testing"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"
)

// BenchmarkLogStore appends entries one at a time, each on the disk before the
// next, and truncates the log by bytes as a node does.
func BenchmarkLogStore(b *testing.B) {
	for _, size := range []int{1 << 10, 64 << 10, 512 << 10} {
		for _, kind := range logKinds() {
			b.Run(fmt.Sprintf("entry=%dKiB/%s", size>>10, kind.name), func(b *testing.B) {
				l, err := openLog(kind, b.TempDir(), slog.New(slog.DiscardHandler), func(err error) { b.Error(err) }, func(uint64, int) {})
				require.NoError(b, err)
				defer func() { require.NoError(b, l.Close()) }()
				data := bytesOf('x', size)
				every, stay := uint64(defaultSnapshotBytes/size), uint64(defaultTrailingBytes/size)
				index := uint64(0)
				b.SetBytes(int64(size))
				for b.Loop() {
					index++
					require.NoError(b, l.StoreLog(&raft.Log{Index: index, Term: 1, Type: raft.LogCommand, Data: data}))
					if index%every == 0 {
						require.NoError(b, l.DeleteRange(1, index-stay))
					}
				}
				b.ReportMetric(float64(index)/b.Elapsed().Seconds(), "entries/s")
			})
		}
	}
}
