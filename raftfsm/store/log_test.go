package store

import (
	"bytes"
	"log/slog"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/go-json-experiment/json"
	"github.com/stretchr/testify/require"
)

// TestLogLinesAreObjects without a name twice, which not every reader of them takes.
func TestLogLinesAreObjects(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	fs := vfs.NewMem()
	for range 2 {
		s, err := Open("data", Options{FS: fs, Logger: logger})
		require.NoError(t, err)
		pebbleLogger{s}.Errorf("something %d", 1)
		require.NoError(t, s.Close())
	}
	said := 0
	for line := range bytes.Lines(out.Bytes()) {
		var object map[string]any
		require.NoError(t, json.Unmarshal(line, &object), "%s", line)
		if object["says"] != nil {
			said++
		}
	}
	require.Positive(t, said)
}
