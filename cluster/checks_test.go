package cluster

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
)

// sound are three nodes that hold the same two events.
func sound() []Contents {
	nodes := make([]Contents, 3)
	for i := range nodes {
		nodes[i] = Contents{
			Node: nodeName(i),
			Stats: oncelog.Stats{
				Node: nodeName(i), Received: 5, Unique: 2, Duplicates: 3, Conflicts: 1, AppliedIndex: 7, Digest: "sha256:aa",
			},
			Entries: []Entry{
				{ID: 1, Key: oncelog.Key{Topic: "order", EventID: "a"}},
				{ID: 2, Key: oncelog.Key{Topic: "order", EventID: "b"}},
			},
		}
	}
	return nodes
}

func TestChecks(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		breakIt func([]Contents)
		check   func([]Contents) error
		says    string
	}{
		"key twice": {
			func(n []Contents) { n[1].Entries = append(n[1].Entries, Entry{ID: 3, Key: n[1].Entries[0].Key}) },
			CheckExactlyOnce, "I2 broken: n2 holds order/a more than once, now at id 3",
		},
		"key with two ids": {
			func(n []Contents) { n[2].Entries = []Entry{{ID: 2, Key: n[2].Entries[0].Key}} },
			CheckExactlyOnce, "I2 broken: order/a is id 1 on n1 and id 2 on n3",
		},
		"id with two keys": {
			func(n []Contents) { n[2].Entries[1].EventID = "c" },
			CheckExactlyOnce, "I2 broken: id 2 is order/b on n1 and order/c on n3",
		},
		"gap": {
			func(n []Contents) { n[0].Entries[1].ID = 3 },
			CheckAgreement, "I3 broken: n1 has id 3 where 2 should be",
		},
		"missing": {
			func(n []Contents) { n[1].Entries = n[1].Entries[:1] },
			CheckAgreement, "I3 broken: n2 holds 1 events and counts 2",
		},
		"digest": {
			func(n []Contents) { n[2].Stats.Digest = "sha256:bb" },
			CheckAgreement, "I3 broken: at index 7, n2 has the digest sha256:aa and n3 sha256:bb",
		},
		"sum": {
			func(n []Contents) { n[0].Stats.Received = 6 },
			CheckCounters, "I5 broken: n1 received 6, which is not 2 unique and 3 duplicates",
		},
		"differing counters": {
			func(n []Contents) { n[1].Stats.Received, n[1].Stats.Duplicates = 6, 4 },
			CheckCounters, "I5 broken: n2 counts 6 received, 2 unique, 4 duplicates, 1 conflicts, and n1 5, 2, 3, 1",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nodes := sound()
			require.NoError(t, tc.check(nodes))
			tc.breakIt(nodes)
			err := tc.check(nodes)
			require.ErrorIs(t, err, ErrBroken)
			require.ErrorContains(t, err, tc.says)
		})
	}
}

func TestDigestsAtDifferentIndexesMayDiffer(t *testing.T) {
	t.Parallel()
	nodes := sound()
	nodes[1].Stats.AppliedIndex, nodes[1].Stats.Digest = 8, "sha256:bb"
	require.NoError(t, CheckAgreement(nodes))
}

func TestManyFaultsAreCounted(t *testing.T) {
	t.Parallel()
	nodes := sound()
	for i := range 100 {
		nodes[0].Entries = append(nodes[0].Entries, Entry{ID: uint64(i) + 3, Key: nodes[0].Entries[0].Key})
	}
	err := CheckExactlyOnce(nodes[:1])
	require.ErrorContains(t, err, "200 times in all", "each of them breaks two rules")
	require.Less(t, len(err.Error()), 2000)
}
