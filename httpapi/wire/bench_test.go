package wire_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/httpapi/wire"
)

// eventText is an event of about 300 bytes, as loads send them.
func eventText(i int) string {
	return fmt.Sprintf(`{"topic":"order","event_id":"d70a57dd-d445-4138-ba76-%012d","timestamp":"2025-12-19T06:36:16.388Z",`+
		`"source":"postman","payload":{"message":"a message of ordinary length, as people write them","value":%d,`+
		`"tags":["alpha","beta","gamma"],"nested":{"ok":true,"ratio":0.25,"note":null}}}`, i, i)
}

func batchText(n int) []byte {
	events := make([]string, n)
	for i := range events {
		events[i] = eventText(i)
	}
	return []byte("[" + strings.Join(events, ",") + "]")
}

func record(i int) oncelog.Record {
	return oncelog.Record{
		ID: uint64(i + 1),
		Event: oncelog.Event{
			Topic: "order", EventID: fmt.Sprintf("d70a57dd-d445-4138-ba76-%012d", i), Source: "postman",
			Timestamp: time.Date(2025, 12, 19, 6, 36, 16, 388_000_000, time.UTC),
			Payload:   []byte(`{"message":"a message of ordinary length, as people write them","value":100}`),
		},
		ProcessedAt: time.Date(2025, 12, 19, 6, 36, 17, 123_456_789, time.UTC),
	}
}

func perSecond(b *testing.B, events int) {
	b.Helper()
	b.ReportMetric(float64(b.N*events)/b.Elapsed().Seconds(), "events/s")
}

func BenchmarkDecodeEvent(b *testing.B) {
	text := []byte(eventText(1))
	var d wire.Decoder
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Event(text); err != nil {
			b.Fatal(err)
		}
	}
	perSecond(b, 1)
}

func BenchmarkDecodeBatch1000(b *testing.B) {
	text := batchText(1000)
	var d wire.Decoder
	var events []oncelog.Event
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if events, err = d.Batch(events[:0], text); err != nil {
			b.Fatal(err)
		}
	}
	perSecond(b, 1000)
}

func BenchmarkAppendReceipts1000(b *testing.B) {
	receipts := make([]oncelog.Receipt, 1000)
	for i := range receipts {
		r := record(i)
		receipts[i] = oncelog.Receipt{Key: r.Key(), Status: oncelog.Stored, ID: r.ID}
	}
	var text []byte
	b.ReportAllocs()
	for b.Loop() {
		text = wire.AppendBatchHead(text[:0], receipts, true)
		for i := range receipts {
			text = wire.AppendReceipt(text, &receipts[i])
		}
	}
	perSecond(b, 1000)
}

func BenchmarkAppendRecord(b *testing.B) {
	r := record(1)
	var text []byte
	b.ReportAllocs()
	for b.Loop() {
		text = wire.AppendRecord(text[:0], &r)
	}
	b.SetBytes(int64(len(text)))
	perSecond(b, 1)
}

func BenchmarkDecodeRecord(b *testing.B) {
	r := record(1)
	text := wire.AppendRecord(nil, &r)
	var d wire.Decoder
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Record(text); err != nil {
			b.Fatal(err)
		}
	}
	perSecond(b, 1)
}

func BenchmarkAppendEvent(b *testing.B) {
	r := record(1)
	var text []byte
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if text, err = wire.AppendEvent(text[:0], &r.Event); err != nil {
			b.Fatal(err)
		}
	}
	perSecond(b, 1)
}
