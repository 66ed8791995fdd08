package wire_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/httpapi/wire"
)

func TestReceiptText(t *testing.T) {
	t.Parallel()
	key := oncelog.Key{Topic: "order", EventID: "d\"70"}
	stored := oncelog.Receipt{Key: key, Status: oncelog.Stored, ID: 40061}
	duplicate := oncelog.Receipt{Key: key, Status: oncelog.Duplicate, ID: 40061, Conflict: true}
	for want, r := range map[string]oncelog.Receipt{
		`{"status":"stored","topic":"order","event_id":"d\"70","id":40061}`:                    stored,
		`{"status":"duplicate","topic":"order","event_id":"d\"70","id":40061,"conflict":true}`: duplicate,
	} {
		text := wire.AppendReceipt(nil, &r)
		require.Equal(t, want, string(text))
		var d wire.Decoder
		got, err := d.Receipt(text)
		require.NoError(t, err)
		require.Equal(t, r, got)
	}
}

func TestBatchAnswer(t *testing.T) {
	t.Parallel()
	receipts := []oncelog.Receipt{
		{Key: oncelog.Key{Topic: "a", EventID: "1"}, Status: oncelog.Stored, ID: 5},
		{Key: oncelog.Key{Topic: "a", EventID: "1"}, Status: oncelog.Duplicate, ID: 5},
	}
	text := wire.AppendBatchHead(nil, receipts, true)
	text = append(wire.AppendReceipt(text, &receipts[0]), ',')
	text = wire.AppendBatchTail(wire.AppendReceipt(text, &receipts[1]))
	require.JSONEq(t, `{"received":2,"stored":1,"duplicates":1,"results":[
		{"status":"stored","topic":"a","event_id":"1","id":5},
		{"status":"duplicate","topic":"a","event_id":"1","id":5,"conflict":false}]}`, string(text))
	var d wire.Decoder
	got, err := d.BatchAnswer(text)
	require.NoError(t, err)
	require.Equal(t, receipts, got)
	require.Equal(t, `{"received":2,"stored":1,"duplicates":1}`, string(wire.AppendBatchHead(nil, receipts, false)))
}

func TestAnswersThatAreNot(t *testing.T) {
	t.Parallel()
	var d wire.Decoder
	for _, text := range []string{
		`{}`, `{"status":"queued","event_id":"x"}`, `{"status":"invalid","line":1,"errors":[]}`, `{"status":"error","line":1}`,
		`{"status":"stored","topic":"a","event_id":"b"}`, `{"status":"stored","topic":"a","event_id":"b","id":-1}`,
	} {
		_, err := d.Receipt([]byte(text))
		require.ErrorIs(t, err, wire.ErrAnswer, text)
	}
	for _, text := range []string{`[]`, `{"status":"stored"`, ``} {
		_, err := d.Receipt([]byte(text))
		require.ErrorIs(t, err, wire.ErrNotJSON, text)
	}
	_, err := d.BatchAnswer([]byte(`{"received":2,"stored":1,"duplicates":1,"results":[{"status":"stored","topic":"a","event_id":"b","id":1}]}`))
	require.ErrorIs(t, err, wire.ErrAnswer)
	_, err = d.BatchAnswer([]byte(`{"received":1,"results":7}`))
	require.ErrorIs(t, err, wire.ErrNotJSON)
	_, err = d.Record([]byte(`{"id":1,"topic":"a"}`))
	require.ErrorIs(t, err, wire.ErrAnswer)
}

func TestRecordText(t *testing.T) {
	t.Parallel()
	r := record(0)
	r.EventID = "e1"
	text := wire.AppendRecord(nil, &r)
	require.Equal(t, `{"id":1,"topic":"order","event_id":"e1","timestamp":"2025-12-19T06:36:16.388Z","source":"postman",`+
		`"payload":`+string(r.Payload)+`,"processed_at":"2025-12-19T06:36:17.123456789Z"}`, string(text))
	var d wire.Decoder
	got, err := d.Record(text)
	require.NoError(t, err)
	require.Equal(t, r, got)
	got, err = d.Record([]byte(`{"of_tomorrow":[{"x":1}],` + string(text[1:])))
	require.NoError(t, err)
	require.Equal(t, r, got, "a reader of answers skips what it does not know")
}

func TestDocuments(t *testing.T) {
	t.Parallel()
	stats := oncelog.Stats{
		Received: 60067, Unique: 54583, Duplicates: 5484, Conflicts: 2, AppliedIndex: 1042, Term: 3, Node: "n1", Leader: "n2",
		Digest: "sha256:00", Topics: []oncelog.TopicStats{{Topic: "login", Count: 13724}}, Uptime: 1834580 * time.Millisecond,
	}
	text, err := wire.AppendStats(nil, &stats)
	require.NoError(t, err)
	require.Equal(t, `{"total_received_queued":60067,"unique_processed_db":54583,"estimated_duplicate_dropped":5484,`+
		`"topics_count":[{"topic":"login","count":13724}],"uptime_seconds":1834.58,"conflicts":2,"node":"n1","leader":"n2",`+
		`"term":3,"applied_index":1042,"digest":"sha256:00"}`, string(text))
	gotStats, err := wire.DecodeStats(text)
	require.NoError(t, err)
	require.Equal(t, stats, gotStats)
	text, err = wire.AppendStats(nil, &oncelog.Stats{})
	require.NoError(t, err)
	require.Contains(t, string(text), `"topics_count":[]`)

	cluster := oncelog.Cluster{ID: "c", Leader: "n2", Term: 3, Voters: 3, FailureTolerance: 1, Nodes: []oncelog.Member{{
		Name: "n1", ID: "u", Role: oncelog.Follower, Status: oncelog.Alive, HTTPAddr: "h:1", RaftAddr: "h:2", GossipAddr: "h:3",
		AppliedIndex: 9, Lag: 1, Level: true, Version: "v1",
	}}}
	text, err = wire.AppendCluster(nil, &cluster)
	require.NoError(t, err)
	require.JSONEq(t, `{"cluster_id":"c","leader":"n2","term":3,"voters":3,"failure_tolerance":1,"nodes":[{"name":"n1","id":"u","role":"follower","status":"alive",`+
		`"http_addr":"h:1","raft_addr":"h:2","gossip_addr":"h:3","applied_index":9,"lag":1,"level":true,"version":"v1"}]}`, string(text))
	gotCluster, err := wire.DecodeCluster(text)
	require.NoError(t, err)
	require.Equal(t, cluster, gotCluster)

	topics := []oncelog.TopicStats{{Topic: "order", Count: 13773, LastID: 54583}}
	require.JSONEq(t, `[{"topic":"order","count":13773,"last_id":54583}]`, string(wire.AppendTopics(nil, topics)))
	leader, err := wire.DecodeLeader(wire.AppendLeader(nil, "n3"))
	require.NoError(t, err)
	require.Equal(t, "n3", leader)
	departed := oncelog.Departure{Name: "n4", ID: "u", Voters: 3, FailureTolerance: 1}
	text, err = wire.AppendDeparture(nil, &departed)
	require.NoError(t, err)
	require.JSONEq(t, `{"name":"n4","id":"u","voters":3,"failure_tolerance":1}`, string(text))
	gotDeparted, err := wire.DecodeDeparture(text)
	require.NoError(t, err)
	require.Equal(t, departed, gotDeparted)
}

// TestProblemsCrossTheWire sends each error of the vocabulary over and back.
func TestProblemsCrossTheWire(t *testing.T) {
	t.Parallel()
	for _, want := range []error{
		wire.ErrNotJSON, oncelog.ErrTooLarge, oncelog.ErrNotFound, oncelog.ErrQueueFull, oncelog.ErrNotApplied,
		oncelog.ErrOutcomeUnknown, oncelog.ErrUnavailable, oncelog.ErrClosed, oncelog.ErrDiskFull,
	} {
		p := wire.ProblemOf(fmt.Errorf("in the test: %w", want))
		got, err := wire.DecodeProblem(wire.AppendProblem(nil, &p))
		require.NoError(t, err)
		require.Equal(t, p, *got)
		require.ErrorIs(t, got, want)
		require.Equal(t, "in the test: "+want.Error(), got.Error())
	}
	invalid := &oncelog.ValidationError{Fields: []oncelog.FieldError{{Pointer: "/topic", Detail: "is \"bad\""}}}
	p := wire.ProblemOf(invalid)
	got, err := wire.DecodeProblem(wire.AppendProblem(nil, &p))
	require.NoError(t, err)
	require.ErrorIs(t, got, oncelog.ErrInvalid)
	var back *oncelog.ValidationError
	require.ErrorAs(t, got, &back)
	require.Equal(t, invalid.Fields, back.Fields)
}

func TestInternalErrorsStayInside(t *testing.T) {
	t.Parallel()
	p := wire.ProblemOf(errors.New("open /var/secret: EIO"))
	require.Equal(t, 500, p.Status)
	require.NotContains(t, p.Detail, "secret")
	require.Equal(t, wire.OutcomeUnknown, p.Outcome)
	require.NoError(t, p.Unwrap())
}

func TestErrorLineHasOneStatus(t *testing.T) {
	t.Parallel()
	p := wire.ProblemOf(oncelog.ErrOutcomeUnknown)
	text := wire.AppendErrorLine(nil, 9, &p)
	_, err := wire.CompactPayload(text)
	require.NoError(t, err, "the status of a problem is not the status of a line")
	require.Contains(t, string(text), `{"status":"error","line":9,`)
	require.Contains(t, string(text), `"outcome":"unknown","retryable":true`)
}
