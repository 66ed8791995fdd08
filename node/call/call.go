// Package call carries the calls between nodes: many at once over one connection,
// each a frame there and a frame back. A small call costs a fifth of one over
// HTTP/2; docs/adr/0014-calls-in-frames.md has the measurement.
//
// Invariants: a call is answered at most once; a call that failed with ErrNotSent
// was not carried out, by nobody, ever; replies may come in any order. A peer that
// is silent for 3 s, though it was asked for a sign of life, loses its connection.
//
// The package knows neither what is called nor who may call: connections are made,
// and taken in, by its user.
package call

// Method says what is to be carried out.
type Method uint8

// Status says how it went; 0 is success. The rest is the user's.
type Status uint8

// Reply is the answer to a call.
type Reply struct {
	Status Status
	Body   []byte
}
