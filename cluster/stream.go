package cluster

import (
	"net"
	"sync"
	"time"
)

const (
	// pieceBytes is how much travels at once, piecesUnderWay how many pieces a
	// delayed way holds.
	pieceBytes     = 64 << 10
	piecesUnderWay = 64
)

// stream is one connection of a link: the dialler's half and the target's.
type stream struct {
	link    *Link
	halves  [2]net.Conn
	replies replies
	// torn says that bytes have vanished; Link.mu guards it.
	torn bool

	end  sync.Once
	over chan struct{}
}

func newStream(l *Link, kind byte, dialler, target net.Conn) *stream {
	return &stream{link: l, halves: [2]net.Conn{dialler, target}, replies: newReplies(kind), over: make(chan struct{})}
}

// carry carries bytes both ways until the connection ends, be it by either node
// or by a fault. The first bytes of the dialler are those read from it already.
func (s *stream) carry(first []byte) {
	var ways sync.WaitGroup
	ways.Go(func() { s.move(There, first) })
	ways.Go(func() { s.move(Back, nil) })
	ways.Wait()
	s.finish(false)
}

// piece is some bytes and when they arrive.
type piece struct {
	data []byte
	due  time.Time
}

// move carries bytes one way.
func (s *stream) move(w Way, first []byte) {
	pieces := make(chan piece, piecesUnderWay)
	var reading sync.WaitGroup
	reading.Go(func() {
		defer close(pieces)
		s.read(w, first, pieces)
	})
	if s.write(w, pieces) {
		closeWrite(s.halves[1-w])
	} else {
		s.reset()
	}
	reading.Wait()
}

// closeWrite tells a node that the other one has said all.
func closeWrite(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
}

// read takes in what one node sends.
func (s *stream) read(w Way, first []byte, pieces chan<- piece) {
	for {
		if len(first) > 0 {
			select {
			case pieces <- piece{first, time.Now().Add(s.link.delay())}:
			case <-s.over:
				return
			}
		}
		buffer := make([]byte, pieceBytes)
		n, err := s.halves[w].Read(buffer)
		first = buffer[:n]
		if err != nil {
			return
		}
	}
}

// write hands it to the other node when it is due, and tells whether it has
// handed over everything up to an end that the sender made.
func (s *stream) write(w Way, pieces <-chan piece) bool {
	for p := range pieces {
		if !s.await(p.due) || !s.await(time.Now().Add(s.link.passage(len(p.data)))) {
			return false
		}
		switch s.link.judge(s, w, p.data) {
		case reset:
			return false
		case vanish:
			continue
		case pass:
		}
		if _, err := s.halves[1-w].Write(p.data); err != nil {
			return false
		}
	}
	return true
}

// await waits until a time, or until the connection has ended.
func (s *stream) await(due time.Time) bool {
	wait := time.Until(due)
	if wait <= 0 {
		return true
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.over:
		return false
	}
}

// reset ends the connection on both sides, and what is under way is lost.
func (s *stream) reset() { s.finish(true) }

func (s *stream) finish(abruptly bool) {
	s.end.Do(func() {
		close(s.over)
		for _, half := range s.halves {
			if abruptly {
				resetConn(half)
			} else {
				_ = half.Close()
			}
		}
	})
}

// resetConn closes a connection such that the other side sees a reset.
func resetConn(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

// replies finds where replies begin in what a node sends back.
type replies struct {
	// calls says that the stream is one of calls, which is HTTP/2.
	calls bool
	// skip is how many bytes are to come before the next frame, header what came
	// of that frame's header.
	skip   int
	header []byte
}

// What there is to know of HTTP/2, RFC 9113: a frame's header, and the type that
// begins an answer.
const (
	frameHeaderBytes = 9
	frameHeaders     = 1
)

func newReplies(kind byte) replies {
	return replies{calls: kind == kindCalls, skip: preambleAnswerBytes}
}

// begin returns how many replies begin in the next bytes.
func (r *replies) begin(data []byte) (count int) {
	for len(data) > 0 {
		if r.skip > 0 {
			n := min(r.skip, len(data))
			r.skip -= n
			data = data[n:]
			continue
		}
		if !r.calls {
			return 1
		}
		n := min(frameHeaderBytes-len(r.header), len(data))
		r.header = append(r.header, data[:n]...)
		data = data[n:]
		if len(r.header) == frameHeaderBytes {
			h := r.header
			r.skip = int(h[0])<<16 | int(h[1])<<8 | int(h[2])
			if h[3] == frameHeaders {
				count++
			}
			r.header = h[:0]
		}
	}
	return count
}
