// Package httpapi serves a log over HTTP/1.1. It reads requests strictly, keeps
// them within limits, asks the [Log] behind it, and puts what that says in the
// words of the API.
//
// Invariants:
//   - an event reaches the Log only when all of its request is valid; the lines
//     of a stream are requests of their own,
//   - a status of success is sent only for what the Log has acknowledged,
//   - an answer that breaks off is never taken for a whole one: before its first
//     byte it becomes a problem document, after that the connection is cut, and
//     a stream of receipts ends with a line that says so,
//   - the memory of all requests together is bounded: by connections, by bytes
//     of bodies in memory ([Config.MaxBufferedBytes]), and by chunks on the way
//     out,
//   - a peer that makes no progress is cut; one that is merely slow is not.
//
// It knows nothing of consensus, storage or gossip, and decides nothing about an
// event but whether it is one. The JSON itself is in httpapi/wire, the client in
// httpapi/client.
package httpapi
