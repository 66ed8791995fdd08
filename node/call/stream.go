package call

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// pingAfter is how long a peer may be silent until it is asked for a sign of
	// life, and pingTimeout how long that may take.
	pingAfter   = time.Second
	pingTimeout = 2 * time.Second
	// pieceBytes is how much is written at once: what a peer has taken of a long
	// frame is a sign of life.
	pieceBytes = 64 << 10
	// maxUnwritten bounds what is sent and not yet written, in bytes: with more of it
	// the peer takes nothing in.
	maxUnwritten = 16 << 20
	// keptBytes is the largest buffer that is kept for the next frames.
	keptBytes = 1 << 20
)

var (
	// errSilent is a peer that is paused, or cut off.
	errSilent = errors.New("the other node is silent")
	errFull   = errors.New("the other node takes nothing in")
)

// stream is a connection in both directions. Frames that are sent while others are
// being written go together, in one system call.
type stream struct {
	conn net.Conn
	in   *bufio.Reader
	// begin and heard say when the last sign of life came: heard nanoseconds after
	// begin.
	begin time.Time
	heard atomic.Int64

	// mu guards what follows.
	mu sync.Mutex
	// out holds the frames to be written; more gets a signal when it is no longer
	// empty.
	out  []byte
	more chan struct{}
	// last is why the stream is to end once all is written.
	last error
	// err is why the stream has ended; ended is closed then.
	err   error
	ended chan struct{}

	// tasks are the writer and the watch.
	tasks sync.WaitGroup
}

func newStream(conn net.Conn) *stream {
	s := &stream{conn: conn, begin: time.Now(), more: make(chan struct{}, 1), ended: make(chan struct{})}
	s.in = bufio.NewReaderSize(living{s}, pieceBytes)
	s.tasks.Go(s.write)
	s.tasks.Go(s.watch)
	return s
}

// living notes that something came.
type living struct{ *stream }

func (l living) Read(p []byte) (int, error) {
	n, err := l.conn.Read(p)
	l.lives()
	return n, err
}

func (s *stream) lives() { s.heard.Store(int64(time.Since(s.begin))) }

// send has a frame written, and does not wait for that. False means that the
// stream had ended, and not a byte of the frame goes out.
func (s *stream) send(f frame) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.out) > maxUnwritten {
		s.close(errFull)
	}
	if s.err != nil {
		return false
	}
	s.out = f.append(s.out)
	s.wake()
	return true
}

func (s *stream) wake() {
	select {
	case s.more <- struct{}{}:
	default:
	}
}

// write writes what is sent until the stream ends.
func (s *stream) write() {
	var written []byte
	for {
		select {
		case <-s.more:
		case <-s.ended:
			return
		}
		s.mu.Lock()
		frames, last := s.out, s.last
		s.out = written[:0]
		s.mu.Unlock()
		if err := s.pieces(frames); err != nil || last != nil {
			s.end(errors.Join(last, err))
			return
		}
		if written = frames; cap(written) > keptBytes {
			written = nil
		}
	}
}

func (s *stream) pieces(b []byte) error {
	for len(b) > pieceBytes {
		if _, err := s.conn.Write(b[:pieceBytes]); err != nil {
			return err
		}
		b = b[pieceBytes:]
		s.lives()
	}
	_, err := s.conn.Write(b)
	return err
}

// watch asks a silent peer for a sign of life and ends the stream if none comes.
func (s *stream) watch() {
	ticker := time.NewTicker(pingAfter / 2)
	defer ticker.Stop()
	var asked time.Duration
	for {
		select {
		case <-ticker.C:
		case <-s.ended:
			return
		}
		now, heard := time.Since(s.begin), time.Duration(s.heard.Load())
		switch {
		case now-heard < pingAfter:
		case asked <= heard:
			asked = now
			s.send(frame{kind: kindPing})
		case now-asked >= pingTimeout:
			s.end(fmt.Errorf("%w for %v", errSilent, (now - heard).Round(time.Millisecond)))
		}
	}
}

// receive reads the next call or reply, and answers pings.
func (s *stream) receive() (frame, error) {
	for {
		f, err := readFrame(s.in)
		switch {
		case err != nil:
			return f, err
		case f.kind == kindPing:
			s.send(frame{kind: kindPong})
		case f.kind != kindPong:
			return f, nil
		}
	}
}

// finish ends the stream when all that was sent is written.
func (s *stream) finish(reason error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = reason
	s.wake()
}

// end closes the connection. The first reason counts.
func (s *stream) end(reason error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.close(reason)
}

// close is end for a caller that holds mu.
func (s *stream) close(reason error) {
	if s.err != nil {
		return
	}
	s.err = reason
	close(s.ended)
	_ = s.conn.Close()
}

// reason is why the stream has ended.
func (s *stream) reason() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}
