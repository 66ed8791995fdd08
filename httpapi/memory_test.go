package httpapi_test

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/httpapi"
)

// heapInUse is what is reachable now.
func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestLongStreamsTakeLittleMemory sends tens of megabytes each way, and looks at
// the heap on the way. It does not run beside others.
func TestLongStreamsTakeLittleMemory(t *testing.T) {
	log := &nullLog{record: oncelog.Record{Event: benchEvent(0), ProcessedAt: time.Unix(1766126176, 0)}}
	s, err := httpapi.New(httpapi.Config{Log: log, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	server := httptest.NewServer(s.Handler())
	defer server.Close()
	defer http.DefaultClient.CloseIdleConnections()
	const lines, allowed = 200_000, 8 << 20

	read := func(res *http.Response) {
		before, n := heapInUse(), 0
		for scanner := bufio.NewScanner(res.Body); scanner.Scan(); n++ {
			if n%(lines/4) == lines/8 {
				require.Less(t, heapInUse()-before, int64(allowed))
			}
		}
		require.Equal(t, lines, n)
		require.NoError(t, res.Body.Close())
	}
	r, err := http.NewRequestWithContext(t.Context(), "GET", fmt.Sprintf("%s/events?before=%d", server.URL, lines+1), nil)
	require.NoError(t, err)
	r.Header.Set("Accept", "application/x-ndjson")
	res, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	read(res)

	body, in := io.Pipe()
	go func() {
		for range lines {
			_, _ = io.WriteString(in, good+"\n")
		}
		_ = in.Close()
	}()
	r, err = http.NewRequestWithContext(t.Context(), "POST", server.URL+"/publish/batch", body)
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/x-ndjson")
	res, err = http.DefaultClient.Do(r)
	require.NoError(t, err)
	read(res)
}
