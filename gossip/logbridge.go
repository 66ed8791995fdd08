package gossip

import (
	"context"
	"log"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// Within quiet, a line that has been logged is not logged again; remembered
// bounds the lines kept in mind for that.
const (
	quiet      = time.Minute
	remembered = 128
)

// logBridge turns memberlist's lines into slog records. memberlist says the
// same again with each packet, so what repeats is dropped for a while.
type logBridge struct {
	log *slog.Logger
	now func() time.Time

	// mu guards seen.
	mu sync.Mutex
	// seen is when each line was last logged.
	seen map[string]time.Time
}

// newLogBridge returns a logger for memberlist to write to.
func newLogBridge(logger *slog.Logger) *log.Logger {
	return log.New(&logBridge{log: logger, now: time.Now, seen: make(map[string]time.Time)}, "", 0)
}

// Write takes one line, such as "[WARN] memberlist: text from=127.0.0.1:7946".
func (b *logBridge) Write(line []byte) (int, error) {
	level, text := parseLevel(strings.TrimSpace(string(line)))
	ctx := context.Background()
	if !b.log.Enabled(ctx, level) {
		return len(line), nil
	}
	text, from, _ := strings.Cut(text, " from=")
	if level > slog.LevelDebug && b.repeated(text) {
		return len(line), nil
	}
	record := slog.NewRecord(b.now(), level, text, 0)
	if from != "" {
		record.AddAttrs(slog.String("from", from))
	}
	return len(line), b.log.Handler().Handle(ctx, record)
}

// parseLevel splits a line of memberlist's into its level and its text. What
// memberlist calls an error is a peer's silence or nonsense: this node itself
// is well, so it is a warning. Refusals are ours and have been logged by us.
func parseLevel(line string) (slog.Level, string) {
	level := slog.LevelWarn
	if rest, ok := strings.CutPrefix(line, "["); ok {
		var name string
		if name, line, ok = strings.Cut(rest, "] "); !ok {
			return level, rest
		}
		switch name {
		case "DEBUG":
			level = slog.LevelDebug
		case "INFO":
			level = slog.LevelInfo
		}
	}
	if strings.Contains(line, ": "+errRefused.Error()+": ") {
		level = slog.LevelDebug
	}
	return level, strings.TrimPrefix(line, "memberlist: ")
}

// repeated reports whether text was logged within the last quiet.
func (b *logBridge) repeated(text string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	if last, ok := b.seen[text]; ok && now.Sub(last) < quiet {
		return true
	}
	if len(b.seen) >= remembered {
		clear(b.seen)
	}
	b.seen[text] = now
	return false
}
