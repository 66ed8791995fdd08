package oncelog

import "time"

// Consistency says how recent an answer must be.
type Consistency uint8

const (
	// Linearizable answers hold everything that was acknowledged, by any node,
	// before the question was asked.
	Linearizable Consistency = iota
	// Stale answers come from the asked node at once, however far behind it is.
	// They never step back on one node.
	Stale
)

// String returns the word that the API uses.
func (c Consistency) String() string {
	if c == Stale {
		return "stale"
	}
	return "linearizable"
}

// Order is the order in which a query's events come.
type Order uint8

const (
	// ByID is the log's own order.
	ByID Order = iota
	// ByIDDescending is newest first.
	ByIDDescending
)

// Query selects stored events. The zero Query selects all, in id order.
type Query struct {
	// Topics selects events of any of these topics; none means every topic.
	Topics []string
	// EventID and Source select exact matches; "" means any.
	EventID string
	Source  string
	// After and Before are exclusive bounds on the id; 0 means none.
	After  uint64
	Before uint64
	// Since (inclusive) and Until (exclusive) bound the event's timestamp; the
	// zero time means no bound.
	Since time.Time
	Until time.Time
	// Order is ByID or ByIDDescending.
	Order Order
	// Limit is the greatest number of events to answer; 0 means all.
	Limit int
}
