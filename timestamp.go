package oncelog

import (
	"errors"
	"fmt"
	"time"
)

var errTimestampForm = errors.New("is not a timestamp like 2025-12-19T06:36:16.388Z")

// ParseTimestamp reads a timestamp in UTC. It takes RFC 3339 with any offset,
// and ISO 8601 without an offset (taken as UTC) or with a space in place of the
// T, with 0 to 9 digits of a second's fraction.
//
// A tenth digit, a leap second, a date or an offset that does not exist, and a
// year (in UTC) outside [MinYear] to [MaxYear] are errors.
func ParseTimestamp(s string) (time.Time, error) {
	const seconds = len("2006-01-02T15:04:05")
	if len(s) < seconds || s[4] != '-' || s[7] != '-' || s[13] != ':' || s[16] != ':' {
		return time.Time{}, errTimestampForm
	}
	if sep := s[10]; sep != 'T' && sep != 't' && sep != ' ' {
		return time.Time{}, errTimestampForm
	}
	var fields [6]int
	for i, span := range [6][2]int{{0, 4}, {5, 7}, {8, 10}, {11, 13}, {14, 16}, {17, 19}} {
		n, ok := digits(s[span[0]:span[1]])
		if !ok {
			return time.Time{}, errTimestampForm
		}
		fields[i] = n
	}
	nanos, rest, err := parseFraction(s[seconds:])
	if err != nil {
		return time.Time{}, err
	}
	offset, err := parseOffset(rest)
	if err != nil {
		return time.Time{}, err
	}
	return civilTime(fields, nanos, offset)
}

// civilTime is the instant of a date and a time of day, or an error where the
// calendar has no such date or the clock no such time.
func civilTime(fields [6]int, nanos int, offset time.Duration) (time.Time, error) {
	year, month, day := fields[0], time.Month(fields[1]), fields[2]
	hour, minute, second := fields[3], fields[4], fields[5]
	if hour > 23 || minute > 59 || second > 59 {
		return time.Time{}, fmt.Errorf("has no such time of day: %02d:%02d:%02d", hour, minute, second)
	}
	t := time.Date(year, month, day, hour, minute, second, nanos, time.UTC)
	if t.Day() != day || t.Month() != month {
		return time.Time{}, fmt.Errorf("has no such date: %04d-%02d-%02d", year, month, day)
	}
	t = t.Add(-offset)
	if fault := timestampFault(t); fault != "" {
		return time.Time{}, errors.New(fault)
	}
	return t, nil
}

// parseFraction reads ".123" at the head of s as nanoseconds.
func parseFraction(s string) (nanos int, rest string, err error) {
	if s == "" || s[0] != '.' {
		return 0, s, nil
	}
	s = s[1:]
	n := 0
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	switch {
	case n == 0:
		return 0, "", errTimestampForm
	case n > 9:
		return 0, "", fmt.Errorf("has %d digits in its fraction of a second; at most 9 are kept", n)
	}
	nanos, _ = digits(s[:n])
	for range 9 - n {
		nanos *= 10
	}
	return nanos, s[n:], nil
}

// parseOffset reads "", "Z", "+02:00" as the distance from UTC.
func parseOffset(s string) (time.Duration, error) {
	if s == "" || s == "Z" || s == "z" {
		return 0, nil
	}
	if len(s) != len("+00:00") || s[3] != ':' || (s[0] != '+' && s[0] != '-') {
		return 0, errTimestampForm
	}
	hours, ok1 := digits(s[1:3])
	minutes, ok2 := digits(s[4:6])
	if !ok1 || !ok2 {
		return 0, errTimestampForm
	}
	if hours > 23 || minutes > 59 {
		return 0, fmt.Errorf("has no such offset: %s", s)
	}
	offset := time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute
	if s[0] == '-' {
		return -offset, nil
	}
	return offset, nil
}

// timestampFault says what is wrong with a timestamp, or "".
func timestampFault(t time.Time) string {
	if year := t.UTC().Year(); year < MinYear || year > MaxYear {
		return fmt.Sprintf("is in the year %d; only %d to %d are kept", year, MinYear, MaxYear)
	}
	return ""
}

// digits reads s, all decimal digits, as a number.
func digits(s string) (n int, ok bool) {
	for i := range len(s) {
		if !isDigit(s[i]) {
			return 0, false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n, true
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
