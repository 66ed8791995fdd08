package httpapi

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// feed reads a stream ahead of its consumer, so that everything that has arrived
// while one batch was on its way becomes the next batch. It reads at most
// feedBytes ahead; then the peer has to wait.
//
// Its goroutine is started by newFeed and ends with the stream; close ends it
// early and waits for it.
type feed struct {
	src         io.Reader
	rc          *http.ResponseController
	stall, idle time.Duration
	done        chan struct{}

	// mu guards what follows.
	mu sync.Mutex
	// changed is signalled when pending or err or cut have changed.
	changed sync.Cond
	pending []byte
	// err is why the stream has ended: io.EOF at its proper end.
	err error
	// cut says that nothing more shall be read; the read deadline then stays
	// as it is.
	cut bool
}

// feedBytes is how much of a stream is read ahead, and so joined in one batch.
const feedBytes = 256 << 10

// streamBytes is what a stream takes of the memory for bodies: what is read
// ahead, what is being cut into lines, and what was decoded from that.
const streamBytes = 3 * feedBytes

var errCut = errors.New("the stream was cut off")

func newFeed(src io.Reader, rc *http.ResponseController, stall, idle time.Duration) *feed {
	f := &feed{src: src, rc: rc, stall: stall, idle: idle, done: make(chan struct{})}
	f.changed.L = &f.mu
	go f.run()
	return f
}

func (f *feed) run() {
	defer close(f.done)
	buf := make([]byte, progressBytes)
	pace := pacer{feed: f, between: true}
	for {
		pace.before()
		n, err := f.src.Read(buf)
		pace.after(buf[:n])
		if !f.put(buf[:n], err) {
			return
		}
	}
}

// put hands over what was read. It answers false when there is no more to read.
func (f *feed) put(text []byte, err error) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.pending)+len(text) > feedBytes && !f.cut {
		f.changed.Wait()
	}
	f.pending = append(f.pending, text...)
	if err == nil && f.cut {
		err = errCut
	}
	if errors.Is(err, io.EOF) && !f.cut {
		// The connection goes on to the next request.
		_ = f.rc.SetReadDeadline(time.Time{})
	}
	f.err = err
	f.changed.Broadcast()
	return err == nil
}

// take appends to dst all that has arrived, once there is anything, or answers
// why nothing more will come.
func (f *feed) take(dst []byte) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.pending) == 0 && f.err == nil {
		f.changed.Wait()
	}
	if len(f.pending) == 0 {
		return dst, f.err
	}
	dst = append(dst, f.pending...)
	f.pending = f.pending[:0]
	f.changed.Broadcast()
	return dst, nil
}

// interrupt makes the stream end where it is, after at most d.
func (f *feed) interrupt(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cut = true
	if f.err == nil {
		extendRead(f.rc, d)
	}
	f.changed.Broadcast()
}

// close ends the reading.
func (f *feed) close() {
	f.interrupt(0)
	<-f.done
}

// linger reads and drops what the peer still sends, for at most d, so that it
// gets to read the last answer: closing a connection with unread data in it
// destroys what is on its way to the peer.
func (f *feed) linger(d time.Duration) {
	f.interrupt(d)
	<-f.done
	if errors.Is(f.err, errCut) {
		_, _ = io.Copy(io.Discard, f.src)
	}
}

// extend gives the peer d from now on, unless the stream has been cut.
func (f *feed) extend(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.cut {
		extendRead(f.rc, d)
	}
}

// pacer sets the read deadlines of a stream: between two lines a peer may be
// idle; a line that has begun has to get on.
type pacer struct {
	feed    *feed
	between bool
	credit  int
}

func (p *pacer) before() {
	switch {
	case p.between:
		p.feed.extend(p.feed.idle)
	case p.credit <= 0:
		p.feed.extend(p.feed.stall)
		p.credit = progressBytes
	}
}

func (p *pacer) after(text []byte) {
	if len(text) == 0 {
		return
	}
	p.credit -= len(text)
	if p.between || bytes.IndexByte(text, '\n') >= 0 {
		p.credit = 0
	}
	p.between = text[len(text)-1] == '\n'
}
