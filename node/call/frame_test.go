package call

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFramesComeAsTheyWereSent(t *testing.T) {
	t.Parallel()
	frames := []frame{
		{number: 1, kind: kindCall, code: 255, millis: 1 << 31, body: []byte("body")},
		{kind: kindPing, body: []byte{}},
		{number: 1<<64 - 1, kind: kindReply, body: make([]byte, 100_000)},
		{kind: kindPong, body: []byte{}},
	}
	var text []byte
	for _, f := range frames {
		text = f.append(text)
	}
	r := bufio.NewReader(bytes.NewReader(text))
	for _, want := range frames {
		got, err := readFrame(r)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	_, err := readFrame(r)
	require.Equal(t, io.EOF, err, "the end is proper between frames")
	long := binary.BigEndian.AppendUint32(nil, MaxBody+1)
	_, err = readFrame(bufio.NewReader(bytes.NewReader(append(long, text[4:]...))))
	require.ErrorIs(t, err, errBadFrame)
	require.ErrorContains(t, err, "8388609 bytes", "it is not waited for")
	for cut := 1; cut < headSize+4; cut++ {
		_, err := readFrame(bufio.NewReader(bytes.NewReader(text[:cut])))
		require.ErrorIs(t, err, errBadFrame, "cut off after %d bytes", cut)
	}
}

func FuzzReadFrame(f *testing.F) {
	f.Add([]byte(nil))
	f.Add((&frame{number: 7, kind: kindCall, code: 2, millis: 1000, body: []byte("a batch")}).append(nil))
	f.Add(bytes.Repeat((&frame{kind: kindPing}).append(nil), 3))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n........"))
	f.Fuzz(func(t *testing.T, text []byte) {
		r := bufio.NewReader(bytes.NewReader(text))
		var again []byte
		for {
			got, err := readFrame(r)
			if err != nil {
				require.True(t, errors.Is(err, io.EOF) || errors.Is(err, errBadFrame), "%v", err)
				break
			}
			again = got.append(again)
		}
		require.True(t, bytes.HasPrefix(text, again), "what was read is what was there")
	})
}
