package store

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/oncelog/oncelog"
)

// recordHeader is the length of a record's fixed part. A record is the stored
// form of one event, made once by the node that takes the request:
//
//	 0  i64  timestamp, nanoseconds since 1970
//	 8  u64  first 8 bytes of the payload's SHA-256
//	16  u32  payload length p
//	20  u8   topic length t, 1 to 255
//	21  u8   event id length e, 1 to 255
//	22  u8   source length s, 1 to 255
//	23  u8   0
//	24       topic (t), event id (e), source (s), payload (p)
const recordHeader = 24

// rawRecord is exactly one well-formed record.
type rawRecord []byte

// AppendRecord appends the stored form of e to dst. The event has passed
// [oncelog.Event.Validate]; nothing is checked again.
func AppendRecord(dst []byte, e *oncelog.Event) []byte {
	digest := sha256.Sum256(e.Payload)
	dst = binary.BigEndian.AppendUint64(dst, uint64(e.Timestamp.UnixNano()))
	dst = append(dst, digest[:8]...)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(e.Payload)))
	dst = append(dst, byte(len(e.Topic)), byte(len(e.EventID)), byte(len(e.Source)), 0)
	dst = append(dst, e.Topic...)
	dst = append(dst, e.EventID...)
	dst = append(dst, e.Source...)
	return append(dst, e.Payload...)
}

// CountRecords checks that records is a concatenation of well-formed records and
// returns their number. Anything else is an [oncelog.ErrCorrupt]. It does not
// check that a payload's hash is the payload's, which costs as much as making it.
func CountRecords(records []byte) (int, error) {
	n := 0
	for at := 0; at < len(records); n++ {
		r, err := firstRecord(records[at:])
		if err != nil {
			return 0, fmt.Errorf("record at byte %d: %w", at, err)
		}
		at += len(r)
	}
	return n, nil
}

// firstRecord returns the record at the head of b.
func firstRecord(b []byte) (rawRecord, error) {
	if len(b) < recordHeader {
		return nil, fmt.Errorf("%w: header cut off after %d bytes", oncelog.ErrCorrupt, len(b))
	}
	payload := binary.BigEndian.Uint32(b[16:])
	topic, eventID, source, reserved := b[20], b[21], b[22], b[23]
	switch {
	case payload > oncelog.MaxPayloadBytes:
		return nil, fmt.Errorf("%w: payload of %d bytes", oncelog.ErrCorrupt, payload)
	case topic == 0 || eventID == 0 || source == 0:
		return nil, fmt.Errorf("%w: an empty name", oncelog.ErrCorrupt)
	case reserved != 0:
		return nil, fmt.Errorf("%w: reserved byte is %d", oncelog.ErrCorrupt, reserved)
	}
	size := recordHeader + int(topic) + int(eventID) + int(source) + int(payload)
	if size > len(b) {
		return nil, fmt.Errorf("%w: %d of %d bytes", oncelog.ErrCorrupt, len(b), size)
	}
	return b[:size:size], nil
}

func (r rawRecord) timestamp() int64    { return int64(binary.BigEndian.Uint64(r)) }
func (r rawRecord) payloadHash() uint64 { return binary.BigEndian.Uint64(r[8:]) }

// ends returns where the topic, the event id and the source end.
func (r rawRecord) ends() (topic, eventID, source int) {
	topic = recordHeader + int(r[20])
	eventID = topic + int(r[21])
	return topic, eventID, eventID + int(r[22])
}

func (r rawRecord) topic() []byte {
	topic, _, _ := r.ends()
	return r[recordHeader:topic]
}

func (r rawRecord) eventID() []byte {
	topic, eventID, _ := r.ends()
	return r[topic:eventID]
}

func (r rawRecord) source() []byte {
	_, eventID, source := r.ends()
	return r[eventID:source]
}

func (r rawRecord) payload() []byte {
	_, _, source := r.ends()
	return r[source:]
}
