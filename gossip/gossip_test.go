package gossip

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// quick makes failures and healing a matter of a fraction of a second.
func quick() Timings {
	return Timings{
		ProbeInterval:    50 * time.Millisecond,
		ProbeTimeout:     30 * time.Millisecond,
		SuspicionMult:    4,
		GossipInterval:   10 * time.Millisecond,
		PushPullInterval: 200 * time.Millisecond,
		StreamTimeout:    time.Second,
	}
}

func testConfig(id string, join ...string) Config {
	return Config{
		BindAddr:       "127.0.0.1:0",
		Join:           join,
		RejoinInterval: 100 * time.Millisecond,
		Timings:        quick(),
		Meta: Meta{
			ID: id, Name: "name-" + id, HTTPAddr: "127.0.0.1:1", RaftAddr: "127.0.0.1:2", Expect: 3, Version: "test",
		},
	}
}

func startNode(t *testing.T, cfg Config) *Gossip {
	t.Helper()
	g, err := Start(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, g.Close()) })
	return g
}

// await polls until a node's members are what is wanted, and tells what they
// are when they never become that.
func await(t *testing.T, g *Gossip, what string, want func([]Member) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for !want(g.Members()) {
		select {
		case <-g.Changed():
		case <-ctx.Done():
			require.FailNow(t, "never saw "+what, "members: %+v", g.Members())
		}
	}
}

// statuses wants exactly these members, written as "id=status id=status".
func statuses(want string) (string, func([]Member) bool) {
	return want, func(members []Member) bool {
		var got []string
		for _, m := range members {
			got = append(got, fmt.Sprintf("%s=%s", m.ID, m.Status))
		}
		return strings.Join(got, " ") == want
	}
}

func awaitStatuses(t *testing.T, g *Gossip, want string) {
	t.Helper()
	what, cond := statuses(want)
	await(t, g, what, cond)
}

func TestThreeNodesFindEachOther(t *testing.T) {
	t.Parallel()
	a := startNode(t, testConfig("a"))
	b := startNode(t, testConfig("b", a.Addr()))
	c := startNode(t, testConfig("c", a.Addr(), "127.0.0.1:1"))
	for _, g := range []*Gossip{a, b, c} {
		awaitStatuses(t, g, "a=alive b=alive c=alive")
	}
	got, ok := c.Lookup("b")
	require.True(t, ok)
	require.Equal(t, Member{Meta: testConfig("b").Meta, GossipAddr: b.Addr(), Status: Alive}, got)
	_, ok = c.Lookup("nobody")
	require.False(t, ok)
}

func TestFailedNodeReturnsAtAnotherAddress(t *testing.T) {
	t.Parallel()
	a := startNode(t, testConfig("a"))
	b := startNode(t, testConfig("b", a.Addr()))
	c := startNode(t, testConfig("c", a.Addr()))
	awaitStatuses(t, b, "a=alive b=alive c=alive")
	require.NoError(t, c.Close())
	awaitStatuses(t, a, "a=alive b=alive c=failed")
	awaitStatuses(t, b, "a=alive b=alive c=failed")

	cfg := testConfig("c", a.Addr())
	cfg.Meta.HTTPAddr = "127.0.0.1:99"
	again := startNode(t, cfg)
	for _, g := range []*Gossip{a, b} {
		await(t, g, "c at its new addresses", func([]Member) bool {
			m, _ := g.Lookup("c")
			return m.Status == Alive && m.GossipAddr == again.Addr() && m.HTTPAddr == "127.0.0.1:99"
		})
	}
}

// A node that restarts quickly comes while the others still hold its old
// address for alive, and has to wait until they do not.
func TestQuickRestartAtAnotherAddress(t *testing.T) {
	t.Parallel()
	a := startNode(t, testConfig("a"))
	b := startNode(t, testConfig("b", a.Addr()))
	awaitStatuses(t, a, "a=alive b=alive")
	require.NoError(t, b.Close())
	again := startNode(t, testConfig("b", a.Addr()))
	await(t, a, "b at its new address", func([]Member) bool {
		m, _ := a.Lookup("b")
		return m.Status == Alive && m.GossipAddr == again.Addr()
	})
}

// The others refuse the new address until they have found the old one dead. The node
// does not wait for the next round of rejoining, nor for anybody else, to ask again.
func TestANodeThatHasMovedAsksAgainSoon(t *testing.T) {
	t.Parallel()
	patient := func(id string, join ...string) Config {
		cfg := testConfig(id, join...)
		cfg.RejoinInterval, cfg.Timings.PushPullInterval = time.Hour, time.Hour
		return cfg
	}
	a := startNode(t, patient("a"))
	b := startNode(t, patient("b", a.Addr()))
	awaitStatuses(t, a, "a=alive b=alive")
	require.NoError(t, b.Close())
	moved := startNode(t, patient("b", a.Addr()))
	await(t, a, "b's new address", func([]Member) bool {
		m, _ := a.Lookup("b")
		return m.Status == Alive && m.GossipAddr == moved.Addr()
	})
}

func TestRestartAtTheSameAddressWithOtherMeta(t *testing.T) {
	t.Parallel()
	a := startNode(t, testConfig("a"))
	b := startNode(t, testConfig("b", a.Addr()))
	awaitStatuses(t, a, "a=alive b=alive")
	cfg := testConfig("b", a.Addr())
	cfg.BindAddr = b.Addr()
	cfg.Meta.RaftAddr = "127.0.0.1:77"
	require.NoError(t, b.Close())
	startNode(t, cfg)
	await(t, a, "b's new Raft address", func([]Member) bool {
		m, _ := a.Lookup("b")
		return m.Status == Alive && m.RaftAddr == "127.0.0.1:77"
	})
}

// The seed is told of nobody. After its restart it is the others who find it,
// since they try failed members again.
func TestFailedMembersAreTriedAgain(t *testing.T) {
	t.Parallel()
	a := startNode(t, testConfig("a"))
	b := startNode(t, testConfig("b", a.Addr()))
	c := startNode(t, testConfig("c", b.Addr()))
	awaitStatuses(t, c, "a=alive b=alive c=alive")
	require.NoError(t, a.Close())
	awaitStatuses(t, c, "a=failed b=alive c=alive")
	require.NoError(t, b.Close())
	awaitStatuses(t, c, "a=failed b=failed c=alive")

	cfg := testConfig("a")
	cfg.BindAddr = a.Addr()
	again := startNode(t, cfg)
	awaitStatuses(t, again, "a=alive c=alive")
	awaitStatuses(t, c, "a=alive b=failed c=alive")
}

func TestLeaveIsToldFromFailure(t *testing.T) {
	t.Parallel()
	a := startNode(t, testConfig("a"))
	b := startNode(t, testConfig("b", a.Addr()))
	c := startNode(t, testConfig("c", a.Addr()))
	awaitStatuses(t, b, "a=alive b=alive c=alive")
	require.NoError(t, b.Leave(t.Context()))
	require.ErrorIs(t, b.Leave(t.Context()), ErrClosed)
	require.ErrorIs(t, b.SetMeta(func(*Meta) {}), ErrClosed)
	require.NoError(t, b.Close())
	awaitStatuses(t, a, "a=alive b=left c=alive")
	awaitStatuses(t, c, "a=alive b=left c=alive")

	startNode(t, testConfig("b", a.Addr()))
	awaitStatuses(t, c, "a=alive b=alive c=alive")
}

func TestSetMetaSpreads(t *testing.T) {
	t.Parallel()
	a := startNode(t, testConfig("a"))
	b := startNode(t, testConfig("b", a.Addr()))
	awaitStatuses(t, a, "a=alive b=alive")
	require.NoError(t, b.SetMeta(func(m *Meta) { m.ClusterID, m.Name = "cluster-1", "renamed" }))
	await(t, a, "b's new name", func([]Member) bool {
		m, _ := a.Lookup("b")
		return m.Name == "renamed" && m.ClusterID == "cluster-1"
	})

	require.ErrorIs(t, b.SetMeta(func(m *Meta) { m.ID = "x" }), ErrMeta)
	require.ErrorIs(t, b.SetMeta(func(m *Meta) { m.Name = strings.Repeat("x", 600) }), ErrMeta)
	m, _ := b.Lookup("b")
	require.Equal(t, "renamed", m.Name)
}

func TestNameTaken(t *testing.T) {
	t.Parallel()
	a := startNode(t, testConfig("a"))
	cfg := testConfig("b", a.Addr())
	cfg.Meta.Name = "name-a"
	b := startNode(t, cfg)
	<-b.Asked()
	m, taken := b.NameTaken("name-a")
	require.True(t, taken)
	require.Equal(t, "a", m.ID)
	_, taken = b.NameTaken("name-b")
	require.False(t, taken)
	awaitStatuses(t, a, "a=alive b=alive")
	_, taken = a.NameTaken("name-a")
	require.True(t, taken)
	require.NoError(t, b.Close())
	awaitStatuses(t, a, "a=alive b=failed")
	_, taken = a.NameTaken("name-a")
	require.False(t, taken, "a failed node holds no name")
}

func TestForeignClusterIsRefusedBothWays(t *testing.T) {
	t.Parallel()
	var logs logBuffer
	ours := testConfig("a")
	ours.Meta.ClusterID, ours.Logger = "ours", logs.logger()
	a := startNode(t, ours)
	theirs := testConfig("b", a.Addr())
	theirs.Meta.ClusterID = "theirs"
	b := startNode(t, theirs)

	// A node of ours that joins after the foreign one has tried proves that
	// refusing the one does not keep out the other.
	<-b.Asked()
	friend := testConfig("c", a.Addr(), b.Addr())
	friend.Meta.ClusterID = "ours"
	c := startNode(t, friend)
	<-c.Asked()
	awaitStatuses(t, a, "a=alive c=alive")
	awaitStatuses(t, c, "a=alive c=alive")
	awaitStatuses(t, b, "b=alive")
	refusals := func() int { return strings.Count(logs.String(), "another cluster") }
	require.Eventually(t, func() bool { return refusals() > 0 }, 10*time.Second, time.Millisecond, "the refusal is logged when a gets to it")
	require.Equal(t, 1, refusals(), logs.String())
}

// Nodes that met before they had clusters part when they have.
func TestMembersThatTurnOutForeignAreDropped(t *testing.T) {
	t.Parallel()
	a := startNode(t, testConfig("a"))
	b := startNode(t, testConfig("b", a.Addr()))
	awaitStatuses(t, a, "a=alive b=alive")
	awaitStatuses(t, b, "a=alive b=alive")
	require.NoError(t, a.SetMeta(func(m *Meta) { m.ClusterID = "ours" }))
	await(t, b, "a's cluster", func([]Member) bool {
		m, _ := b.Lookup("a")
		return m.ClusterID == "ours"
	})
	require.NoError(t, b.SetMeta(func(m *Meta) { m.ClusterID = "theirs" }))
	awaitStatuses(t, b, "b=alive")
	awaitStatuses(t, a, "a=alive")
}

func TestNobodyAnswers(t *testing.T) {
	t.Parallel()
	var logs logBuffer
	dead := freeAddr(t)
	cfg := testConfig("a", dead)
	cfg.Logger = logs.logger()
	a := startNode(t, cfg)
	<-a.Asked()
	awaitStatuses(t, a, "a=alive")
	require.Contains(t, logs.String(), "cannot be joined")
	require.Contains(t, logs.String(), dead)

	late := testConfig("b")
	late.BindAddr = dead
	startNode(t, late)
	awaitStatuses(t, a, "a=alive b=alive")
}

// A peer that accepts and then says nothing must not hold up Close.
func TestCloseDoesNotWaitForASilentPeer(t *testing.T) {
	t.Parallel()
	var lc net.ListenConfig
	silent, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, silent.Close()) }()
	cfg := testConfig("a", silent.Addr().String())
	cfg.Timings.StreamTimeout = time.Hour
	a := startNode(t, cfg)
	conn, err := silent.Accept()
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	require.NoError(t, a.Close())
	require.NoError(t, a.Close())
	require.ErrorIs(t, a.Leave(t.Context()), ErrClosed)
}

func TestPortInUse(t *testing.T) {
	t.Parallel()
	a := startNode(t, testConfig("a"))
	cfg := testConfig("b")
	cfg.BindAddr = a.Addr()
	_, err := Start(cfg)
	require.ErrorContains(t, err, a.Addr())
	require.ErrorContains(t, err, "in use")
}

func TestBadConfig(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*Config){
		"no id":                   func(c *Config) { c.Meta.ID = "" },
		"no address to advertise": func(c *Config) { c.BindAddr = "[::]:0" },
		"bind address":            func(c *Config) { c.BindAddr = "nonsense" },
		"advertised address":      func(c *Config) { c.AdvertiseAddr = "127.0.0.1:x" },
		"join address":            func(c *Config) { c.Join = []string{"nonsense"} },
		"negative time":           func(c *Config) { c.Timings.ProbeTimeout = -1 },
		"negative suspicion":      func(c *Config) { c.Timings.SuspicionMult = -1 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := testConfig("a")
			spoil(&cfg)
			_, err := Start(cfg)
			require.Error(t, err)
		})
	}
}

func TestAdvertiseAddr(t *testing.T) {
	t.Parallel()
	cfg := testConfig("a")
	cfg.BindAddr, cfg.AdvertiseAddr = "0.0.0.0:0", "127.0.0.1:0"
	a := startNode(t, cfg)
	m, ok := a.Lookup("a")
	require.True(t, ok)
	_, port, err := net.SplitHostPort(a.Addr())
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1:"+port, m.GossipAddr)
}

// freeAddr returns an address that nobody listens on.
func freeAddr(t *testing.T) string {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().String()
}

// logBuffer keeps what is logged.
type logBuffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func (b *logBuffer) logger() *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }
