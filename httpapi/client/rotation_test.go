package client

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func rotationOf(names ...string) *rotation {
	r := new(rotation)
	for _, name := range names {
		r.nodes = append(r.nodes, &target{base: name})
	}
	return r
}

// draw takes n turns, each of which a node answers.
func (r *rotation) draw(now time.Time, n int) (names string) {
	for range n {
		t, _ := r.next(now)
		r.answered(t)
		names += t.base
	}
	return names
}

func TestRotationPassesOverASilentNode(t *testing.T) {
	t.Parallel()
	r, now := rotationOf("a", "b", "c"), time.Unix(100, 0)
	require.Equal(t, "abcabc", r.draw(now, 6))
	r.silent(r.nodes[1], now)
	require.Equal(t, "acac", r.draw(now.Add(leftAside-1), 4), "it is left aside")

	now = now.Add(leftAside)
	require.Equal(t, "a", r.draw(now, 1))
	b, trial := r.next(now)
	require.Equal(t, "b", b.base)
	require.True(t, trial)
	require.Equal(t, "caca", r.draw(now.Add(time.Hour), 4), "one request tries it, however long that takes")
	r.silent(b, now.Add(time.Hour))
	require.Equal(t, "caca", r.draw(now.Add(time.Hour), 4), "it is silent still")

	now = now.Add(2 * time.Hour)
	b, trial = r.next(now)
	require.True(t, trial)
	r.unclear(b)
	require.Equal(t, "ca", r.draw(now, 2))
	again, trial := r.next(now)
	require.True(t, trial, "a trial without a result is made again")
	require.Equal(t, b, again)
	r.answered(again)
	require.Equal(t, "cabcab", r.draw(now, 6), "it is back in its turn")
}

func TestRotationAlwaysHasANode(t *testing.T) {
	t.Parallel()
	r, now := rotationOf("a", "b"), time.Unix(100, 0)
	r.silent(r.nodes[0], now)
	r.silent(r.nodes[1], now)
	for _, want := range []string{"a", "b", "a", "b"} {
		node, trial := r.next(now)
		require.Equal(t, want, node.base)
		require.True(t, trial)
		r.silent(node, now)
	}
	alone := rotationOf("a")
	alone.silent(alone.nodes[0], now)
	require.Equal(t, "aaa", alone.draw(now, 3))
	require.Len(t, rotationOf("a", "b", "c").all(), 3)
}

func TestPatienceOfAnAttempt(t *testing.T) {
	t.Parallel()
	const never = 0
	for name, c := range map[string]struct {
		targets     int
		deadline    time.Duration
		options     []Option
		trial       bool
		least, most time.Duration
	}{
		"no deadline":            {3, never, nil, false, defaultPatience, defaultPatience},
		"far deadline":           {3, time.Hour, nil, false, defaultPatience, defaultPatience},
		"half of a near one":     {3, 8 * time.Second, nil, false, 3 * time.Second, 4 * time.Second},
		"all for the only node":  {1, 8 * time.Second, nil, false, 7 * time.Second, 8 * time.Second},
		"all of one attempt":     {3, 8 * time.Second, []Option{WithoutRetries()}, false, 7 * time.Second, 8 * time.Second},
		"trial":                  {3, never, nil, true, trialPatience, trialPatience},
		"trial of the only node": {1, never, nil, true, defaultPatience, defaultPatience},
		"given":                  {3, never, []Option{WithPatience(time.Minute)}, false, time.Minute, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, err := New(targetsOf(c.targets), c.options...)
			require.NoError(t, err)
			ctx := t.Context()
			if c.deadline != never {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, c.deadline)
				defer cancel()
			}
			patience := client.patienceOf(ctx, c.trial)
			require.GreaterOrEqual(t, patience, c.least)
			require.LessOrEqual(t, patience, c.most)
		})
	}
}

func targetsOf(n int) []string { return []string{"http://a", "http://b", "http://c"}[:n] }
