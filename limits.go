package oncelog

// The limits of what one client may send. Sizes are in bytes and count decoded
// content. They bound the memory that a request can take.
const (
	// MaxNameBytes bounds a topic, an event id and a source: 1 to 255 bytes.
	MaxNameBytes = 255
	// MaxPayloadBytes bounds a payload as it is kept, without white space
	// between tokens.
	MaxPayloadBytes = 1 << 20
	// MaxPayloadDepth bounds how deep objects and arrays nest in a payload; the
	// payload's own brace is the first level.
	MaxPayloadDepth = 64
	// MaxBatchEvents bounds the events of one batch.
	MaxBatchEvents = 100_000
	// MaxBodyBytes bounds the body of one request that is not a stream.
	MaxBodyBytes = 32 << 20
	// MinYear is the first year of a timestamp, in UTC: 64-bit nanoseconds hold
	// the whole years from it to MaxYear.
	MinYear = 1678
	// MaxYear is the last year of MinYear's range.
	MaxYear = 2261
)
