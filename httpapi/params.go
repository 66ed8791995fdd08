package httpapi

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/oncelog/oncelog"
)

// params are the parameters of a query, checked as a whole: none unknown, and
// none twice but topic.
type params struct{ values url.Values }

func newParams(r *http.Request, known ...string) (params, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return params{}, badRequest("the query cannot be read: %v", err)
	}
	for name, all := range values {
		if !slices.Contains(known, name) {
			return params{}, badRequest("there is no parameter %q", name)
		}
		if len(all) > 1 && name != "topic" {
			return params{}, badRequest("the parameter %s is given %d times", name, len(all))
		}
	}
	return params{values}, nil
}

// newQuery takes the parameters of GET /events.
func newQuery(r *http.Request) (params, error) {
	return newParams(r, "topic", "event_id", "source", "after", "before", "since", "until", "order", "limit", "consistency")
}

// query reads what newQuery has taken.
func (p params) query() (q oncelog.Query, c oncelog.Consistency, err error) {
	q.Topics = p.values["topic"]
	for _, topic := range q.Topics {
		if err := checkName("topic", topic); err != nil {
			return q, c, err
		}
	}
	for _, read := range []func() error{
		func() error { return p.name("event_id", &q.EventID) },
		func() error { return p.name("source", &q.Source) },
		func() error { return p.ids(&q) },
		func() error { return p.times(&q) },
		func() error { return p.order(&q) },
		func() error { return p.limit(&q) },
		func() (err error) { c, err = p.consistency(); return err },
	} {
		if err := read(); err != nil {
			return q, c, err
		}
	}
	return q, c, nil
}

// value is the value of a parameter, and whether it is given.
func (p params) value(name string) (string, bool) {
	all := p.values[name]
	if len(all) == 0 {
		return "", false
	}
	return all[0], true
}

func (p params) name(name string, dst *string) error {
	value, given := p.value(name)
	if !given {
		return nil
	}
	*dst = value
	return checkName(name, value)
}

// checkName refuses what no event can have.
func checkName(name, value string) error {
	if value == "" || len(value) > oncelog.MaxNameBytes || !utf8.ValidString(value) {
		return badRequest("%s must be 1 to %d bytes of UTF-8", name, oncelog.MaxNameBytes)
	}
	return nil
}

func (p params) ids(q *oncelog.Query) (err error) {
	if value, given := p.value("after"); given {
		if q.After, err = strconv.ParseUint(value, 10, 64); err != nil {
			return badRequest("after must be an id, not %q", value)
		}
	}
	if value, given := p.value("before"); given {
		// A 0 would mean no bound further in, but here it would exclude all.
		if q.Before, err = strconv.ParseUint(value, 10, 64); err != nil || q.Before == 0 {
			return badRequest("before must be an id of 1 or more, not %q", value)
		}
	}
	return nil
}

func (p params) times(q *oncelog.Query) (err error) {
	if value, given := p.value("since"); given {
		if q.Since, err = oncelog.ParseTimestamp(value); err != nil {
			return badRequest("since %v (in a query, + is written %%2B)", err)
		}
	}
	if value, given := p.value("until"); given {
		if q.Until, err = oncelog.ParseTimestamp(value); err != nil {
			return badRequest("until %v (in a query, + is written %%2B)", err)
		}
	}
	return nil
}

func (p params) order(q *oncelog.Query) error {
	switch value, _ := p.value("order"); value {
	case "id":
	case "-id":
		q.Order = oncelog.ByIDDescending
	case "timestamp", "-timestamp":
		return badRequest("the order %s is not offered yet", value)
	default:
		if _, given := p.value("order"); given {
			return badRequest("order must be id or -id, not %q", value)
		}
	}
	return nil
}

func (p params) limit(q *oncelog.Query) (err error) {
	if value, given := p.value("limit"); given {
		if q.Limit, err = strconv.Atoi(value); err != nil || q.Limit < 1 {
			return badRequest("limit must be a whole number of 1 or more, not %q", value)
		}
	}
	return nil
}

func (p params) consistency() (oncelog.Consistency, error) {
	value, given := p.value("consistency")
	for _, c := range []oncelog.Consistency{oncelog.Linearizable, oncelog.Stale} {
		if !given || value == c.String() {
			return c, nil
		}
	}
	return 0, badRequest("consistency must be linearizable or stale, not %q", value)
}
