package httpapi

import (
	"net/http"
	"slices"
	"strconv"
	"time"
)

// countedBytes is the longest answer whose length net/http works out itself.
const countedBytes = 2048

// write answers with a body that is whole in memory.
func (s *Server) write(w http.ResponseWriter, status int, contentType []string, body []byte) {
	h := w.Header()
	h["Content-Type"] = contentType
	if len(body) > countedBytes {
		h["Content-Length"] = []string{strconv.Itoa(len(body))}
	}
	// Twice the time, since net/http may wait for the rest of a body first.
	extendWrite(http.NewResponseController(w), 2*s.cfg.StallTimeout)
	w.WriteHeader(status)
	// A client that is gone needs no answer.
	_, _ = w.Write(body)
}

// outflow writes an answer of any length in chunks. Nothing is on its way before
// the first chunk is full, so that an error till then can still be told.
type outflow struct {
	w           http.ResponseWriter
	rc          *http.ResponseController
	stall       time.Duration
	contentType []string
	buf         []byte
	// begun says that the status and the header are out.
	begun bool
}

// chunkBytes is how much an outflow gathers, and what the peer has to take
// within one stall time-out.
const chunkBytes = 32 << 10

func (s *Server) newOutflow(w http.ResponseWriter, contentType []string, buf []byte) *outflow {
	return &outflow{
		w: w, rc: http.NewResponseController(w), stall: s.cfg.StallTimeout, contentType: contentType, buf: buf[:0],
	}
}

// full sends what was gathered if that is a chunk's worth. It answers false when
// the peer takes no more.
func (o *outflow) full() bool { return len(o.buf) < chunkBytes || o.send() }

// send sends what was gathered.
func (o *outflow) send() bool {
	if !o.begun {
		o.begun = true
		o.w.Header()["Content-Type"] = o.contentType
	}
	for chunk := range slices.Chunk(o.buf, progressBytes) {
		extendWrite(o.rc, o.stall)
		if _, err := o.w.Write(chunk); err != nil {
			return false
		}
	}
	o.buf = o.buf[:0]
	return true
}

// flush sends what was gathered all the way to the peer.
func (o *outflow) flush() bool {
	if !o.send() {
		return false
	}
	extendWrite(o.rc, o.stall)
	return o.rc.Flush() == nil
}
