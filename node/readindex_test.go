package node

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
)

// A voter's question confirms the leader's term where the two are a quorum.
func TestAVotersQuestionConfirmsTheLeader(t *testing.T) {
	t.Parallel()
	voter, other := uuid.New(), uuid.New()
	for what, c := range map[string]struct {
		question indexQuestion
		needed   int
		want     bool
	}{
		"a voter of three":               {indexQuestion{voter, 7}, 1, true},
		"a voter of three, earlier term": {indexQuestion{voter, 6}, 1, false},
		"a voter of three, later term":   {indexQuestion{voter, 8}, 1, false},
		"a voter of five":                {indexQuestion{voter, 7}, 2, false},
		"a node without a vote":          {indexQuestion{uuid.New(), 7}, 1, false},
	} {
		electorate := func() ([]uuid.UUID, int) { return []uuid.UUID{voter, other}, c.needed }
		require.Equal(t, c.want, c.question.confirms(7, electorate), what)
	}
}

func TestOnlyTheLeaderHasAReadIndex(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t, func(*Config) {})
	leader, others := leaderOf(t, nodes)
	term, voter := leader.group.CurrentTerm(), others[0].leadership.self
	_, err := others[0].Publish(t.Context(), someEvent("1"))
	require.NoError(t, err)
	index, ok := leader.reader.indexFor(indexQuestion{voter, term})
	require.True(t, ok)
	require.GreaterOrEqual(t, index, others[0].group.store.Applied().Index)
	_, ok = others[1].reader.indexFor(indexQuestion{voter, term})
	require.False(t, ok)
}

// A node of an earlier version asks without saying who it is.
func TestAQuestionOfNobodyIsConfirmedByTheVoters(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t, func(*Config) {})
	leader, _ := leaderOf(t, nodes)
	reply, err := leader.reader.serveIndex(t.Context(), nil)
	require.NoError(t, err)
	index, err := decodeWord(reply)
	require.NoError(t, err)
	require.Equal(t, leader.group.CommitIndex(), index)
}

func FuzzIndexQuestion(f *testing.F) {
	f.Add(indexQuestion{uuid.Max, 7}.encode())
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if q, ok := decodeIndexQuestion(b); ok {
			require.Equal(t, b, q.encode())
		}
	})
}

// What a read is refused with says once that there is no quorum, in the words of its
// cause, and nothing of the cause's own outcome.
func TestAReadIsRefusedInWords(t *testing.T) {
	t.Parallel()
	const want = "no quorum within the deadline: no leader is known"
	for _, cause := range []error{
		errors.New("no leader is known"),
		fmt.Errorf("%w: no leader is known", oncelog.ErrUnavailable),
	} {
		err := inWords(cause)
		require.EqualError(t, err, want)
		require.ErrorIs(t, err, oncelog.ErrUnavailable)
	}
	require.NotErrorIs(t, inWords(oncelog.ErrOutcomeUnknown), oncelog.ErrOutcomeUnknown)
}
