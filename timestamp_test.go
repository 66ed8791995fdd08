package oncelog_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oncelog/oncelog"
)

func TestParseTimestamp(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"2025-12-19T06:36:16.388Z":            "2025-12-19T06:36:16.388Z",
		"2025-12-19T06:36:16Z":                "2025-12-19T06:36:16Z",
		"2025-12-19t06:36:16z":                "2025-12-19T06:36:16Z",
		"2025-12-19 06:36:16":                 "2025-12-19T06:36:16Z",
		"2025-12-19T06:36:16":                 "2025-12-19T06:36:16Z",
		"2025-12-19T06:36:16.123456789":       "2025-12-19T06:36:16.123456789Z",
		"2025-12-19T06:36:16.1+02:00":         "2025-12-19T04:36:16.1Z",
		"2025-12-19T06:36:16-00:00":           "2025-12-19T06:36:16Z",
		"2025-12-19T23:30:00-01:30":           "2025-12-20T01:00:00Z",
		"2024-02-29T00:00:00Z":                "2024-02-29T00:00:00Z",
		"1678-01-01T00:00:00Z":                "1678-01-01T00:00:00Z",
		"2261-12-31T23:59:59.999999999Z":      "2261-12-31T23:59:59.999999999Z",
		"1677-12-31T23:30:00-01:00":           "1678-01-01T00:30:00Z",
		"2025-12-19T06:36:16.000000001+23:59": "2025-12-18T06:37:16.000000001Z",
	} {
		got, err := oncelog.ParseTimestamp(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got.Format(time.RFC3339Nano), text)
		require.Equal(t, got, time.Unix(0, got.UnixNano()).UTC(), "%s fits 64-bit nanoseconds", text)
	}
}

func TestParseTimestampRefuses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                "is not a timestamp",
		"yesterday":                       "is not a timestamp",
		"2025-12-19":                      "is not a timestamp",
		"2025-12-19T06:36":                "is not a timestamp",
		"2025-12-19T06:36:16.":            "is not a timestamp",
		"2025-12-19T06:36:16,5Z":          "is not a timestamp",
		"2025-12-19T06:36:16 Z":           "is not a timestamp",
		"2025-12-19T06:36:16+0200":        "is not a timestamp",
		"2025-12-19T06:36:16+02:0x":       "is not a timestamp",
		" 2025-12-19T06:36:16Z":           "is not a timestamp",
		"2025-12-19T06:36:16Z ":           "is not a timestamp",
		"+025-12-19T06:36:16Z":            "is not a timestamp",
		"2025-12-19T06:36:16.0123456789Z": "10 digits",
		"2025-12-19T06:36:60Z":            "no such time of day",
		"2025-12-19T24:00:00Z":            "no such time of day",
		"2025-02-29T00:00:00Z":            "no such date",
		"2025-13-01T00:00:00Z":            "no such date",
		"2025-00-01T00:00:00Z":            "no such date",
		"2025-04-31T00:00:00Z":            "no such date",
		"2025-12-00T00:00:00Z":            "no such date",
		"2025-12-19T06:36:16+24:00":       "no such offset",
		"2025-12-19T06:36:16+02:60":       "no such offset",
		"1677-12-31T23:59:59Z":            "year 1677",
		"2262-01-01T00:00:00Z":            "year 2262",
		"2261-12-31T23:30:00-01:00":       "year 2262",
		"0000-01-01T00:00:00Z":            "year 0",
	} {
		_, err := oncelog.ParseTimestamp(text)
		require.ErrorContains(t, err, want, "%q", text)
	}
}

// What time.Parse takes as RFC 3339 and what ParseTimestamp takes agree, but for
// what the rules of the log add.
func FuzzParseTimestamp(f *testing.F) {
	for _, seed := range []string{"2025-12-19T06:36:16.388Z", "2025-12-19 06:36:16", "2261-12-31T23:59:59+23:59", "2025-02-30T00:00:00.1-01:00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := oncelog.ParseTimestamp(text)
		if err != nil {
			return
		}
		again, err := oncelog.ParseTimestamp(got.Format(time.RFC3339Nano))
		require.NoError(t, err)
		require.Equal(t, got, again)
		if want, err := time.Parse(time.RFC3339Nano, text); err == nil {
			require.True(t, want.Equal(got), "%s: %s, not %s", text, got, want)
		}
	})
}
