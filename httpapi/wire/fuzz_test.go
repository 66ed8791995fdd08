package wire_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/httpapi/wire"
)

// FuzzEvent holds the scanner against another parser of I-JSON, and what it read
// against what it reads of that again.
func FuzzEvent(f *testing.F) {
	for _, v := range verdicts {
		if len(v.text) < 1<<16 {
			f.Add([]byte(v.text))
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var d wire.Decoder
		original := bytes.Clone(text)
		e, err := d.Event(text)
		require.Equal(t, original, text, "the text is the caller's")
		valid := jsontext.Value(text).IsValid()
		switch {
		case errors.Is(err, wire.ErrNotJSON):
			require.False(t, valid)
			return
		case errors.Is(err, oncelog.ErrInvalid), errors.Is(err, oncelog.ErrTooLarge):
			return
		}
		require.NoError(t, err)
		require.True(t, valid)
		require.NoError(t, e.Validate())
		requireSameNames(t, text, &e)

		again, err := wire.AppendEvent(nil, &e)
		require.NoError(t, err)
		second, err := d.Event(again)
		require.NoError(t, err)
		require.Equal(t, e, second)
		batch, err := d.Batch(nil, []byte("["+string(text)+","+string(again)+"]"))
		require.NoError(t, err)
		require.Equal(t, []oncelog.Event{e, e}, batch)
	})
}

// requireSameNames reads the names with another parser: two texts can then be of
// one id for one parser only if they are for the other.
func requireSameNames(t *testing.T, text []byte, e *oncelog.Event) {
	t.Helper()
	got := map[string]string{}
	dec := jsontext.NewDecoder(bytes.NewReader(text))
	_, err := dec.ReadToken()
	require.NoError(t, err)
	for dec.PeekKind() != '}' {
		token, err := dec.ReadToken()
		require.NoError(t, err)
		name := token.String()
		value, err := dec.ReadValue()
		require.NoError(t, err)
		if name == "payload" {
			require.NoError(t, value.Compact(jsontext.PreserveRawStrings(true)))
			require.Equal(t, string(value), string(e.Payload))
			continue
		}
		unquoted, err := jsontext.AppendUnquote(nil, value)
		require.NoError(t, err)
		got[name] = string(unquoted)
	}
	require.Equal(t, e.Topic, got["topic"])
	require.Equal(t, e.EventID, got["event_id"])
	require.Equal(t, e.Source, got["source"])
}

// FuzzCompactPayload holds the verdict on any JSON text against another parser.
func FuzzCompactPayload(f *testing.F) {
	for _, seed := range []string{
		`{}`, ` { "a" : [ 1.5e-7 , true , null , "\ud83d\ude00" ] } `, `{"a":{"a":{"b":1,"b":2}}}`, `[`, `-`, `{"a":-0.0E+1}`,
		`{"":"\u00e9\ud800x"}`, "{\"a\":\"\xf0\x9f\x98\"}", nested(64), nested(65), `{"a":1}{`, "\ufeff{}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := wire.CompactPayload(text)
		valid := jsontext.Value(text).IsValid()
		switch {
		case errors.Is(err, wire.ErrNotJSON):
			require.False(t, valid)
		case err == nil:
			require.True(t, valid)
			want := jsontext.Value(bytes.Clone(text))
			require.NoError(t, want.Compact(jsontext.PreserveRawStrings(true)))
			require.Equal(t, string(want), string(got))
		case !bytes.Contains(text, []byte("[[")) && !bytes.Contains(text, []byte(`:{`)) && len(text) < 64:
			require.True(t, valid, "only a text that is JSON is judged as a payload")
		}
	})
}

// FuzzAnswers feeds the readers of answers, which must refuse and never panic.
func FuzzAnswers(f *testing.F) {
	r := record(3)
	f.Add(wire.AppendRecord(nil, &r))
	receipt := oncelog.Receipt{Key: r.Key(), Status: oncelog.Duplicate, ID: 7, Conflict: true}
	f.Add(wire.AppendReceipt(nil, &receipt))
	f.Add([]byte(`{"received":1,"stored":1,"duplicates":0,"results":[{"status":"stored","topic":"a","event_id":"b","id":1}]}`))
	f.Add(wire.AppendLeave(nil, wire.Leave{Node: "n3", Force: true}))
	f.Add([]byte(`{"status":"invalid","line":7,"errors":[{"pointer":"","detail":"x"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var d wire.Decoder
		if rec, err := d.Record(text); err == nil {
			again, err := d.Record(wire.AppendRecord(nil, &rec))
			require.NoError(t, err)
			require.Equal(t, rec, again)
		}
		if got, err := d.Receipt(text); err == nil && got.Status == oncelog.Duplicate {
			again, err := d.Receipt(wire.AppendReceipt(nil, &got))
			require.NoError(t, err)
			require.Equal(t, got, again)
		}
		_, _ = d.BatchAnswer(text)
		_, _ = d.Transfer(text)
		if l, err := d.Leave(text); err == nil {
			again, err := d.Leave(wire.AppendLeave(nil, l))
			require.NoError(t, err)
			require.Equal(t, l, again)
		}
		_, _ = wire.DecodeDeparture(text)
		_, _ = wire.DecodeProblem(text)
		_, _ = wire.DecodeStats(text)
		_, _ = wire.DecodeCluster(text)
		_, _ = wire.DecodeLeader(text)
	})
}

// TestSameVerdictInEachForm draws events, good and damaged, and gives their text
// to the decoder alone, and among others in a batch.
func TestSameVerdictInEachForm(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := drawText(t)
		var d wire.Decoder
		alone, err := d.Event([]byte(text))
		before := rapid.IntRange(0, 3).Draw(t, "before")
		body := "[" + string(bytes.Repeat([]byte(good+","), before)) + text + "]"
		batch, batchErr := d.Batch(nil, []byte(body))
		if err == nil {
			require.NoError(t, batchErr)
			require.Equal(t, alone, batch[before])
			return
		}
		for _, verdict := range []error{wire.ErrNotJSON, oncelog.ErrInvalid, oncelog.ErrTooLarge} {
			require.Equal(t, errors.Is(err, verdict), errors.Is(batchErr, verdict), "%v and %v", err, batchErr)
		}
	})
}

func drawText(t *rapid.T) string {
	name := rapid.StringN(1, 60, 255)
	e := oncelog.Event{
		Topic: name.Draw(t, "topic"), EventID: name.Draw(t, "event_id"), Source: name.Draw(t, "source"),
		Timestamp: time.Unix(0, rapid.Int64Range(-9e18, 9e18).Draw(t, "timestamp")).UTC(),
		Payload:   []byte(`{"a":[1,{"b":"\u0041"}]}`),
	}
	text, err := wire.AppendEvent(nil, &e)
	require.NoError(t, err)
	damage := rapid.SampledFrom([]string{"", "", "null", "\"", "{", "}", "\\u0000", "\xff", ",", "x", " "}).Draw(t, "damage")
	// Damage stays inside the braces: behind them a text is no single element.
	at := rapid.IntRange(1, len(text)-1).Draw(t, "at")
	return string(text[:at]) + damage + string(text[at:])
}
