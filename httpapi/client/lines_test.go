package client

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog/httpapi/wire"
)

// all reads a stream to its end.
func (l *lines) all() (text []string, err error) {
	for {
		line, err := l.next()
		if err != nil {
			return text, err
		}
		text = append(text, string(line))
	}
}

func TestLines(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 3*lineBuffer)
	for name, c := range map[string]struct {
		text string
		want []string
		err  error
	}{
		"none":        {"", nil, io.EOF},
		"one":         {"a\n", []string{"a"}, io.EOF},
		"empty ones":  {"\n\nb\n", []string{"", "", "b"}, io.EOF},
		"half a line": {"a\nb", []string{"a"}, io.ErrUnexpectedEOF},
		"long":        {"a\n" + long + "\nb\n", []string{"a", long, "b"}, io.EOF},
		"half a long": {long, nil, io.ErrUnexpectedEOF},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, src := range []io.Reader{
				strings.NewReader(c.text), iotest.HalfReader(strings.NewReader(c.text)), iotest.DataErrReader(strings.NewReader(c.text)),
			} {
				l := newLines()
				l.reset(src)
				got, err := l.all()
				require.ErrorIs(t, err, c.err)
				require.Equal(t, c.want, got)
			}
		})
	}
}

func TestALineIsBounded(t *testing.T) {
	t.Parallel()
	l := newLines()
	l.reset(endless{})
	_, err := l.next()
	require.ErrorIs(t, err, wire.ErrAnswer)
	require.LessOrEqual(t, len(l.buf), 2*maxLineBytes)

	l.reset(strings.NewReader("a\n"))
	require.LessOrEqual(t, len(l.buf), lineBuffer, "what a long line took is given back")
	got, err := l.all()
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, []string{"a"}, got)
}

// endless is a line without an end.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

func TestLinesPassOnAFailure(t *testing.T) {
	t.Parallel()
	failure := errors.New("the connection is lost")
	l := newLines()
	l.reset(io.MultiReader(strings.NewReader("a\nb"), iotest.ErrReader(failure)))
	got, err := l.all()
	require.ErrorIs(t, err, failure)
	require.Equal(t, []string{"a"}, got)
}

// FuzzLines: however a stream comes in, its lines are those between line feeds.
func FuzzLines(f *testing.F) {
	f.Add([]byte("a\nbc\n\nd"), uint64(1))
	f.Add(bytes.Repeat([]byte("x"), leastLineBuffer), uint64(2))
	f.Fuzz(func(t *testing.T, text []byte, seed uint64) {
		l := newLines()
		l.reset(pieces{bytes.NewReader(text), rand.New(rand.NewPCG(seed, 0))})
		got, err := l.all()
		want := strings.Split(string(text), "\n")
		rest := want[len(want)-1]
		require.Equal(t, want[:len(want)-1], append([]string{}, got...))
		if rest == "" {
			require.ErrorIs(t, err, io.EOF)
		} else {
			require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		}
	})
}

// pieces reads in pieces of any size.
type pieces struct {
	io.Reader
	chance *rand.Rand
}

func (r pieces) Read(p []byte) (int, error) { return r.Reader.Read(p[:1+r.chance.IntN(len(p))]) }
