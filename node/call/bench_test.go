package call

import (
	"context"
	"net"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// BenchmarkCall is a small call and its reply over loopback, both ends: one after
// the other, and 64 at once.
func BenchmarkCall(b *testing.B) {
	for _, bench := range []struct {
		name     string
		parallel int
	}{{"alone", 0}, {"64 at once", 32}} {
		b.Run(bench.name, func(b *testing.B) {
			listener, err := (&net.ListenConfig{}).Listen(b.Context(), "tcp", "127.0.0.1:0")
			require.NoError(b, err)
			s := NewServer(map[Method]Handler{echo: echoing}, unavailable)
			go func() { _ = s.Serve(listener) }()
			c := NewClient(func(ctx context.Context, _ uuid.UUID) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, "tcp", listener.Addr().String())
			})
			body := make([]byte, 24)
			one := func() {
				_, err := c.Call(b.Context(), peer, echo, body)
				require.NoError(b, err)
			}
			b.ReportAllocs()
			if bench.parallel == 0 {
				for b.Loop() {
					one()
				}
			} else {
				b.SetParallelism(bench.parallel)
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						one()
					}
				})
			}
			require.NoError(b, c.Close())
			require.NoError(b, s.Shutdown(b.Context()))
		})
	}
}
