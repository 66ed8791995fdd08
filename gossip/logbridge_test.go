package gossip

import (
	"log"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestParseLevel(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]struct {
		level slog.Level
		text  string
	}{
		"[DEBUG] memberlist: a":      {slog.LevelDebug, "a"},
		"[INFO] memberlist: b":       {slog.LevelInfo, "b"},
		"[WARN] memberlist: c [x] y": {slog.LevelWarn, "c [x] y"},
		"[ERR] Failed to do":         {slog.LevelWarn, "Failed to do"},
		"[ERROR] memberlist: e":      {slog.LevelWarn, "e"},
		"Err: Could not set":         {slog.LevelWarn, "Err: Could not set"},
		"[broken":                    {slog.LevelWarn, "broken"},
		"":                           {slog.LevelWarn, ""},
		"[WARN] memberlist: x: " + errRefused.Error() + ": why": {slog.LevelDebug, "x: " + errRefused.Error() + ": why"},
	} {
		level, text := parseLevel(line)
		require.Equal(t, want.level, level, line)
		require.Equal(t, want.text, text, line)
	}
}

func TestLogBridgeDropsRepeats(t *testing.T) {
	t.Parallel()
	var out logBuffer
	now := time.Unix(0, 0)
	b := &logBridge{log: out.logger(), now: func() time.Time { return now }, seen: make(map[string]time.Time)}
	logger := log.New(b, "", 0)
	logger.Print("[ERR] memberlist: broken from=127.0.0.1:1")
	require.Contains(t, out.String(), "level=WARN msg=broken from=127.0.0.1:1")
	once := out.String()
	logger.Print("[ERR] memberlist: broken from=127.0.0.1:2")
	logger.Print("[DEBUG] memberlist: detail")
	require.Equal(t, once, out.String())
	now = now.Add(quiet)
	logger.Print("[ERR] memberlist: broken from=127.0.0.1:3")
	require.NotEqual(t, once, out.String())
}
