package loadgen

import (
	"sync"

	"github.com/oncelog/oncelog"
)

// ledger keeps, for each unique event of a workload, what its receipts said. It
// is what the log is held against.
type ledger struct {
	// mu guards entries.
	mu sync.Mutex
	// entries are by event index.
	entries []entry
}

// entry is one unique event's receipts.
type entry struct {
	// id is what the first receipt said, 0 until there is one.
	id uint64
	// stored counts receipts that said stored: more than one is a lie.
	stored uint16
	// otherID marks that a later receipt said another id than the first.
	otherID bool
	// sent marks that the event was sent, be it in vain.
	sent bool
}

func newLedger() *ledger { return &ledger{} }

// record keeps the receipts of some events' indexes; nil where they were given
// up.
func (l *ledger) record(indexes []int64, receipts []oncelog.Receipt) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, index := range indexes {
		e := l.at(index)
		e.sent = true
		if receipts == nil {
			continue
		}
		r := receipts[i]
		if r.Status == oncelog.Stored {
			e.stored++
		}
		if e.id == 0 {
			e.id = r.ID
		}
		e.otherID = e.otherID || e.id != r.ID
	}
}

// at is the entry of an index, made room for. The caller holds mu.
func (l *ledger) at(index int64) *entry {
	if missing := int(index) + 1 - len(l.entries); missing > 0 {
		l.entries = append(l.entries, make([]entry, missing)...)
	}
	return &l.entries[index]
}
