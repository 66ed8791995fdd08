package oncelog

// Status is what became of a published event.
type Status uint8

// The two things that can become of an event once a quorum has it on disk.
const (
	// Stored is answered to the first attempt with a key, and never again.
	Stored Status = iota + 1
	// Duplicate is answered to each later attempt with that key.
	Duplicate
)

// String returns the word that the API uses.
func (s Status) String() string {
	if s == Stored {
		return "stored"
	}
	return "duplicate"
}

// Receipt is the answer to one published event: a quorum has fsynced it.
type Receipt struct {
	Key
	Status Status
	// ID is the position of the stored event, also in a duplicate's receipt.
	ID uint64
	// Conflict marks a duplicate whose payload differs from the stored one. The
	// first payload is the one that stays.
	Conflict bool
}
