package main

import (
	"bytes"
	"context"
	"os"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// programVariable makes the test binary the program itself, for the commands that
// start nodes as processes.
const programVariable = "RUN_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(programVariable) != "" {
		main()
	}
	goleak.VerifyTestMain(m)
}

// screen is an output that can be read while it is written.
type screen struct {
	// mu guards text.
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// find waits for what matches and returns its first group.
func (s *screen) find(t *testing.T, pattern string) string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	require.Eventually(t, func() bool { return re.MatchString(s.String()) }, time.Minute, 10*time.Millisecond, "%s", pattern)
	groups := re.FindStringSubmatch(s.String())
	return groups[len(groups)-1]
}

// finished is a command that has ended.
type finished struct {
	status   int
	out, err string
}

// do runs a command to its end.
func do(t *testing.T, stdin string, args ...string) finished {
	t.Helper()
	var out, err screen
	status := run(t.Context(), args, strings.NewReader(stdin), &out, &err)
	return finished{status, out.String(), err.String()}
}

// good runs a command that ends well and returns its output.
func good(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	f := do(t, stdin, args...)
	require.Zero(t, f.status, "%v\n%s\n%s", args, f.out, f.err)
	return f.out
}

// running is a command under way.
type running struct {
	out, err screen
	stop     context.CancelFunc
	status   chan int
}

// begin runs a command that is stopped at the end of the test, if not before.
func begin(t *testing.T, args ...string) *running {
	t.Helper()
	r := &running{status: make(chan int, 1)}
	ctx, stop := context.WithCancel(t.Context())
	r.stop = stop
	go func() { r.status <- run(ctx, args, strings.NewReader(""), &r.out, &r.err) }()
	t.Cleanup(func() {
		stop()
		select {
		case status := <-r.status:
			r.status <- status
		case <-time.After(time.Minute):
			t.Errorf("%v does not stop:\n%s", args, r.err.String())
		}
		if t.Failed() {
			t.Logf("%v\n%s\n%s", args, r.out.String(), r.err.String())
		}
	})
	return r
}

// end stops the command, as a signal does, and returns its exit status.
func (r *running) end() int {
	r.stop()
	status := <-r.status
	r.status <- status
	return status
}

// failingWriter is an output whose disk is full.
type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

// What could not be shown is a failure, be it only a table.
func TestAnOutputThatFails(t *testing.T) {
	t.Parallel()
	for _, form := range []string{outputTable, outputJSON} {
		var said screen
		require.Equal(t, exitFailed, run(t.Context(), []string{"version", "--output", form}, strings.NewReader(""), failingWriter{}, &said))
		require.Contains(t, said.String(), "no space left on device")
	}
}

func TestNothingToPublish(t *testing.T) {
	t.Parallel()
	f := do(t, "", "publish")
	require.Equal(t, finished{status: exitGood, err: "no events: there was nothing to publish\n"}, f)
}
