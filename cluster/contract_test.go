package cluster

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The checks of the system that this one replaces, as an outside client would
// make them: plain HTTP and JSON, against one set of three real processes. Each
// uses a topic of its own.
func TestContract(t *testing.T) {
	o := newOutsider(t, processes(t))
	for _, check := range []struct {
		name string
		run  func(*testing.T, *outsider)
	}{
		{"Health", checkHealth},
		{"PublishValidEvent", checkPublish},
		{"Deduplication", checkDeduplication},
		{"StatsConsistency", checkStats},
		{"InvalidSchema", checkInvalidSchema},
		{"PersistenceAcrossRestart", checkPersistence},
		{"EventsFilterByTopic", checkTopicFilter},
		{"ParallelPublishesOfOneEvent", checkParallel},
		{"BatchPublish", checkBatch},
		{"StoreAnswers", checkStoreAnswers},
		{"TimestampParsing", checkTimestamps},
		{"PayloadIntegrity", checkPayloads},
	} {
		t.Run(check.name, func(t *testing.T) { check.run(t, o) })
	}
	require.NoError(t, o.cluster.Check(t.Context()))
}

func checkHealth(t *testing.T, o *outsider) {
	for i, u := range o.urls {
		for _, path := range []string{"/livez", "/readyz"} {
			status, text := o.do(t, http.MethodGet, u+path, "")
			require.Equal(t, http.StatusOK, status, "%s: %s", path, text)
		}
		var view struct {
			Leader string `json:"leader"`
			Nodes  []struct {
				Name   string `json:"name"`
				Role   string `json:"role"`
				Status string `json:"status"`
			} `json:"nodes"`
		}
		o.get(t, i, "/cluster", &view)
		require.NotEmpty(t, view.Leader)
		require.Len(t, view.Nodes, 3)
		for j, n := range view.Nodes {
			require.Equal(t, nodeName(j), n.Name)
			require.Equal(t, "alive", n.Status)
			require.Equal(t, n.Name == view.Leader, n.Role == "leader")
		}
	}
}

func checkPublish(t *testing.T, o *outsider) {
	for i := range o.urls {
		id := fmt.Sprint("event-", i)
		r := o.publish(t, i, event("valid", id))
		require.Equal(t, receipt{Status: "stored", Topic: "valid", EventID: id, ID: r.ID}, r)
		require.Positive(t, r.ID)
	}
	for i := range o.urls {
		require.Len(t, o.events(t, i, "valid"), 3, "a node's own default reads hold what any node has acknowledged")
	}
}

func checkDeduplication(t *testing.T, o *outsider) {
	first := o.publish(t, 0, event("dedup", "once"))
	require.Equal(t, "stored", first.Status)
	for _, i := range []int{0, 1} {
		again := o.publish(t, i, event("dedup", "once"))
		require.Equal(t, receipt{Status: "duplicate", Topic: "dedup", EventID: "once", ID: first.ID}, again)
	}
	other := o.publish(t, 2, eventWith("dedup", "once", `{"message": "another"}`))
	require.Equal(t, receipt{Status: "duplicate", Topic: "dedup", EventID: "once", ID: first.ID, Conflict: true}, other)
	for i := range o.urls {
		events := o.events(t, i, "dedup")
		require.Len(t, events, 1)
		require.JSONEq(t, `{"message": "hello", "value": 100}`, string(events[0].Payload), "the first payload stays")
	}
	require.Equal(t, "stored", o.publish(t, 0, event("dedup-2", "once")).Status, "another topic is another key")
}

func checkStats(t *testing.T, o *outsider) {
	before := o.stats(t, 0)
	for i := range 12 {
		o.publish(t, i%3, event("stats", fmt.Sprint("event-", i%5)))
	}
	for i := range o.urls {
		s := o.stats(t, i)
		require.Equal(t, before.Received+12, s.Received)
		require.Equal(t, before.Unique+5, s.Unique)
		require.Equal(t, before.Duplicates+7, s.Duplicates)
		require.Equal(t, s.Received, s.Unique+s.Duplicates)
		require.Equal(t, nodeName(i), s.Node)
		require.NotEmpty(t, s.Leader)
		require.Positive(t, s.Uptime)
		require.Regexp(t, "^sha256:[0-9a-f]{64}$", s.Digest)
		var sum uint64
		for _, topic := range s.Topics {
			sum += topic.Count
			if topic.Topic == "stats" {
				require.Equal(t, uint64(5), topic.Count)
			}
		}
		require.Equal(t, s.Unique, sum)
	}
}

func checkInvalidSchema(t *testing.T, o *outsider) {
	before := o.stats(t, 0)
	good := map[string]string{
		"topic": `"invalid"`, "event_id": `"x"`, "timestamp": `"2025-12-19T06:36:16Z"`, "source": `"outsider"`, "payload": `{}`,
	}
	bad := map[string][]string{
		"topic":     {"", `""`, "1", "null", `["a"]`},
		"event_id":  {"", `""`, "17", "true", `{"a":1}`},
		"timestamp": {"", `""`, "1766126176", `"yesterday"`, `"2025-02-30T00:00:00Z"`},
		"source":    {"", `""`, "0", "null", "[]"},
		"payload":   {"", `"text"`, "1", "null", "[1]"},
	}
	for field, values := range bad {
		for _, value := range values {
			name := field + " " + value
			if value == "" {
				name = field + " missing"
			}
			t.Run(name, func(t *testing.T) {
				status, text := o.do(t, http.MethodPost, o.urls[len(name)%3]+"/publish", object(good, field, value))
				require.Equal(t, http.StatusUnprocessableEntity, status, "%s", text)
				var problem struct {
					Status int `json:"status"`
					Errors []struct {
						Pointer string `json:"pointer"`
						Detail  string `json:"detail"`
					} `json:"errors"`
				}
				require.NoError(t, json.Unmarshal(text, &problem))
				require.Equal(t, http.StatusUnprocessableEntity, problem.Status)
				require.Len(t, problem.Errors, 1, "%s", text)
				require.Equal(t, "/"+field, problem.Errors[0].Pointer)
				require.NotEmpty(t, problem.Errors[0].Detail)
			})
		}
	}
	status, text := o.do(t, http.MethodPost, o.urls[0]+"/publish", `{"topic": `)
	require.Equal(t, http.StatusBadRequest, status, "%s", text)
	require.Equal(t, before.Received, o.stats(t, 1).Received, "nothing of it was taken")
}

// object is good with one field changed, or left out where the value is "".
func object(good map[string]string, field, value string) string {
	var members []string
	for _, name := range []string{"topic", "event_id", "timestamp", "source", "payload"} {
		text := good[name]
		if name == field {
			text = value
		}
		if text != "" {
			members = append(members, fmt.Sprintf("%q: %s", name, text))
		}
	}
	return "{" + strings.Join(members, ", ") + "}"
}

func checkPersistence(t *testing.T, o *outsider) {
	for i := range 20 {
		o.publish(t, i%3, event("persistent", fmt.Sprint("event-", i/2)))
	}
	before, events := o.stats(t, 0), o.events(t, 0, "persistent")
	require.Len(t, events, 10)
	require.NoError(t, o.cluster.Stop(t.Context()))
	require.Empty(t, o.cluster.Alive())
	require.NoError(t, o.cluster.Start(t.Context()))
	for i := range o.urls {
		after := o.stats(t, i)
		require.Equal(t, before.Received, after.Received)
		require.Equal(t, before.Unique, after.Unique)
		require.Equal(t, before.Duplicates, after.Duplicates)
		require.Equal(t, before.Topics, after.Topics)
		require.Equal(t, before.Digest, after.Digest)
		require.Equal(t, events, o.events(t, i, "persistent"))
	}
	require.Equal(t, "duplicate", o.publish(t, 1, event("persistent", "event-0")).Status)
}

func checkTopicFilter(t *testing.T, o *outsider) {
	for i := range 9 {
		o.publish(t, i%3, event(fmt.Sprint("filter-", i%3), fmt.Sprint("event-", i)))
	}
	for i := range o.urls {
		for topic := range 3 {
			events := o.events(t, i, fmt.Sprint("filter-", topic))
			require.Len(t, events, 3)
			for j, e := range events {
				require.Equal(t, fmt.Sprint("filter-", topic), e.Topic)
				require.Equal(t, fmt.Sprint("event-", 3*j+topic), e.EventID)
			}
		}
		var two []stored
		o.get(t, i, "/events?topic=filter-0&topic=filter-2", &two)
		require.Len(t, two, 6)
		status, text := o.do(t, http.MethodGet, o.urls[i]+"/events?topic=never-seen", "")
		require.Equal(t, http.StatusOK, status)
		require.Equal(t, "[]", string(bytes.TrimSpace(text)))
	}
}

func checkParallel(t *testing.T, o *outsider) {
	const publishers = 50
	var sending sync.WaitGroup
	receipts := make([]receipt, publishers)
	failed := make([]error, publishers)
	begin := make(chan struct{})
	for i := range publishers {
		sending.Go(func() {
			<-begin
			status, text, err := o.try(t, http.MethodPost, o.urls[i%3]+"/publish", event("parallel", "one"))
			if err == nil && status != http.StatusOK {
				err = fmt.Errorf("%d: %s", status, text)
			}
			if err == nil {
				err = json.Unmarshal(text, &receipts[i])
			}
			failed[i] = err
		})
	}
	close(begin)
	sending.Wait()
	storedTimes := 0
	for i, r := range receipts {
		require.NoError(t, failed[i])
		require.Equal(t, receipts[0].ID, r.ID, "all are told the one id")
		if r.Status == "stored" {
			storedTimes++
		}
	}
	require.Equal(t, 1, storedTimes)
	for i := range o.urls {
		require.Len(t, o.events(t, i, "parallel"), 1)
	}
}

func checkBatch(t *testing.T, o *outsider) {
	var events []string
	for i := range 13 {
		events = append(events, event("batch", fmt.Sprint("event-", i%10)))
	}
	status, text := o.do(t, http.MethodPost, o.urls[1]+"/publish/batch", "["+strings.Join(events, ",")+"]")
	require.Equal(t, http.StatusOK, status, "%s", text)
	var answer struct {
		Received   int       `json:"received"`
		Stored     int       `json:"stored"`
		Duplicates int       `json:"duplicates"`
		Results    []receipt `json:"results"`
	}
	require.NoError(t, json.Unmarshal(text, &answer))
	require.Equal(t, []int{13, 10, 3}, []int{answer.Received, answer.Stored, answer.Duplicates})
	require.Len(t, answer.Results, 13)
	for i, r := range answer.Results {
		want := receipt{Status: "stored", Topic: "batch", EventID: fmt.Sprint("event-", i%10), ID: r.ID}
		if i >= 10 {
			want.Status, want.ID = "duplicate", answer.Results[i-10].ID
		}
		require.Equal(t, want, r)
	}
	events[3] = strings.Replace(event("batch", "new"), `"source"`, `"sauce"`, 1)
	status, text = o.do(t, http.MethodPost, o.urls[2]+"/publish/batch", "["+strings.Join(events, ",")+"]")
	require.Equal(t, http.StatusUnprocessableEntity, status, "%s", text)
	require.Contains(t, string(text), `"/3/source"`)
	require.Len(t, o.events(t, 0, "batch"), 10, "a batch is stored as a whole or not at all")
}

func checkStoreAnswers(t *testing.T, o *outsider) {
	r := o.publish(t, 2, event("answers", "one"))
	for i := range o.urls {
		var e stored
		o.get(t, i, fmt.Sprintf("/events/%d", r.ID), &e)
		require.Equal(t, "answers", e.Topic)
		require.Equal(t, "one", e.EventID)
		require.Equal(t, "outsider", e.Source)
		processed, err := time.Parse(time.RFC3339Nano, e.ProcessedAt)
		require.NoError(t, err)
		require.WithinDuration(t, time.Now(), processed, time.Hour)
		var topics []struct {
			Topic  string `json:"topic"`
			Count  uint64 `json:"count"`
			LastID uint64 `json:"last_id"`
		}
		o.get(t, i, "/topics", &topics)
		require.Contains(t, topics, struct {
			Topic  string `json:"topic"`
			Count  uint64 `json:"count"`
			LastID uint64 `json:"last_id"`
		}{"answers", 1, r.ID})
		status, _ := o.do(t, http.MethodGet, o.urls[i]+"/events/999999999", "")
		require.Equal(t, http.StatusNotFound, status)
	}
}

func checkTimestamps(t *testing.T, o *outsider) {
	for i, tc := range []struct{ sent, answered string }{
		{"2025-12-19T06:36:16Z", "2025-12-19T06:36:16Z"},
		{"2025-12-19T06:36:16.388Z", "2025-12-19T06:36:16.388Z"},
		{"2025-12-19T06:36:16.123456789Z", "2025-12-19T06:36:16.123456789Z"},
		{"2025-12-19T06:36:16.100000000Z", "2025-12-19T06:36:16.1Z"},
		{"2025-12-19T08:36:16+02:00", "2025-12-19T06:36:16Z"},
		{"2025-12-19T01:06:16.5-05:30", "2025-12-19T06:36:16.5Z"},
		{"2026-01-01T00:30:00+01:00", "2025-12-31T23:30:00Z"},
		{"2025-12-19T06:36:16", "2025-12-19T06:36:16Z"},
		{"2025-12-19 06:36:16.000001", "2025-12-19T06:36:16.000001Z"},
		{"2024-02-29T23:59:59.999999999", "2024-02-29T23:59:59.999999999Z"},
		{"1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59.5Z"},
	} {
		id := fmt.Sprint("event-", i)
		o.publish(t, i%3, strings.Replace(event("timestamps", id), "2025-12-19T06:36:16.388Z", tc.sent, 1))
		var events []stored
		o.get(t, (i+1)%3, "/events?topic=timestamps&event_id="+id, &events)
		require.Len(t, events, 1)
		require.Equal(t, tc.answered, events[0].Timestamp, "sent as %s", tc.sent)
	}
}

func checkPayloads(t *testing.T, o *outsider) {
	for i, tc := range []struct{ sent, answered string }{
		{`{}`, `{}`},
		{` { "a" : [ 1 , 2 , { "b" : null } ] } `, `{"a":[1,2,{"b":null}]}`},
		{`{"deep": {"er": {"still": [[[{"x": [true, false]}]]]}}}`, `{"deep":{"er":{"still":[[[{"x":[true,false]}]]]}}}`},
		{`{"z": 1, "a": 2, "m": 3}`, `{"z":1,"a":2,"m":3}`},
		{`{"n": 123456789012345678901234567890, "f": 1.0, "e": 1e400, "m": -0, "p": 0.10}`, `{"n":123456789012345678901234567890,"f":1.0,"e":1e400,"m":-0,"p":0.10}`},
		{`{"text": "grüße, 日本語, 🎈, עברית"}`, `{"text":"grüße, 日本語, 🎈, עברית"}`},
		{`{"esc": "\u00e9 \ud83c\udf88 \n \t \" \\ \/ \u0000"}`, `{"esc":"\u00e9 \ud83c\udf88 \n \t \" \\ \/ \u0000"}`},
		{`{"spaces  inside": "  are   kept  "}`, `{"spaces  inside":"  are   kept  "}`},
		{`{"": "", "<html>": "&amp; </script>"}`, `{"":"","<html>":"&amp; </script>"}`},
		{`{"long": "` + strings.Repeat("x", 100_000) + `"}`, `{"long":"` + strings.Repeat("x", 100_000) + `"}`},
	} {
		id := fmt.Sprint("event-", i)
		require.Equal(t, "stored", o.publish(t, i%3, eventWith("payloads", id, tc.sent)).Status)
		for node := range o.urls {
			var events []stored
			o.get(t, node, "/events?topic=payloads&event_id="+id, &events)
			require.Len(t, events, 1)
			require.Equal(t, tc.answered, string(events[0].Payload))
		}
	}
}
