package loadgen

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
)

func TestScan(t *testing.T) {
	t.Parallel()
	log := topicLog(t, "order", "login")
	events, err := Scan(t.Context(), log, oncelog.Linearizable)
	require.NoError(t, err)
	require.Equal(t, uint64(6), events)

	gap := &crookedNode{fakeLog: log, bendEvents: func(rs []oncelog.Record) []oncelog.Record { return append(rs[:2], rs[3:]...) }}
	_, err = Scan(t.Context(), gap, oncelog.Linearizable)
	require.ErrorContains(t, err, "event 4 follows event 2")
	_, err = Scan(t.Context(), &crookedNode{fakeLog: log, failEvents: errors.New("cut")}, oncelog.Linearizable)
	require.ErrorContains(t, err, "after event 6: cut")
}

// server answers every request in one way, until the end of the test.
func server(t *testing.T, answer http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(answer)
	t.Cleanup(s.Close)
	return s.URL
}

func TestScanRaw(t *testing.T) {
	t.Parallel()
	const lines = 10_000
	url := server(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept") != "application/x-ndjson" || r.Header.Get("Accept-Encoding") != "" || r.URL.RequestURI() != "/events?consistency=stale" {
			w.WriteHeader(http.StatusNotAcceptable)
			return
		}
		for i := range lines {
			_, _ = fmt.Fprintf(w, "{\"id\":%d}\n", i+1)
		}
	})
	events, err := ScanRaw(t.Context(), url, oncelog.Stale)
	require.NoError(t, err)
	require.Equal(t, uint64(lines), events)
}

func TestScanRawFindsFaults(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		says   string
	}{
		"an error":    {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }, "503 Service Unavailable"},
		"half a line": {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}\n{") }, "half a line at the end"},
		"cut off": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "{}\n{}\n")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, "after line 2: unexpected EOF"},
	} {
		_, err := ScanRaw(t.Context(), server(t, test.answer), oncelog.Linearizable)
		require.ErrorContains(t, err, test.says, name)
	}
	_, err := ScanRaw(t.Context(), "http://127.0.0.1:1", oncelog.Linearizable)
	require.Error(t, err)
	_, err = ScanRaw(t.Context(), ":", oncelog.Linearizable)
	require.Error(t, err)
}

func TestCountLinesInPiecesOfAnySize(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("a line\n", 100)
	for _, r := range []io.Reader{strings.NewReader(text), iotest.OneByteReader(strings.NewReader(text)), iotest.DataErrReader(strings.NewReader(text))} {
		lines, err := countLines(r)
		require.NoError(t, err)
		require.Equal(t, uint64(100), lines)
	}
	lines, err := countLines(strings.NewReader(""))
	require.NoError(t, err)
	require.Zero(t, lines)
}
