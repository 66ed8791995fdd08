package wire

import (
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/oncelog/oncelog"
)

// AppendEvent appends an event as a publisher sends it. The payload is checked
// and made compact on the way, so that no payload can reach beyond its own
// braces; for the other fields, see [oncelog.Event.Validate].
func AppendEvent(dst []byte, e *oncelog.Event) ([]byte, error) {
	start := len(dst)
	dst = append(dst, '{')
	dst = appendFields(dst, e)
	dst, err := AppendPayload(dst, e.Payload)
	if err != nil {
		return dst[:start], err
	}
	return append(dst, '}'), nil
}

// appendFields appends an event's members up to the name of the last one, the
// payload.
func appendFields(dst []byte, e *oncelog.Event) []byte {
	dst = append(dst, `"topic":`...)
	dst = appendString(dst, e.Topic)
	dst = append(dst, `,"event_id":`...)
	dst = appendString(dst, e.EventID)
	dst = append(dst, `,"timestamp":`...)
	dst = appendTime(dst, e.Timestamp)
	dst = append(dst, `,"source":`...)
	dst = appendString(dst, e.Source)
	return append(dst, `,"payload":`...)
}

// AppendRecord appends a stored event.
func AppendRecord(dst []byte, r *oncelog.Record) []byte {
	dst = append(dst, `{"id":`...)
	dst = strconv.AppendUint(dst, r.ID, 10)
	dst = append(dst, ',')
	dst = appendFields(dst, &r.Event)
	dst = append(dst, r.Payload...)
	dst = append(dst, `,"processed_at":`...)
	dst = appendTime(dst, r.ProcessedAt)
	return append(dst, '}')
}

// AppendReceipt appends the answer to one event.
func AppendReceipt(dst []byte, r *oncelog.Receipt) []byte {
	dst = append(dst, `{"status":"`...)
	dst = append(dst, r.Status.String()...)
	dst = append(dst, `","topic":`...)
	dst = appendString(dst, r.Topic)
	dst = append(dst, `,"event_id":`...)
	dst = appendString(dst, r.EventID)
	dst = append(dst, `,"id":`...)
	dst = strconv.AppendUint(dst, r.ID, 10)
	if r.Status == oncelog.Duplicate {
		dst = append(dst, `,"conflict":`...)
		dst = strconv.AppendBool(dst, r.Conflict)
	}
	return append(dst, '}')
}

// AppendBatchHead appends the answer to a batch up to its results: receipts
// joined with commas and AppendBatchTail go behind it. Without results it is the
// whole answer.
func AppendBatchHead(dst []byte, receipts []oncelog.Receipt, results bool) []byte {
	stored := 0
	for i := range receipts {
		if receipts[i].Status == oncelog.Stored {
			stored++
		}
	}
	dst = append(dst, `{"received":`...)
	dst = strconv.AppendInt(dst, int64(len(receipts)), 10)
	dst = append(dst, `,"stored":`...)
	dst = strconv.AppendInt(dst, int64(stored), 10)
	dst = append(dst, `,"duplicates":`...)
	dst = strconv.AppendInt(dst, int64(len(receipts)-stored), 10)
	if results {
		return append(dst, `,"results":[`...)
	}
	return append(dst, '}')
}

// AppendBatchTail appends what follows the last result of a batch.
func AppendBatchTail(dst []byte) []byte { return append(dst, "]}"...) }

// AppendQueued appends the answer to one event that is only queued yet.
func AppendQueued(dst []byte, eventID string) []byte {
	dst = append(dst, `{"status":"queued","event_id":`...)
	dst = appendString(dst, eventID)
	return append(dst, '}')
}

// AppendQueuedBatch appends the answer to n events that are only queued yet.
func AppendQueuedBatch(dst []byte, n int) []byte {
	dst = append(dst, `{"status":"queued","received":`...)
	dst = strconv.AppendInt(dst, int64(n), 10)
	return append(dst, '}')
}

// AppendInvalidLine appends the answer to a line of a stream that is no event.
// Lines are counted from 1.
func AppendInvalidLine(dst []byte, line int, faults []oncelog.FieldError) []byte {
	dst = append(dst, `{"status":"invalid","line":`...)
	dst = strconv.AppendInt(dst, int64(line), 10)
	dst = append(dst, ',')
	dst = appendFaults(dst, faults)
	return append(dst, '}')
}

// AppendErrorLine appends the last answer of a stream that could not go on.
// Neither line nor any line after it is answered.
func AppendErrorLine(dst []byte, line int, p *Problem) []byte {
	dst = append(dst, `{"status":"error","line":`...)
	dst = strconv.AppendInt(dst, int64(line), 10)
	dst = append(dst, ',')
	dst = p.appendMembers(dst)
	return append(dst, '}')
}

func appendFaults(dst []byte, faults []oncelog.FieldError) []byte {
	dst = append(dst, `"errors":[`...)
	for i, f := range faults {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"pointer":`...)
		dst = appendString(dst, f.Pointer)
		dst = append(dst, `,"detail":`...)
		dst = appendString(dst, f.Detail)
		dst = append(dst, '}')
	}
	return append(dst, ']')
}

// appendTime appends a time in UTC, to the nanosecond, without trailing zeros.
func appendTime(dst []byte, t time.Time) []byte {
	dst = append(dst, '"')
	dst = t.UTC().AppendFormat(dst, time.RFC3339Nano)
	return append(dst, '"')
}

// appendString appends a string token. Strings without an escape, nearly all of
// them, are copied as they are.
func appendString(dst []byte, s string) []byte {
	for i := range len(s) {
		if !plain[s[i]] {
			// An error could only be invalid UTF-8, which is then replaced: the
			// text is for people, or has passed Validate.
			dst, _ = jsontext.AppendQuote(dst, s)
			return dst
		}
	}
	dst = append(dst, '"')
	dst = append(dst, s...)
	return append(dst, '"')
}
