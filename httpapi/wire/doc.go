// Package wire is the JSON of oncelog's API, in both directions: what a server
// reads a client writes, and the other way round.
//
// Reading is strict where an identity is at stake. Events are I-JSON (RFC 7493):
// invalid UTF-8, lone surrogates, a byte order mark, duplicate names at any depth
// and anything after the value are a [*SyntaxError]. Text that is JSON but no
// event is an [oncelog.ErrInvalid] that lists every field at fault, and a
// payload over its limit is an [oncelog.ErrTooLarge]. One scanner reads all
// forms, so a text gets the same verdict alone, in a batch and as a line.
// Answers are read leniently: a field that this version does not know is skipped.
//
// Invariants:
//   - two different ids never decode to one, and one never to two,
//   - a payload is kept to the byte but for the white space between its tokens,
//   - nesting is followed to [oncelog.MaxPayloadDepth] levels and no deeper, and
//     memory stays within a small multiple of the text's length.
//
// Writing appends to a []byte that the caller owns. Nothing on the way of an event
// uses reflection.
//
// The package does no I/O and knows nothing of HTTP but the status of a
// [Problem].
package wire
