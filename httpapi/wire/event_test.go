package wire_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/httpapi/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const good = `{"topic":"order","event_id":"e1","timestamp":"2025-12-19T06:36:16.388Z","source":"postman","payload":{"v":1}}`

// with is the good event with one piece of its text replaced.
func with(old, replacement string) string {
	if !strings.Contains(good, old) {
		panic("the good event has no " + old)
	}
	return strings.Replace(good, old, replacement, 1)
}

func nested(levels int) string {
	return strings.Repeat(`{"a":`, levels-1) + "{}" + strings.Repeat("}", levels-1)
}

// pointers lists where a validation error points to.
func pointers(t *testing.T, err error) []string {
	t.Helper()
	var invalid *oncelog.ValidationError
	require.ErrorAs(t, err, &invalid)
	var all []string
	for _, f := range invalid.Fields {
		all = append(all, f.Pointer)
	}
	return all
}

var verdicts = []struct {
	name, text string
	want       error // nil: an event
	pointers   []string
}{
	{"good", good, nil, nil},
	{"white space around everything", " \t\r\n" + with(`:{"v":1}`, " : {\n \"v\" : [ 1 , 2 ] } "), nil, nil},
	{"escaped field name", with(`"topic"`, `"t\u006fpic"`), nil, nil},
	{"escaped pair", with(`"e1"`, `"\ud83d\ude00"`), nil, nil},
	{"name of 255 bytes", with(`"e1"`, `"`+strings.Repeat("x", 255)+`"`), nil, nil},
	{"64 levels", with(`{"v":1}`, nested(64)), nil, nil},
	{"number of 400 digits", with("1}", strings.Repeat("9", 400)+"e999999}"), nil, nil},
	{"no-break space is no white space of a name", with("order", "\u00a0order"), nil, nil},
	{"many names", with(`"v":1`, manyNames(3000)), nil, nil},

	{"nothing", "", wire.ErrNotJSON, nil},
	{"white space", " \n", wire.ErrNotJSON, nil},
	{"byte order mark", "\ufeff" + good, wire.ErrNotJSON, nil},
	{"invalid UTF-8 in an id", with("e1", "e\xff"), wire.ErrNotJSON, nil},
	{"overlong UTF-8", with("e1", "e\xc0\xaf"), wire.ErrNotJSON, nil},
	{"encoded surrogate", with("e1", "e\xed\xa0\x80"), wire.ErrNotJSON, nil},
	{"invalid UTF-8 in the payload", with(`"v"`, "\"\xfe\""), wire.ErrNotJSON, nil},
	{"lone high surrogate", with("e1", `\ud800`), wire.ErrNotJSON, nil},
	{"lone low surrogate", with("e1", `\udc00`), wire.ErrNotJSON, nil},
	{"high surrogate twice", with("e1", `\ud800\ud800`), wire.ErrNotJSON, nil},
	{"lone surrogate in a payload's name", with(`"v"`, `"\uDFFF"`), wire.ErrNotJSON, nil},
	{"raw control character", with("e1", "e\n1"), wire.ErrNotJSON, nil},
	{"unknown escape", with("e1", `\x41`), wire.ErrNotJSON, nil},
	{"short escape", with("e1", `\u12`), wire.ErrNotJSON, nil},
	{"field twice", with(`"topic":"order"`, `"topic":"order","topic":"order"`), wire.ErrNotJSON, nil},
	{"field twice, once escaped", with(`"topic":"order"`, `"topic":"a","t\u006fpic":"b"`), wire.ErrNotJSON, nil},
	{"name twice in the payload", with(`"v":1`, `"v":1,"w":{},"v":1`), wire.ErrNotJSON, nil},
	{"name twice deep down", with(`"v":1`, `"v":[{"x":{"y":1,"\u0079":2}}]`), wire.ErrNotJSON, nil},
	{"name twice among many", with(`"v":1`, manyNames(3000)+`,"n17":0`), wire.ErrNotJSON, nil},
	{"name twice in an unknown field", with(`{"topic"`, `{"x":{"a":1,"a":1},"topic"`), wire.ErrNotJSON, nil},
	{"something behind it", good + "x", wire.ErrNotJSON, nil},
	{"a second event behind it", good + good, wire.ErrNotJSON, nil},
	{"cut", good[:len(good)-1], wire.ErrNotJSON, nil},
	{"trailing comma", with(`1}}`, `1},}`), wire.ErrNotJSON, nil},
	{"comment", with(`"v"`, `/**/"v"`), wire.ErrNotJSON, nil},
	{"single quotes", strings.ReplaceAll(good, `"`, `'`), wire.ErrNotJSON, nil},
	{"leading zero", with(`"v":1`, `"v":01`), wire.ErrNotJSON, nil},
	{"bare fraction", with(`"v":1`, `"v":1.`), wire.ErrNotJSON, nil},
	{"bare exponent", with(`"v":1`, `"v":1e`), wire.ErrNotJSON, nil},
	{"plus sign", with(`"v":1`, `"v":+1`), wire.ErrNotJSON, nil},
	{"not a number", with(`"v":1`, `"v":NaN`), wire.ErrNotJSON, nil},
	{"other literal", with(`"v":1`, `"v":True`), wire.ErrNotJSON, nil},
	{"NUL byte", with(`"v":1`, "\"v\":\x001"), wire.ErrNotJSON, nil},
	{"at fault, and no JSON either", with(`"order"`, `7`) + "]", wire.ErrNotJSON, nil},

	{"number", "7", oncelog.ErrInvalid, []string{""}},
	{"null", "null", oncelog.ErrInvalid, []string{""}},
	{"array", "[]", oncelog.ErrInvalid, []string{""}},
	{"empty object", "{}", oncelog.ErrInvalid, []string{"/topic", "/event_id", "/timestamp", "/source", "/payload"}},
	{"missing source", with(`,"source":"postman"`, ""), oncelog.ErrInvalid, []string{"/source"}},
	{"other case", with(`"event_id"`, `"Event_ID"`), oncelog.ErrInvalid, []string{"/Event_ID", "/event_id"}},
	{"unknown field", with(`{"topic"`, `{"a/b~c":[{}],"topic"`), oncelog.ErrInvalid, []string{"/a~1b~0c"}},
	{"topic is null", with(`"order"`, "null"), oncelog.ErrInvalid, []string{"/topic"}},
	{"id is a number", with(`"e1"`, "1"), oncelog.ErrInvalid, []string{"/event_id"}},
	{"empty id", with(`"e1"`, `""`), oncelog.ErrInvalid, []string{"/event_id"}},
	{"name of 256 bytes", with(`"e1"`, `"`+strings.Repeat("x", 256)+`"`), oncelog.ErrInvalid, []string{"/event_id"}},
	{"escaped NUL in an id", with("e1", `\u0000`), oncelog.ErrInvalid, []string{"/event_id"}},
	{"C1 control character", with("e1", "\u0085"), oncelog.ErrInvalid, []string{"/event_id"}},
	{"timestamp is a number", with(`"2025-12-19T06:36:16.388Z"`, "1766126176"), oncelog.ErrInvalid, []string{"/timestamp"}},
	{"timestamp is no date", with("2025-12-19", "2025-02-30"), oncelog.ErrInvalid, []string{"/timestamp"}},
	{"timestamp out of range", with("2025-12-19", "1677-12-19"), oncelog.ErrInvalid, []string{"/timestamp"}},
	{"payload is an array", with(`{"v":1}`, "[]"), oncelog.ErrInvalid, []string{"/payload"}},
	{"payload is a string", with(`{"v":1}`, `"{}"`), oncelog.ErrInvalid, []string{"/payload"}},
	{"65 levels", with(`{"v":1}`, nested(65)), oncelog.ErrInvalid, []string{"/payload"}},
	{"a million levels", with(`{"v":1}`, strings.Repeat(`[`, 1e6)), oncelog.ErrInvalid, []string{"/payload", "/payload"}},
	{"a million levels of an object", with(`1}}`, strings.Repeat(`{"":`, 1e6)), oncelog.ErrInvalid, []string{"/payload"}},
	{"several faults", `{"topic":1,"event_id":"","payload":[],"x":0}`, oncelog.ErrInvalid, []string{
		"/topic", "/payload", "/x", "/timestamp", "/source", "/event_id",
	}},

	{"payload over its limit", with(`"v":1`, `"v":"`+strings.Repeat("x", oncelog.MaxPayloadBytes)+`"`), oncelog.ErrTooLarge, nil},
}

func manyNames(n int) string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf(`"n%d":0`, i)
	}
	return strings.Join(names, ",")
}

// TestVerdict gives each text to all forms: alone, which is also the line of a
// stream, and as the second element of a batch.
func TestVerdict(t *testing.T) {
	t.Parallel()
	for _, v := range verdicts {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			var d wire.Decoder
			alone, err := d.Event([]byte(v.text))
			batch, batchErr := d.Batch(nil, []byte("["+good+","+v.text+"]"))
			if v.want == nil {
				require.NoError(t, err)
				require.NoError(t, batchErr)
				require.Equal(t, alone, batch[1])
				return
			}
			require.ErrorIs(t, err, v.want)
			require.Empty(t, batch)
			if v.name == "a second event behind it" || v.name == "something behind it" {
				require.ErrorIs(t, batchErr, wire.ErrNotJSON)
				return
			}
			require.ErrorIs(t, batchErr, v.want)
			if v.pointers == nil {
				return
			}
			require.Equal(t, v.pointers, pointers(t, err))
			for i, p := range pointers(t, batchErr) {
				require.Equal(t, "/1"+v.pointers[i], p)
			}
		})
	}
}

func TestEventKeepsEverything(t *testing.T) {
	t.Parallel()
	var d wire.Decoder
	text := []byte(`{"payload": {"big": 123456789012345678901234567890.10, "z":1, "a": "\u0041\/ \t", "é" : [ ] , "s":"a  b"},
		"timestamp":"2025-12-19 08:36:16.123456789+02:00", "source":"\ud83d\ude00 ü", "event_id":" e\u0031 ", "topic":"a\/b"}`)
	e, err := d.Event(text)
	require.NoError(t, err)
	clear(text)
	require.Equal(t, oncelog.Event{
		Topic: "a/b", EventID: " e1 ", Source: "\U0001F600 ü",
		Timestamp: time.Date(2025, 12, 19, 6, 36, 16, 123456789, time.UTC),
		Payload:   []byte(`{"big":123456789012345678901234567890.10,"z":1,"a":"\u0041\/ \t","é":[],"s":"a  b"}`),
	}, e)
	require.Equal(t, len(e.Payload), cap(e.Payload), "an append to a payload must not reach its neighbour")
}

func TestPayloadLimitCountsWhatIsKept(t *testing.T) {
	t.Parallel()
	var d wire.Decoder
	// The braces, the name and the quotes are 8 bytes.
	value := strings.Repeat("x", oncelog.MaxPayloadBytes-8)
	e, err := d.Event([]byte(with(`{"v":1}`, `{ "v":`+strings.Repeat(" \n", 1e6)+`"`+value+`"}`)))
	require.NoError(t, err)
	require.Len(t, e.Payload, oncelog.MaxPayloadBytes)
	_, err = d.Event([]byte(with(`{"v":1}`, `{"v":"x`+value+`"}`)))
	require.ErrorIs(t, err, oncelog.ErrTooLarge)
}

func TestBatch(t *testing.T) {
	t.Parallel()
	array := func(element string, n int) string { return "[" + strings.Repeat(element+",", n-1) + element + "]" }
	for _, c := range []struct {
		name, text string
		want       error
		pointers   []string
	}{
		{"empty", "[]", oncelog.ErrInvalid, []string{""}},
		{"an event", good, oncelog.ErrInvalid, []string{""}},
		{"null", "null", oncelog.ErrInvalid, []string{""}},
		{"elements that are no objects", "[1," + good + ",[],null]", oncelog.ErrInvalid, []string{"/0", "/2", "/3"}},
		{"all faults of all events", "[" + with(`"order"`, "0") + "," + good + ",{\"topic\":\"\"}]", oncelog.ErrInvalid, []string{
			"/0/topic", "/2/event_id", "/2/timestamp", "/2/source", "/2/payload", "/2/topic",
		}},
		{"too many", array("{}", oncelog.MaxBatchEvents+1), oncelog.ErrTooLarge, nil},
		{"trailing comma", "[" + good + ",]", wire.ErrNotJSON, nil},
		{"lines", good + "\n" + good, oncelog.ErrInvalid, []string{""}},
		{"cut", "[" + good, wire.ErrNotJSON, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var d wire.Decoder
			if c.name == "lines" {
				c.want, c.pointers = wire.ErrNotJSON, nil
			}
			events, err := d.Batch(nil, []byte(c.text))
			require.ErrorIs(t, err, c.want)
			require.Empty(t, events)
			if c.pointers != nil {
				require.Equal(t, c.pointers, pointers(t, err))
			}
		})
	}
}

func TestFaultsAreCapped(t *testing.T) {
	t.Parallel()
	var d wire.Decoder
	_, err := d.Batch(nil, []byte("["+strings.Repeat("0,", 149)+"0]"))
	var invalid *oncelog.ValidationError
	require.ErrorAs(t, err, &invalid)
	require.Len(t, invalid.Fields, wire.MaxFaults+1)
	require.Equal(t, oncelog.FieldError{Detail: "and 50 more faults, not listed"}, invalid.Fields[wire.MaxFaults])

	_, err = d.Event([]byte("{" + manyNames(50_000) + "}"))
	require.ErrorAs(t, err, &invalid)
	require.Len(t, invalid.Fields, wire.MaxFaults+1)

	_, err = d.Event([]byte(`{"` + strings.Repeat("ü", 1e5) + `":0}`))
	require.ErrorAs(t, err, &invalid)
	require.Less(t, len(invalid.Fields[0].Pointer), 100)
}

func TestCompactPayload(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text, want string
		err        error
	}{
		{` { "a" : [ 1.0 , "x y" ] } `, `{"a":[1.0,"x y"]}`, nil},
		{`{}`, `{}`, nil},
		{nested(64), nested(64), nil},
		{nested(65), "", oncelog.ErrInvalid},
		{`[]`, "", oncelog.ErrInvalid},
		{`"x"`, "", oncelog.ErrInvalid},
		{``, "", wire.ErrNotJSON},
		{`{"a":1}}`, "", wire.ErrNotJSON},
		{`{"a":1,"a":1}`, "", wire.ErrNotJSON},
		{`[1,]`, "", wire.ErrNotJSON},
		{`{"a":"` + strings.Repeat("x", oncelog.MaxPayloadBytes) + `"}`, "", oncelog.ErrTooLarge},
	} {
		got, err := wire.CompactPayload([]byte(c.text))
		if c.err != nil {
			require.ErrorIs(t, err, c.err)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, c.want, string(got))
	}
}

func TestEventTextStaysInItsBraces(t *testing.T) {
	t.Parallel()
	e := record(0).Event
	e.Payload = []byte(`{}},{"topic":"smuggled"`)
	dst, err := wire.AppendEvent([]byte("["), &e)
	require.ErrorIs(t, err, wire.ErrNotJSON)
	require.Equal(t, "[", string(dst))
}

func TestTransfer(t *testing.T) {
	t.Parallel()
	var d wire.Decoder
	for text, want := range map[string]string{"{}": "", `{"to":"n3"}`: "n3"} {
		to, err := d.Transfer([]byte(text))
		require.NoError(t, err)
		require.Equal(t, want, to)
	}
	for text, want := range map[string]error{
		`{"To":"n3"}`: oncelog.ErrInvalid, `{"to":3}`: oncelog.ErrInvalid, `{"to":""}`: oncelog.ErrInvalid,
		`[]`: oncelog.ErrInvalid, `{"to":"a","to":"b"}`: wire.ErrNotJSON, `{`: wire.ErrNotJSON,
	} {
		_, err := d.Transfer([]byte(text))
		require.ErrorIs(t, err, want, text)
	}
}

func TestLeave(t *testing.T) {
	t.Parallel()
	var d wire.Decoder
	for _, want := range []wire.Leave{{Node: "n3"}, {Node: "a \"name\"", Force: true}} {
		got, err := d.Leave(wire.AppendLeave(nil, want))
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for text, want := range map[string]error{
		`{}`: oncelog.ErrInvalid, `{"node":""}`: oncelog.ErrInvalid, `{"node":3}`: oncelog.ErrInvalid, `["n3"]`: oncelog.ErrInvalid,
		`{"node":"n3","force":1}`: oncelog.ErrInvalid, `{"node":"n3","Force":true}`: oncelog.ErrInvalid,
		`{"node":"a","node":"b"}`: wire.ErrNotJSON, `{"node":"n3","force":tru}`: wire.ErrNotJSON, `{`: wire.ErrNotJSON,
	} {
		_, err := d.Leave([]byte(text))
		require.ErrorIs(t, err, want, text)
	}
}
