package cluster

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// outsider knows the URLs of three nodes and the contract, and nothing else.
type outsider struct {
	cluster *Cluster
	urls    []string
	http    *http.Client
}

func newOutsider(t *testing.T, c *Cluster) *outsider {
	o := &outsider{cluster: c, urls: c.Targets(), http: &http.Client{Transport: &http.Transport{}, Timeout: time.Minute}}
	t.Cleanup(o.http.CloseIdleConnections)
	return o
}

// do makes one request and returns the status and the body.
func (o *outsider) do(t *testing.T, method, url, body string) (int, []byte) {
	t.Helper()
	status, text, err := o.try(t, method, url, body)
	require.NoError(t, err)
	return status, text
}

// try is do for goroutines other than the test's own.
func (o *outsider) try(t *testing.T, method, url, body string) (int, []byte, error) {
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	answer, err := o.http.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	return answer.StatusCode, text, err
}

// get reads a good answer from node i into out.
func (o *outsider) get(t *testing.T, i int, path string, out any) {
	t.Helper()
	status, text := o.do(t, http.MethodGet, o.urls[i]+path, "")
	require.Equal(t, http.StatusOK, status, "%s", text)
	require.NoError(t, json.Unmarshal(text, out), "%s", text)
}

// publish sends one event to node i, which takes it.
func (o *outsider) publish(t *testing.T, i int, event string) receipt {
	t.Helper()
	status, text := o.do(t, http.MethodPost, o.urls[i]+"/publish", event)
	require.Equal(t, http.StatusOK, status, "%s", text)
	var r receipt
	require.NoError(t, json.Unmarshal(text, &r), "%s", text)
	return r
}

func (o *outsider) events(t *testing.T, i int, topic string) []stored {
	t.Helper()
	var events []stored
	o.get(t, i, "/events?topic="+url.QueryEscape(topic), &events)
	return events
}

func (o *outsider) stats(t *testing.T, i int) statistics {
	t.Helper()
	var s statistics
	o.get(t, i, "/stats", &s)
	return s
}

type receipt struct {
	Status   string `json:"status"`
	Topic    string `json:"topic"`
	EventID  string `json:"event_id"`
	ID       uint64 `json:"id"`
	Conflict bool   `json:"conflict"`
}

type stored struct {
	ID          uint64          `json:"id"`
	Topic       string          `json:"topic"`
	EventID     string          `json:"event_id"`
	Timestamp   string          `json:"timestamp"`
	Source      string          `json:"source"`
	Payload     json.RawMessage `json:"payload"`
	ProcessedAt string          `json:"processed_at"`
}

type statistics struct {
	Received   uint64 `json:"total_received_queued"`
	Unique     uint64 `json:"unique_processed_db"`
	Duplicates uint64 `json:"estimated_duplicate_dropped"`
	Topics     []struct {
		Topic string `json:"topic"`
		Count uint64 `json:"count"`
	} `json:"topics_count"`
	Uptime  float64 `json:"uptime_seconds"`
	Node    string  `json:"node"`
	Leader  string  `json:"leader"`
	Applied uint64  `json:"applied_index"`
	Digest  string  `json:"digest"`
}

// event is a valid one, with a plain payload.
func event(topic, id string) string {
	return eventWith(topic, id, `{"message": "hello", "value": 100}`)
}

func eventWith(topic, id, payload string) string {
	return fmt.Sprintf(`{"topic": %q, "event_id": %q, "timestamp": "2025-12-19T06:36:16.388Z", "source": "outsider", "payload": %s}`,
		topic, id, payload)
}
