package node

import (
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"
)

func TestProfilesCanWork(t *testing.T) {
	t.Parallel()
	var last Timing
	for _, p := range []RaftProfile{RaftFast, RaftDefault, RaftSlow} {
		timing, err := p.Timing()
		require.NoError(t, err)
		require.NoError(t, timing.check())
		require.Greater(t, timing.Heartbeat, last.Heartbeat)
		last = timing

		n := start(t, Config{
			Name: string(p), DataDir: t.TempDir(), RaftProfile: p,
			HTTPAddr: "127.0.0.1:0", RaftAddr: "127.0.0.1:0", GossipAddr: "127.0.0.1:0", Logger: logOf(t),
		})
		require.Equal(t, timing, n.config.Timing)
		require.Equal(t, timing.Heartbeat*3/2, n.group.ReloadableConfig().HeartbeatTimeout)
		require.Equal(t, timing.Election, n.group.ReloadableConfig().ElectionTimeout)
	}
}

func TestTimingIsChecked(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for name, test := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"no such profile": {func(c *Config) { c.RaftProfile = "quick" }, `raft profile "quick": must be fast, default or slow`},
		"too eager":       {func(c *Config) { c.Timing = Timing{20 * ms, 20 * ms, 20 * ms} }, "heartbeat time-out of 20ms: must be at least 50ms"},
		"not all given":   {func(c *Config) { c.Timing = Timing{Heartbeat: 500 * ms, Election: 750 * ms} }, "leader lease of 0s: must be at least half of the heartbeat time-out"},
		"eager election":  {func(c *Config) { c.Timing = Timing{500 * ms, 400 * ms, 400 * ms} }, "election time-out of 400ms: must be at least the heartbeat time-out, 500ms"},
		"no election":     {func(c *Config) { c.Timing = Timing{500 * ms, time.Hour, 400 * ms} }, "election time-out of 1h0m0s: must be at most 1m0s"},
		"long lease":      {func(c *Config) { c.Timing = Timing{500 * ms, 750 * ms, 600 * ms} }, "leader lease of 600ms: must be at most the heartbeat time-out, 500ms"},
		"short lease":     {func(c *Config) { c.Timing = Timing{500 * ms, 750 * ms, 100 * ms} }, "leader lease of 100ms: must be at least half of the heartbeat time-out"},
	} {
		c := Config{DataDir: t.TempDir()}
		test.change(&c)
		err := c.withDefaults().validate()
		require.ErrorIs(t, err, ErrConfig, name)
		require.ErrorContains(t, err, test.want, name)
	}
}

// What is checked here must be all that Raft would refuse.
func TestTimingThatPassesIsRaftsToo(t *testing.T) {
	t.Parallel()
	for _, timing := range []Timing{
		{Heartbeat: minHeartbeat, Election: minHeartbeat, Lease: minHeartbeat / 2},
		{Heartbeat: maxElection, Election: maxElection, Lease: maxElection},
	} {
		require.NoError(t, timing.check())
		c := raft.DefaultConfig()
		c.LocalID, c.LeaderLeaseTimeout = "n1", timing.Lease
		c.HeartbeatTimeout, c.ElectionTimeout = timing.raft()
		require.NoError(t, raft.ValidateConfig(c))
	}
}
