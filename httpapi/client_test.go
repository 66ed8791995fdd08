package httpapi_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/httpapi/client"
)

// TestClientAndServer has both sides of the wire talk to each other.
func TestClientAndServer(t *testing.T) {
	t.Parallel()
	log := new(fakeLog)
	c, err := client.New([]string{serve(t, log)})
	require.NoError(t, err)
	defer c.Close()
	ctx := t.Context()

	e := oncelog.Event{
		Topic: "a/b \U0001F600", EventID: `"1"`, Source: "ü", Timestamp: time.Date(2025, 1, 2, 3, 4, 5, 6, time.UTC),
		Payload: []byte(`{"big":12345678901234567890.50,"s":"\u0041\ud83d\ude00"}`),
	}
	other := e
	other.EventID = "2"
	receipt, err := c.Publish(ctx, e)
	require.NoError(t, err)
	require.Equal(t, oncelog.Receipt{Key: e.Key(), Status: oncelog.Stored, ID: 1}, receipt)
	changed := e
	changed.Payload = []byte("{}")
	receipts, err := c.PublishBatch(ctx, []oncelog.Event{changed, other})
	require.NoError(t, err)
	require.Equal(t, []oncelog.Receipt{
		{Key: e.Key(), Status: oncelog.Duplicate, ID: 1, Conflict: true}, {Key: other.Key(), Status: oncelog.Stored, ID: 2},
	}, receipts)

	var got []oncelog.Event
	q := oncelog.Query{Topics: []string{e.Topic}, Source: "ü", Since: e.Timestamp, Until: e.Timestamp.Add(1), Before: 3, Limit: 10}
	for record, err := range c.Events(ctx, q, oncelog.Stale) {
		require.NoError(t, err)
		require.Equal(t, log.records[record.ID-1], record)
		got = append(got, record.Event)
	}
	require.Equal(t, []oncelog.Event{e, other}, got)

	stats, err := c.Stats(ctx, oncelog.Linearizable)
	require.NoError(t, err)
	require.Equal(t, uint64(3), stats.Received)
	cluster, err := c.Cluster(ctx)
	require.NoError(t, err)
	require.Equal(t, "n2", cluster.Leader)
	leader, err := c.TransferLeadership(ctx, "n3")
	require.NoError(t, err)
	require.Equal(t, "n3", leader)
	departed, err := c.Leave(ctx, "n3", false)
	require.NoError(t, err)
	require.Equal(t, oncelog.Departure{Name: "n3", ID: "id", Voters: 3, FailureTolerance: 1}, departed)
	_, err = c.Leave(ctx, "n1", false)
	require.ErrorIs(t, err, oncelog.ErrRefused)
	require.NoError(t, c.Ready(ctx))
	_, err = c.PublishBatch(ctx, nil)
	require.ErrorIs(t, err, oncelog.ErrInvalid)
}

func TestClientMeetsErrorsOfTheLog(t *testing.T) {
	t.Parallel()
	for _, want := range []error{oncelog.ErrQueueFull, oncelog.ErrNotApplied, oncelog.ErrOutcomeUnknown, oncelog.ErrDiskFull} {
		log := &fakeLog{publishErr: func(context.Context, []oncelog.Event) error { return want }}
		log.operateErr = oncelog.ErrUnavailable
		c, err := client.New([]string{serve(t, log)}, client.WithoutRetries())
		require.NoError(t, err)
		e := new(fakeLog).fill(1, "{}").records[0].Event
		_, err = c.Publish(t.Context(), e)
		require.ErrorIs(t, err, want)
		require.ErrorIs(t, c.Ready(t.Context()), oncelog.ErrUnavailable)
		c.Close()
	}
}
