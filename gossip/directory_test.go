package gossip

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDirectoryForgetsTheLongestGone(t *testing.T) {
	t.Parallel()
	d := newDirectory(Meta{ID: "self"})
	d.put(Member{Meta: Meta{ID: "self"}, Status: Alive})
	for i := range MaxGone + 10 {
		id := fmt.Sprintf("n%03d", i)
		d.put(Member{Meta: Meta{ID: id}, Status: Alive})
		d.gone(id)
	}
	require.Len(t, d.list(), 1+MaxGone)
	_, ok := d.lookup("n009")
	require.False(t, ok)
	_, ok = d.lookup("n010")
	require.True(t, ok)
	_, ok = d.lookup("self")
	require.True(t, ok)
}

func TestDirectoryForget(t *testing.T) {
	t.Parallel()
	d := newDirectory(Meta{ID: "self"})
	d.put(Member{Meta: Meta{ID: "a"}, Status: Alive})
	require.False(t, d.forget("a"), "alive")
	require.False(t, d.forget("unknown"))
	d.gone("a")
	require.True(t, d.forget("a"))
	require.Empty(t, d.list())
}

func TestDirectoryKeepsALeaveWhenSilenceFollows(t *testing.T) {
	t.Parallel()
	d := newDirectory(Meta{ID: "self"})
	d.put(Member{Meta: Meta{ID: "a"}, Status: Left})
	d.gone("a")
	m, ok := d.lookup("a")
	require.True(t, ok)
	require.Equal(t, Left, m.Status)
}
