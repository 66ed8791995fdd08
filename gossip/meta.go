package gossip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/memberlist"
)

// Meta is what a node tells the others about itself. Encoded it must fit in
// 512 bytes, which leaves about 300 for what people choose.
type Meta struct {
	// ID is the node's UUID: its identity, and memberlist's own node name.
	ID string
	// Name is for people.
	Name string
	// ClusterID is "" until the node belongs to a cluster.
	ClusterID string
	// HTTPAddr and RaftAddr are host:port, or "" where there is none.
	HTTPAddr string
	RaftAddr string
	// Version is the version of the node's software.
	Version string
	// Expect is how many nodes the node waits for before it bootstraps a
	// cluster with them; 0 means that it never does.
	Expect int
}

var (
	// ErrMeta marks metadata that breaks a rule; the text names the field.
	ErrMeta = errors.New("gossip: bad metadata")

	errMetaForm = fmt.Errorf("%w: not in a form that this version reads", ErrMeta)
)

// The wire form of metadata, all integers big-endian:
//
//	offset  size  field
//	0       1     codec version, metaVersion
//	1       1     flags: bit 0 is set when the node is about to leave
//	2       2     Expect
//	4       …     ID, Name, ClusterID, HTTPAddr, RaftAddr, Version:
//	              each one byte of length and as many bytes of UTF-8
//
// Nothing follows. Each value has one encoding.
const (
	metaVersion    = 1
	metaHeaderSize = 4
	flagLeaving    = 1 << 0
	maxFieldBytes  = math.MaxUint8
)

// field is one of the metadata's strings, with the name that errors use.
type field struct {
	name  string
	value *string
}

// fields lists m's strings in wire order.
func (m *Meta) fields() [6]field {
	return [6]field{
		{"ID", &m.ID},
		{"Name", &m.Name},
		{"ClusterID", &m.ClusterID},
		{"HTTPAddr", &m.HTTPAddr},
		{"RaftAddr", &m.RaftAddr},
		{"Version", &m.Version},
	}
}

// validate reports the first field that breaks a rule, as an [ErrMeta].
func (m *Meta) validate() error {
	if m.ID == "" {
		return fmt.Errorf("%w: ID is empty", ErrMeta)
	}
	if m.Expect < 0 || m.Expect > math.MaxUint16 {
		return fmt.Errorf("%w: Expect is %d; 0 to %d are allowed", ErrMeta, m.Expect, math.MaxUint16)
	}
	for _, f := range m.fields() {
		if len(*f.value) > maxFieldBytes {
			return fmt.Errorf("%w: %s is %d bytes long; at most %d are allowed", ErrMeta, f.name, len(*f.value), maxFieldBytes)
		}
		if !utf8.ValidString(*f.value) || strings.ContainsFunc(*f.value, unicode.IsControl) {
			return fmt.Errorf("%w: %s is not plain UTF-8 text: %q", ErrMeta, f.name, *f.value)
		}
	}
	for _, f := range []field{{"HTTPAddr", &m.HTTPAddr}, {"RaftAddr", &m.RaftAddr}} {
		if _, _, err := net.SplitHostPort(*f.value); *f.value != "" && err != nil {
			return fmt.Errorf("%w: %s is not host:port: %q", ErrMeta, f.name, *f.value)
		}
	}
	return m.validateSize()
}

// validateSize blames the longest field when all of them together are too long.
func (m *Meta) validateSize() error {
	size, longest := metaHeaderSize, field{value: new(string)}
	for _, f := range m.fields() {
		size += 1 + len(*f.value)
		if len(*f.value) > len(*longest.value) {
			longest = f
		}
	}
	if size > memberlist.MetaMaxSize {
		return fmt.Errorf("%w: %s is too long: with its %d bytes the whole is %d, and gossip carries %d",
			ErrMeta, longest.name, len(*longest.value), size, memberlist.MetaMaxSize)
	}
	return nil
}

// encode returns the wire form of m, which must be valid.
func (m *Meta) encode(leaving bool) []byte {
	b := make([]byte, metaHeaderSize, memberlist.MetaMaxSize)
	b[0] = metaVersion
	if leaving {
		b[1] = flagLeaving
	}
	binary.BigEndian.PutUint16(b[2:], uint16(m.Expect))
	for _, f := range m.fields() {
		b = append(b, byte(len(*f.value)))
		b = append(b, *f.value...)
	}
	return b
}

// decodeMeta reads the wire form of metadata, or fails with an [ErrMeta].
func decodeMeta(b []byte) (m Meta, leaving bool, err error) {
	if len(b) < metaHeaderSize || b[0] != metaVersion || b[1]&^flagLeaving != 0 {
		return Meta{}, false, errMetaForm
	}
	leaving = b[1]&flagLeaving != 0
	m.Expect = int(binary.BigEndian.Uint16(b[2:]))
	b = b[metaHeaderSize:]
	for _, f := range m.fields() {
		if len(b) == 0 || len(b)-1 < int(b[0]) {
			return Meta{}, false, errMetaForm
		}
		end := 1 + int(b[0])
		*f.value, b = string(b[1:end]), b[end:]
	}
	if len(b) != 0 {
		return Meta{}, false, errMetaForm
	}
	if err := m.validate(); err != nil {
		return Meta{}, false, err
	}
	return m, leaving, nil
}
