package loadgen

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/oncelog/oncelog"
)

// Scan reads a whole log, each event parsed, and answers how many events there
// are. Their ids must be 1, 2, 3 and so on.
func Scan(ctx context.Context, r Reader, c oncelog.Consistency) (events uint64, err error) {
	for record, err := range r.Events(ctx, oncelog.Query{}, c) {
		if err != nil {
			return events, fmt.Errorf("after event %d: %w", events, err)
		}
		if record.ID != events+1 {
			return events, fmt.Errorf("%w: event %d follows event %d", errAnswer, record.ID, events)
		}
		events++
	}
	return events, nil
}

// ScanRaw reads a whole log from the node at a base URL as lines that it only
// counts: what the node can send, without what it costs to make sense of it.
func ScanRaw(ctx context.Context, target string, c oncelog.Consistency) (events uint64, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target+"/events?consistency="+c.String(), http.NoBody)
	if err != nil {
		return 0, err
	}
	request.Header.Set("Accept", "application/x-ndjson")
	transport := &http.Transport{DisableCompression: true}
	defer transport.CloseIdleConnections()
	answer, err := transport.RoundTrip(request)
	if err != nil {
		return 0, err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%w: %s", errAnswer, answer.Status)
	}
	return countLines(answer.Body)
}

// countLines counts the lines of a text, which must end with one.
func countLines(text io.Reader) (lines uint64, err error) {
	piece := make([]byte, 256<<10)
	ended := true
	for {
		n, err := text.Read(piece)
		if n > 0 {
			lines += uint64(bytes.Count(piece[:n], []byte{'\n'}))
			ended = piece[n-1] == '\n'
		}
		switch {
		case errors.Is(err, io.EOF) && !ended:
			return lines, fmt.Errorf("%w: half a line at the end", errAnswer)
		case errors.Is(err, io.EOF):
			return lines, nil
		case err != nil:
			return lines, fmt.Errorf("after line %d: %w", lines, err)
		}
	}
}
