package httpapi

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/oncelog/oncelog"
)

// progressBytes is how much of a body or an answer has to get across within one
// stall time-out.
const progressBytes = 64 << 10

// readBody reads a whole body, decoded, into in.body, where it is at most
// [oncelog.MaxBodyBytes] long. The claim covers it and what is decoded from it.
func (s *Server) readBody(w http.ResponseWriter, r *http.Request, in *intake, c *claim) error {
	if r.ContentLength > oncelog.MaxBodyBytes {
		return tooLongBody()
	}
	rc := http.NewResponseController(w)
	// Frames of nothing cost a compressed body no decoded bytes, so what comes in
	// is bounded too.
	raw := &progressReader{src: io.LimitReader(r.Body, 2*oncelog.MaxBodyBytes), rc: rc, stall: s.cfg.StallTimeout, credit: progressBytes}
	src, release, err := decoded(r.Header, raw, s.memory)
	if err != nil {
		return err
	}
	defer release()
	in.body = in.body[:0]
	if r.ContentLength >= int64(cap(in.body)) {
		// The client's word is good for a first guess, not for all the memory.
		in.body = slices.Grow(in.body, int(min(r.ContentLength+1, scratchBytes)))
	}
	if in.body, err = readWhole(in.body, src, c); err != nil {
		return bodyError(err)
	}
	// From here on the client only waits; a deadline would end its context.
	_ = rc.SetReadDeadline(time.Time{})
	return nil
}

// readWhole appends all of src to dst.
func readWhole(dst []byte, src io.Reader, c *claim) ([]byte, error) {
	for {
		if len(dst) == cap(dst) {
			dst = slices.Grow(dst, min(max(len(dst), 4<<10), oncelog.MaxBodyBytes+1-len(dst)))
		}
		n, err := src.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		if len(dst) > oncelog.MaxBodyBytes {
			return dst, tooLongBody()
		}
		// Decoding copies what it keeps.
		if err := c.raise(2 * len(dst)); err != nil {
			return dst, err
		}
		if err == io.EOF {
			return dst, nil
		}
		if err != nil {
			return dst, err
		}
	}
}

func tooLongBody() error {
	return fmt.Errorf("a body of more than %d bytes: %w", oncelog.MaxBodyBytes, oncelog.ErrTooLarge)
}

// bodyError puts what went wrong while reading a body in the words of the API.
func bodyError(err error) error {
	switch {
	case errors.Is(err, oncelog.ErrTooLarge), errors.Is(err, oncelog.ErrQueueFull):
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errStalled
	}
	return badRequest("the body cannot be read: %v", err)
}

// decoded undoes the content encoding of a body.
func decoded(h http.Header, src io.Reader, memory *budget) (_ io.Reader, release func(), err error) {
	switch encoding := strings.ToLower(strings.Join(h["Content-Encoding"], ", ")); encoding {
	case "", "identity":
		return src, func() {}, nil
	case encodeGzip:
		return &lateGzip{src: src}, func() {}, nil
	case encodeZstd:
		return newZstd(src, memory)
	default:
		return nil, nil, newRequestError(http.StatusUnsupportedMediaType, codeEncoding,
			"the content encoding %q is not one of: %s", encoding, anyEncoding)
	}
}

// lateGzip is a gzip reader that reads nothing before it is read: a stream may
// begin long after its header.
type lateGzip struct {
	src io.Reader
	gz  *gzip.Reader
}

func (g *lateGzip) Read(p []byte) (n int, err error) {
	if g.gz == nil {
		if g.gz, err = gzip.NewReader(g.src); err != nil {
			return 0, unexpectedEnd(err)
		}
	}
	return g.gz.Read(p)
}

// unexpectedEnd makes a compressed body of no bytes an error: nothing is no
// compressed text.
func unexpectedEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// zstdWindow is the most history that a zstd frame may ask for: RFC 8878 wants
// decoders to support 8 MiB.
const zstdWindow = 8 << 20

func newZstd(src io.Reader, memory *budget) (io.Reader, func(), error) {
	window := claim{budget: memory}
	if err := window.raise(zstdWindow); err != nil {
		return nil, nil, err
	}
	r, err := zstd.NewReader(src,
		zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(zstdWindow))
	if err != nil {
		window.release()
		return nil, nil, fmt.Errorf("zstd decoder: %w", err)
	}
	return r, func() { r.Close(); window.release() }, nil
}

// drain reads and drops what is left of the body of a request that failed: a
// connection that is closed with unread data in it is reset, and the client may
// never see the answer. A body that is longer than any that would have been taken
// is not worth that, nor one that the client asked about before sending it.
func (s *Server) drain(w http.ResponseWriter, r *http.Request) {
	const most = 2 * oncelog.MaxBodyBytes
	if r.ContentLength == 0 || r.ContentLength > most ||
		r.Header.Get("Expect") != "" || w.Header().Get("Connection") == "close" {
		return
	}
	rest := &progressReader{src: r.Body, rc: http.NewResponseController(w), stall: s.cfg.StallTimeout}
	_, _ = io.CopyN(io.Discard, rest, most)
}

// progressReader lets a peer go on for as long as it gets on: every
// progressBytes it earns a new deadline.
type progressReader struct {
	src    io.Reader
	rc     *http.ResponseController
	stall  time.Duration
	credit int
}

func (p *progressReader) Read(b []byte) (int, error) {
	if p.credit <= 0 {
		extendRead(p.rc, p.stall)
		p.credit = progressBytes
	}
	n, err := p.src.Read(b)
	p.credit -= n
	return n, err
}
