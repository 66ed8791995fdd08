package client

import (
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
)

func TestPathOfAQuery(t *testing.T) {
	t.Parallel()
	q := oncelog.Query{
		Topics: []string{"a&b", "c d"}, EventID: "=", Source: "ü", After: 1, Before: 9, Limit: 3, Order: oncelog.ByIDDescending,
		Since: time.Date(2025, 12, 19, 7, 0, 0, 5, time.FixedZone("", 3600)), Until: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	u, err := url.Parse(pathOf(&q, oncelog.Stale))
	require.NoError(t, err)
	require.Equal(t, "/events", u.Path)
	require.Equal(t, url.Values{
		"topic": {"a&b", "c d"}, "event_id": {"="}, "source": {"ü"}, "after": {"1"}, "before": {"9"}, "limit": {"3"}, "order": {"-id"},
		"since": {"2025-12-19T06:00:00.000000005Z"}, "until": {"2026-01-01T00:00:00Z"}, "consistency": {"stale"},
	}, u.Query())
	require.Equal(t, "/events", pathOf(&oncelog.Query{}, oncelog.Linearizable))
}
