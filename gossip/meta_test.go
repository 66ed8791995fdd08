package gossip

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func fullMeta() Meta {
	return Meta{
		ID: "0196a3a0-0000-7000-8000-000000000001", Name: "n1", ClusterID: "0196a3a0-0000-7000-8000-000000000002",
		HTTPAddr: "127.0.0.1:8080", RaftAddr: "[::1]:7000", Version: "v1.2.3", Expect: 3,
	}
}

func TestMetaRoundTrip(t *testing.T) {
	t.Parallel()
	for _, want := range []Meta{fullMeta(), {ID: "x"}} {
		for _, wantLeaving := range []bool{false, true} {
			got, leaving, err := decodeMeta(want.encode(wantLeaving))
			require.NoError(t, err)
			require.Equal(t, want, got)
			require.Equal(t, wantLeaving, leaving)
		}
	}
}

// The bytes are what nodes of other versions read: a change here is a change of
// the protocol.
func TestMetaGolden(t *testing.T) {
	t.Parallel()
	m := Meta{ID: "id", Name: "n", ClusterID: "c", HTTPAddr: "h:1", RaftAddr: "r:2", Version: "v", Expect: 3}
	require.Equal(t, "\x01\x00\x00\x03\x02id\x01n\x01c\x03h:1\x03r:2\x01v", string(m.encode(false)))
}

func TestMetaValidateNamesTheField(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		want  string
		spoil func(*Meta)
	}{
		{"ID is empty", func(m *Meta) { m.ID = "" }},
		{"Name is 256 bytes long", func(m *Meta) { m.Name = strings.Repeat("x", 256) }},
		{"HTTPAddr is too long", func(m *Meta) {
			m.HTTPAddr = strings.Repeat("h", 240) + ":8080"
			m.RaftAddr = strings.Repeat("h", 230) + ":7000"
		}},
		{"Name is not plain", func(m *Meta) { m.Name = "a\nb" }},
		{"Version is not plain", func(m *Meta) { m.Version = "\xff" }},
		{"RaftAddr is not host:port", func(m *Meta) { m.RaftAddr = "nonsense" }},
		{"Expect is -1", func(m *Meta) { m.Expect = -1 }},
		{"Expect is 65536", func(m *Meta) { m.Expect = 65536 }},
	} {
		t.Run(tc.want, func(t *testing.T) {
			t.Parallel()
			m := fullMeta()
			tc.spoil(&m)
			err := m.validate()
			require.ErrorIs(t, err, ErrMeta)
			require.ErrorContains(t, err, tc.want)
			_, err = Start(Config{BindAddr: "127.0.0.1:0", Meta: m})
			require.ErrorContains(t, err, tc.want)
		})
	}
}

func TestDecodeMetaIsStrict(t *testing.T) {
	t.Parallel()
	whole := fullMeta()
	b := whole.encode(false)
	for n := range b {
		_, _, err := decodeMeta(b[:n])
		require.ErrorIs(t, err, ErrMeta, "cut to %d bytes", n)
	}
	_, _, err := decodeMeta(append(b, 0))
	require.ErrorIs(t, err, ErrMeta, "a byte too many")
	for i, v := range []byte{metaVersion + 1, flagLeaving << 1} {
		changed := whole.encode(false)
		changed[i] = v
		_, _, err := decodeMeta(changed)
		require.ErrorIs(t, err, ErrMeta, "unknown version or flag")
	}
}

func FuzzDecodeMeta(f *testing.F) {
	m := fullMeta()
	f.Add(m.encode(false))
	f.Add(m.encode(true))
	f.Add([]byte{metaVersion, 0, 0, 0, 1, 'x', 0, 0, 0, 0, 0})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, leaving, err := decodeMeta(b)
		if err != nil {
			require.ErrorIs(t, err, ErrMeta)
			return
		}
		require.Equal(t, b, m.encode(leaving), "each value has one encoding")
	})
}
