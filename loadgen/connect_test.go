package loadgen

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestConnect(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"total_received_queued": 10, "unique_processed_db": 7, "estimated_duplicate_dropped": 3,
			"topics_count": [{"topic": "login", "count": 7}], "uptime_seconds": 1.5, "conflicts": 0,
			"node": "n1", "leader": "n1", "term": 1, "applied_index": 4, "digest": "sha256:00"}`)
	}))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	targets, err := Connect([]string{server.URL, host}, 4)
	require.NoError(t, err)
	defer targets.Close()
	require.Equal(t, []string{host, host}, []string{targets.Nodes[0].Name, targets.Nodes[1].Name})
	stats, err := Baseline(t.Context(), targets.Nodes)
	require.NoError(t, err)
	require.Equal(t, uint64(7), stats.Unique)
	_, err = New(DefaultConfig(), targets.Publisher)
	require.NoError(t, err)

	for _, bad := range [][]string{nil, {"ftp://x"}, {server.URL, "http://a b"}} {
		_, err := Connect(bad, 1)
		require.Error(t, err, "%q", bad)
	}
}
