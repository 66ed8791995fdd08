package httpapi

import (
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The media types of the API.
const (
	mediaJSON   = "application/json"
	mediaLines  = "application/x-ndjson"
	mediaText   = "text/plain"
	jsonUTF8    = "utf-8"
	encodeGzip  = "gzip"
	encodeZstd  = "zstd"
	anyEncoding = encodeGzip + ", " + encodeZstd
)

// Header values, ready to be put in a header map.
var (
	jsonType    = []string{mediaJSON}
	linesType   = []string{mediaLines}
	textType    = []string{mediaText + "; charset=utf-8"}
	problemType = []string{"application/problem+json"}
	varyAccept  = []string{"Accept"}
)

// contentType is the media type of a request's body: one of offers, the first of
// them where the request names none.
func contentType(h http.Header, offers ...string) (string, error) {
	values := h["Content-Type"]
	if len(values) == 0 {
		return offers[0], nil
	}
	if len(values) == 1 {
		for _, offer := range offers {
			if values[0] == offer || isMedia(values[0], offer) {
				return offer, nil
			}
		}
	}
	return "", newRequestError(http.StatusUnsupportedMediaType, codeMediaType,
		"the content type is not one of: %s", strings.Join(offers, ", "))
}

// isMedia accepts a character set that says what JSON is in any case.
func isMedia(value, offer string) bool {
	media, params, err := mime.ParseMediaType(value)
	if err != nil || media != offer {
		return false
	}
	charset, named := params["charset"]
	return len(params) == 0 || len(params) == 1 && named && strings.EqualFold(charset, jsonUTF8)
}

// accept chooses what to answer with: the one of offers that the client likes
// best, the first of equals.
func accept(h http.Header, offers ...string) (string, error) {
	values := h["Accept"]
	if len(values) == 0 || len(values) == 1 && (values[0] == "*/*" || values[0] == offers[0]) {
		return offers[0], nil
	}
	ranges := strings.Split(strings.Join(values, ","), ",")
	best, bestQuality := "", 0.0
	for _, offer := range offers {
		if q := quality(ranges, offer); q > bestQuality {
			best, bestQuality = offer, q
		}
	}
	if best == "" {
		return "", newRequestError(http.StatusNotAcceptable, codeAccept,
			"the answer comes as one of: %s", strings.Join(offers, ", "))
	}
	return best, nil
}

// quality is how much the client likes a media type, from 0 to 1, by the most
// specific of its ranges.
func quality(ranges []string, offer string) float64 {
	family, _, _ := strings.Cut(offer, "/")
	found, specific := 0.0, 0
	for _, value := range ranges {
		media, params, err := mime.ParseMediaType(value)
		if err != nil {
			continue
		}
		level := 0
		switch media {
		case offer:
			level = 3
		case family + "/*":
			level = 2
		case "*/*":
			level = 1
		}
		if level <= specific {
			continue
		}
		specific, found = level, 1
		if q, named := params["q"]; named {
			found, _ = strconv.ParseFloat(q, 64)
		}
	}
	return found
}

// preferences are those of RFC 7240 that the API knows; others are passed over.
type preferences struct{ minimal, async bool }

func prefer(h http.Header) (p preferences) {
	for _, value := range h["Prefer"] {
		for preference := range strings.SplitSeq(value, ",") {
			name, _, _ := strings.Cut(preference, ";")
			switch strings.ToLower(strings.ReplaceAll(strings.TrimSpace(name), `"`, "")) {
			case "return=minimal":
				p.minimal = true
			case "respond-async":
				p.async = true
			}
		}
	}
	return p
}

// timeout is how long the client wants to wait at most, and never longer than
// the server does.
func (s *Server) timeout(h http.Header) (time.Duration, error) {
	value := h.Get("Request-Timeout")
	if value == "" {
		return s.cfg.RequestTimeout, nil
	}
	seconds, err := strconv.ParseFloat(value, 64)
	if err != nil || !(seconds > 0) {
		return 0, badRequest("Request-Timeout must be a number of seconds above 0, not %q", value)
	}
	if seconds >= s.cfg.RequestTimeout.Seconds() {
		return s.cfg.RequestTimeout, nil
	}
	return time.Duration(seconds * float64(time.Second)), nil
}
