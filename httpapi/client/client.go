// Package client speaks oncelog's API from Go.
//
// A [Client] knows several nodes of one cluster and spreads its requests over
// them. A request that fails on the way, or that a node cannot serve now, goes to
// the next node until its context ends, and a node that is silent for long or
// refuses connections is passed over for a while. That is safe, since the log stores an
// event once however often it is sent: a re-sent event may come back as a
// duplicate of itself, which [Client.Resent] lets a caller account for.
//
// Errors are those of package oncelog, wrapped around a [*wire.Problem] where a
// node has answered one.
//
// Invariant: a publication is reported as certainly not stored only where no
// attempt at it can have reached a log. Otherwise, it is
// [oncelog.ErrOutcomeUnknown].
package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/httpapi/wire"
)

// Client is safe for concurrent use.
type Client struct {
	rotation rotation
	retry    bool
	patience time.Duration
	// decoders holds *wire.Decoder, lines *lines, texts the *[]byte of requests and
	// answers.
	decoders, lines, texts sync.Pool

	resent       atomic.Int64
	resentEvents atomic.Int64
	refused      atomic.Int64
}

// Option changes how a client works.
type Option func(*settings)

type settings struct {
	retry       bool
	concurrency int
	patience    time.Duration
}

// WithoutRetries makes each call one request: its failure is the caller's to see.
func WithoutRetries() Option { return func(s *settings) { s.retry = false } }

// WithConcurrency says how many requests will be under way at once, so that as
// many connections are kept to each node. The default is 64.
func WithConcurrency(n int) Option { return func(s *settings) { s.concurrency = max(n, 1) } }

// WithPatience says how long a node may be silent, neither taking nor sending a
// byte, before an attempt is given up and the next node is tried. A node is told
// to answer in less. The default is 12 s.
func WithPatience(d time.Duration) Option { return func(s *settings) { s.patience = d } }

// New makes a client of nodes at the base URLs targets, such as
// "http://127.0.0.1:8080"; the scheme may be left out. Nothing is sent yet.
func New(targets []string, options ...Option) (*Client, error) {
	s := settings{retry: true, concurrency: 64, patience: defaultPatience}
	for _, o := range options {
		o(&s)
	}
	if s.patience <= 0 {
		return nil, fmt.Errorf("client: a patience of %s; it must be more than 0", s.patience)
	}
	c := &Client{retry: s.retry, patience: s.patience}
	c.decoders.New = func() any { return new(wire.Decoder) }
	c.texts.New = func() any { return new([]byte) }
	c.lines.New = func() any { return newLines() }
	if len(targets) == 0 {
		return nil, errors.New("client: no target")
	}
	for _, t := range targets {
		base, err := baseURL(t)
		if err != nil {
			return nil, err
		}
		c.rotation.nodes = append(c.rotation.nodes, &target{
			base: base.Scheme + "://" + base.Host, transport: newTransport(base, s.concurrency),
		})
	}
	return c, nil
}

func baseURL(target string) (*url.URL, error) {
	if !strings.Contains(target, "://") {
		target = "http://" + target
	}
	u, err := url.Parse(target)
	if err != nil {
		return nil, fmt.Errorf("client: target: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" {
		return nil, fmt.Errorf("client: the target %q is no base URL", target)
	}
	return u, nil
}

// Close drops the idle connections. Calls under way are not touched.
func (c *Client) Close() {
	for _, t := range c.rotation.nodes {
		t.transport.close()
	}
}

// Resent is how many requests were sent again so far.
func (c *Client) Resent() int64 { return c.resent.Load() }

// ResentEvents is how many events were in the publications among them, an
// event counted each time.
func (c *Client) ResentEvents() int64 { return c.resentEvents.Load() }

// Refused is how many requests a node refused so far because its queue was full.
func (c *Client) Refused() int64 { return c.refused.Load() }

// Publish stores one event. Its answer is the receipt of a quorum.
func (c *Client) Publish(ctx context.Context, e oncelog.Event) (oncelog.Receipt, error) {
	memory := c.texts.Get().(*[]byte)
	defer c.texts.Put(memory)
	body, err := appendValid((*memory)[:0], &e)
	*memory = body
	if err != nil {
		return oncelog.Receipt{}, err
	}
	var receipt oncelog.Receipt
	err = c.do(ctx, request{method: http.MethodPost, path: "/publish", body: body, events: 1}, func(text []byte) error {
		return c.decode(func(d *wire.Decoder) (err error) {
			if receipt, err = d.Receipt(text); err != nil {
				return err
			}
			return checkKeys([]oncelog.Event{e}, []oncelog.Receipt{receipt})
		})
	})
	return receipt, err
}

// PublishBatch stores events together, or none of them: 1 to
// [oncelog.MaxBatchEvents], in a body of at most [oncelog.MaxBodyBytes]. There is
// one receipt per event, in order.
func (c *Client) PublishBatch(ctx context.Context, events []oncelog.Event) ([]oncelog.Receipt, error) {
	memory := c.texts.Get().(*[]byte)
	defer c.texts.Put(memory)
	body, err := appendBatch((*memory)[:0], events)
	*memory = body
	if err != nil {
		return nil, err
	}
	var receipts []oncelog.Receipt
	err = c.do(ctx, request{method: http.MethodPost, path: "/publish/batch", body: body, events: len(events)}, func(text []byte) error {
		return c.decode(func(d *wire.Decoder) (err error) {
			if receipts, err = d.BatchAnswer(text); err != nil {
				return err
			}
			return checkKeys(events, receipts)
		})
	})
	if err != nil {
		return nil, err
	}
	return receipts, nil
}

// appendBatch appends an array of events that a node will take.
func appendBatch(dst []byte, events []oncelog.Event) ([]byte, error) {
	dst = append(dst, '[')
	for i := range events {
		if i > 0 {
			dst = append(dst, ',')
		}
		var err error
		if dst, err = appendValid(dst, &events[i]); err != nil {
			return dst, fmt.Errorf("event %d: %w", i, err)
		}
	}
	return append(dst, ']'), nil
}

// appendValid appends an event that a node will take: a text of other bytes than
// UTF-8 would become another id on its way.
func appendValid(dst []byte, e *oncelog.Event) ([]byte, error) {
	if err := e.Validate(); err != nil {
		return dst, err
	}
	return wire.AppendEvent(dst, e)
}

// checkKeys holds a node to its contract: a receipt is that of the event in its
// place.
func checkKeys(events []oncelog.Event, receipts []oncelog.Receipt) error {
	if len(events) != len(receipts) {
		return fmt.Errorf("%w: %d receipts for %d events", wire.ErrAnswer, len(receipts), len(events))
	}
	for i := range events {
		if events[i].Key() != receipts[i].Key {
			return fmt.Errorf("%w: the receipt %d is for another event", wire.ErrAnswer, i)
		}
	}
	return nil
}

// Stats asks one node for the log's statistics.
func (c *Client) Stats(ctx context.Context, consistency oncelog.Consistency) (stats oncelog.Stats, err error) {
	err = c.do(ctx, request{method: http.MethodGet, path: "/stats?consistency=" + consistency.String()}, func(text []byte) (err error) {
		stats, err = wire.DecodeStats(text)
		return err
	})
	return stats, err
}

// Cluster asks one node how it sees the group.
func (c *Client) Cluster(ctx context.Context) (cluster oncelog.Cluster, err error) {
	err = c.do(ctx, request{method: http.MethodGet, path: "/cluster"}, func(text []byte) (err error) {
		cluster, err = wire.DecodeCluster(text)
		return err
	})
	return cluster, err
}

// TransferLeadership hands the leader's part to the node named to, or to any
// where it is "", and answers the name of the new leader.
func (c *Client) TransferLeadership(ctx context.Context, to string) (leader string, err error) {
	r := request{method: http.MethodPost, path: "/cluster/transfer-leadership", body: wire.AppendTransfer(nil, to)}
	err = c.do(ctx, r, func(text []byte) (err error) {
		leader, err = wire.DecodeLeader(text)
		return err
	})
	return leader, err
}

// Leave removes a node, by its name or id, from the cluster for good; with force,
// also one that is dead. An [oncelog.ErrRefused] says what would make it safe.
func (c *Client) Leave(ctx context.Context, node string, force bool) (departed oncelog.Departure, err error) {
	body := wire.AppendLeave(nil, wire.Leave{Node: node, Force: force})
	err = c.do(ctx, request{method: http.MethodPost, path: "/cluster/leave", body: body}, func(text []byte) (err error) {
		departed, err = wire.DecodeDeparture(text)
		return err
	})
	return departed, err
}

// Ready is nil when at least one target says that it can serve. Each is asked
// once, in turn.
func (c *Client) Ready(ctx context.Context) error {
	var failures []error
	for _, t := range c.rotation.all() {
		err := c.attemptAt(ctx, t, false, request{method: http.MethodGet, path: "/readyz"}, func([]byte) error { return nil })
		if err == nil {
			return nil
		}
		failures = append(failures, err)
	}
	return errors.Join(failures...)
}

func (c *Client) decode(read func(*wire.Decoder) error) error {
	d := c.decoders.Get().(*wire.Decoder)
	defer c.decoders.Put(d)
	return read(d)
}
