package main

import (
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestProfilesOfARunningNode(t *testing.T) {
	t.Parallel()
	node := begin(t, append(serveArgs(t.TempDir()), "--pprof-addr", "127.0.0.1:0")...)
	url := node.err.find(t, `profiles are at (http://[0-9.:]+/debug/pprof/)`)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"goroutine?debug=1", http.NoBody)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Contains(t, string(text), "goroutine profile: total")
	require.Equal(t, exitGood, node.end())
}
