package loadgen

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
)

// levelLogs are logs that hold the same.
func levelLogs(t *testing.T, n int) []*fakeLog {
	t.Helper()
	logs := make([]*fakeLog, n)
	for i := range logs {
		logs[i] = newFakeLog()
		for _, id := range []string{"a", "b", "a", "c"} {
			_, err := logs[i].Publish(t.Context(), oncelog.Event{
				Topic: "t", EventID: id, Source: "s", Timestamp: time.Unix(1, 0), Payload: []byte(`{"id":"` + id + `"}`),
			})
			require.NoError(t, err)
		}
	}
	return logs
}

func TestAgree(t *testing.T) {
	t.Parallel()
	logs := levelLogs(t, 3)
	v := Agree(t.Context(), []Node{{"n1", logs[0]}, {"n2", logs[1]}, {"n3", logs[2]}}, time.Second)
	require.True(t, v.OK, "%+v", v)
	require.Equal(t, "3, ids gapless, equal on 3 nodes", v.Checks[len(v.Checks)-1].Detail)
}

func TestAgreeFindsWhatDiffers(t *testing.T) {
	t.Parallel()
	change := func(f func([]oncelog.Record)) func([]oncelog.Record) []oncelog.Record {
		return func(rs []oncelog.Record) []oncelog.Record {
			f(rs)
			return rs
		}
	}
	for name, test := range map[string]struct {
		bend func(*crookedNode)
		want string
	}{
		"a digest":  {func(n *crookedNode) { n.bendStats = func(s *oncelog.Stats) { s.Digest = "sha256:0" } }, "differ at an equal index"},
		"a counter": {func(n *crookedNode) { n.bendStats = func(s *oncelog.Stats) { s.Received++ } }, "received 5 = unique 3 + duplicates 1"},
		"behind":    {func(n *crookedNode) { n.bendStats = func(s *oncelog.Stats) { s.AppliedIndex-- } }, "n2 at 3"},
		"no stats":  {func(n *crookedNode) { n.failStats = errors.New("down") }, "down"},
		"no events": {func(n *crookedNode) { n.failEvents = errors.New("cut") }, "n2 goes on with event 0, which it does not count: cut"},
		"a payload": {func(n *crookedNode) {
			n.bendEvents = change(func(rs []oncelog.Record) { rs[1].Payload = []byte("{}") })
		}, "event 2: n1 and n2 differ"},
		"a time": {func(n *crookedNode) {
			n.bendEvents = change(func(rs []oncelog.Record) { rs[0].ProcessedAt = time.Unix(9, 0) })
		}, "event 1: n1 and n2 differ"},
		"a gap":        {func(n *crookedNode) { n.bendEvents = change(func(rs []oncelog.Record) { rs[2].ID = 4 }) }, "event 3: n2 has event 4 in its place"},
		"a lost event": {func(n *crookedNode) { n.bendEvents = func(rs []oncelog.Record) []oncelog.Record { return rs[:2] } }, "event 3: n2 ends before it"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logs := levelLogs(t, 2)
			crooked := &crookedNode{fakeLog: logs[1]}
			test.bend(crooked)
			v := Agree(t.Context(), []Node{{"n1", logs[0]}, {"n2", crooked}}, 200*time.Millisecond)
			require.False(t, v.OK)
			var details string
			for _, c := range v.Checks {
				if !c.OK {
					details += c.Detail + "\n"
				}
			}
			require.Contains(t, details, test.want)
		})
	}
}
