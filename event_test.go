package oncelog_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
)

func valid() oncelog.Event {
	return oncelog.Event{
		Topic: "order", EventID: "d70a", Source: "shop",
		Timestamp: time.Date(2025, 12, 19, 6, 36, 16, 0, time.UTC), Payload: []byte(`{}`),
	}
}

func TestValidateTakesWhatTheRulesAllow(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a", strings.Repeat("x", 255), " spaces stay ", "größe", "日本", "a\u00a0b", "\ufffd", "\u2028"} {
		e := valid()
		e.Topic, e.EventID, e.Source = name, name, name
		require.NoError(t, e.Validate(), "%q", name)
	}
	e := valid()
	e.Payload = []byte(`{"a":"` + strings.Repeat("x", oncelog.MaxPayloadBytes-8) + `"}`)
	require.Len(t, e.Payload, oncelog.MaxPayloadBytes)
	require.NoError(t, e.Validate())
}

func TestValidateNamesEachFieldAtFault(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"":                       "must not be empty",
		strings.Repeat("x", 256): "is 256 bytes long; at most 255",
		"a\x00":                  "control character U+0000 at byte 1",
		"a\nb":                   "control character U+000A at byte 1",
		"\x7f":                   "control character U+007F",
		"a\u0085":                "control character U+0085",
		"\u009f":                 "control character U+009F",
		"a\xffb":                 "not valid UTF-8 at byte 1",
	} {
		e := valid()
		e.Topic, e.EventID, e.Source = name, name, name
		var fault *oncelog.ValidationError
		require.ErrorAs(t, e.Validate(), &fault, "%q", name)
		require.ErrorIs(t, fault, oncelog.ErrInvalid)
		require.Len(t, fault.Fields, 3)
		for i, pointer := range []string{"/topic", "/event_id", "/source"} {
			require.Equal(t, pointer, fault.Fields[i].Pointer)
			require.Contains(t, fault.Fields[i].Detail, want)
		}
	}
	e := oncelog.Event{}
	require.EqualError(t, e.Validate(), "not an event: /topic must not be empty; /event_id must not be empty; /timestamp is in the year 1; only 1678 to 2261 are kept; …")
}

func TestValidationErrorInWords(t *testing.T) {
	t.Parallel()
	whole := &oncelog.ValidationError{Fields: []oncelog.FieldError{{Detail: "must be a JSON object"}}}
	require.EqualError(t, whole, "not an event: must be a JSON object")
	field := oncelog.FieldError{Pointer: "/3/source", Detail: "is required"}
	four := &oncelog.ValidationError{Fields: []oncelog.FieldError{field, field, field, field}}
	require.EqualError(t, four, "not an event: /3/source is required; /3/source is required; /3/source is required; …")
}

func TestValidateBoundsThePayload(t *testing.T) {
	t.Parallel()
	e := valid()
	e.Payload = make([]byte, oncelog.MaxPayloadBytes+1)
	require.ErrorIs(t, e.Validate(), oncelog.ErrTooLarge)
	e.Payload = nil
	require.ErrorContains(t, e.Validate(), "/payload is required")
}
