package cluster

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
)

// inside starts a cluster in this process that ends with the test.
func inside(t *testing.T) *Cluster {
	t.Helper()
	c, err := StartInProcess(t.Context(), Options{Dir: t.TempDir()})
	require.NoError(t, err)
	closeLater(t, c)
	return c
}

func anEvent(topic, id string) oncelog.Event {
	return oncelog.Event{Topic: topic, EventID: id, Source: "test", Timestamp: time.Unix(0, 0), Payload: []byte(`{}`)}
}

func TestAnyStartOrderFoundsOneCluster(t *testing.T) {
	for _, order := range [][]int{{0, 1, 2}, {2, 1, 0}, {1, 2, 0}} {
		t.Run(fmt.Sprint(order), func(t *testing.T) {
			c, err := NewInProcess(Options{Dir: t.TempDir()})
			require.NoError(t, err)
			closeLater(t, c)
			for i, which := range order {
				n := c.Nodes()[which]
				require.NoError(t, n.Start())
				if i < len(order)-1 {
					require.Error(t, n.Client().Ready(t.Context()), "a minority founds nothing")
				}
			}
			require.NoError(t, c.WaitReady(t.Context()))
			views := make(map[string]bool)
			for _, n := range c.Nodes() {
				view, err := n.Client().Cluster(t.Context())
				require.NoError(t, err)
				require.Len(t, view.Nodes, 3)
				for _, m := range view.Nodes {
					require.NotEqual(t, oncelog.Nonvoter, m.Role)
				}
				views[view.ID] = true
			}
			require.Len(t, views, 1, "one cluster id")
		})
	}
}

func TestLeaderStops(t *testing.T) {
	c := inside(t)
	old, err := c.Leader(t.Context())
	require.NoError(t, err)
	require.NoError(t, old.Stop(t.Context()))
	require.False(t, old.Alive())
	require.NoError(t, old.Err(), "it was told to")
	next, err := c.Leader(t.Context())
	require.NoError(t, err)
	require.NotEqual(t, old.Name(), next.Name())
	for _, n := range c.Alive() {
		r, err := n.Client().Publish(t.Context(), anEvent("without a leader", n.Name()))
		require.NoError(t, err, "%s takes events", n)
		require.Equal(t, oncelog.Stored, r.Status)
	}
	require.NoError(t, old.Start())
	require.NoError(t, c.WaitReady(t.Context()))
	for _, n := range c.Nodes() {
		r, err := n.Client().Publish(t.Context(), anEvent("whole again", "one"))
		require.NoError(t, err)
		require.Equal(t, uint64(3), r.ID, "%s tells the one id", n)
	}
	require.NoError(t, c.Check(t.Context()))
}

func TestFollowerReadsWhatWasJustWritten(t *testing.T) {
	c := inside(t)
	for i := range 100 {
		writer, reader := c.Nodes()[i%3], c.Nodes()[(i+1+i/3%2)%3]
		e := anEvent("fresh", fmt.Sprint(i))
		r, err := writer.Client().Publish(t.Context(), e)
		require.NoError(t, err)
		var found []oncelog.Record
		for record, err := range reader.Client().Events(t.Context(), oncelog.Query{After: r.ID - 1}, oncelog.Linearizable) {
			require.NoError(t, err)
			found = append(found, record)
		}
		require.Len(t, found, 1, "%s has what %s has acknowledged", reader, writer)
		require.Equal(t, e.Key(), found[0].Key())
	}
}

func TestLeadershipTransfer(t *testing.T) {
	c := inside(t)
	old, err := c.Leader(t.Context())
	require.NoError(t, err)
	for _, to := range c.Nodes() {
		if to == old {
			continue
		}
		// Any node can be asked, the one that is to lead too.
		name, err := to.Client().TransferLeadership(t.Context(), to.Name())
		require.NoError(t, err)
		require.Equal(t, to.Name(), name)
		require.NoError(t, c.Await(t.Context(), to.Name()+" to lead", func(ctx context.Context) error {
			leader, err := c.Leader(ctx)
			if err == nil && leader != to {
				err = fmt.Errorf("%s leads", leader)
			}
			return err
		}))
	}
	_, err = old.Client().TransferLeadership(t.Context(), "n9")
	require.ErrorIs(t, err, oncelog.ErrNotFound)
}

func TestNodesInThisProcessCannotBeKilled(t *testing.T) {
	c, err := StartInProcess(t.Context(), Options{Nodes: 1, Dir: t.TempDir()})
	require.NoError(t, err)
	closeLater(t, c)
	n := c.Nodes()[0]
	for _, err := range []error{n.Kill(), n.Pause(), n.Continue(), c.Kill()} {
		require.ErrorIs(t, err, errors.ErrUnsupported)
	}
	require.True(t, n.Alive())
	require.ErrorIs(t, n.Start(), ErrRunning)
	require.Zero(t, n.PID())
	require.Empty(t, n.CommandLine())
}
