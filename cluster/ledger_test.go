package cluster

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/loadgen"
)

// ledger keeps what publishers were told of each key. It is for a load whose
// requests are sent once only, or whose ids alone matter.
type ledger struct {
	// mu guards what follows.
	mu sync.Mutex
	// ids are those of the first receipts, stored counts the receipts that said so.
	ids    map[oncelog.Key]uint64
	stored map[oncelog.Key]int
	faults []string
}

func newLedger() ledger {
	return ledger{ids: make(map[oncelog.Key]uint64), stored: make(map[oncelog.Key]int)}
}

// record is a load's History.
func (l *ledger) record(op loadgen.Operation) {
	if op.Outcome != loadgen.Stored && op.Outcome != loadgen.Duplicate {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if first, ok := l.ids[op.Key]; ok && first != op.ID {
		l.faults = append(l.faults, fmt.Sprintf("%v was told the ids %d and %d", op.Key, first, op.ID))
	}
	l.ids[op.Key] = op.ID
	if op.Outcome == loadgen.Stored {
		l.stored[op.Key]++
		if l.stored[op.Key] > 1 {
			l.faults = append(l.faults, fmt.Sprintf("%v was stored %d times", op.Key, l.stored[op.Key]))
		}
	}
}

// requireHeld holds the nodes against I1 and I2: all that was acknowledged is
// there, at the id that was told.
func (l *ledger) requireHeld(t *testing.T, nodes []Contents) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	require.Empty(t, l.faults)
	require.NotEmpty(t, l.ids)
	require.NotEmpty(t, nodes)
	for _, n := range nodes {
		found := 0
		for _, e := range n.Entries {
			if id, ok := l.ids[e.Key]; ok {
				require.Equal(t, id, e.ID, "%v on %s", e.Key, n.Node)
				found++
			}
		}
		require.Equal(t, len(l.ids), found, "acknowledged keys on %s", n.Node)
	}
}
