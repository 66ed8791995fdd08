package httpapi_test

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/httpapi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeLog is a log of one node in memory, whose answers a test can replace.
type fakeLog struct {
	mu         sync.Mutex
	records    []oncelog.Record
	ids        map[oncelog.Key]uint64
	received   uint64
	duplicates uint64
	calls      []int // how many events each Publish had

	admitErr    func(size int64, timeout time.Duration) error
	publishErr  func(ctx context.Context, events []oncelog.Event) error
	eventsErr   func(ctx context.Context, n int) error // before the n-th record
	operateErr  error
	consistency []oncelog.Consistency
}

func (l *fakeLog) Admit(size int64, timeout time.Duration) error {
	if l.admitErr != nil {
		return l.admitErr(size, timeout)
	}
	return nil
}

func (l *fakeLog) Publish(ctx context.Context, events []oncelog.Event) ([]oncelog.Receipt, error) {
	if l.publishErr != nil {
		if err := l.publishErr(ctx, events); err != nil {
			return nil, err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls = append(l.calls, len(events))
	var receipts []oncelog.Receipt
	for i := range events {
		receipts = append(receipts, l.add(&events[i]))
	}
	return receipts, nil
}

func (l *fakeLog) add(e *oncelog.Event) oncelog.Receipt {
	l.received++
	if id, known := l.ids[e.Key()]; known {
		l.duplicates++
		conflict := !bytes.Equal(l.records[id-1].Payload, e.Payload)
		return oncelog.Receipt{Key: e.Key(), Status: oncelog.Duplicate, ID: id, Conflict: conflict}
	}
	id := uint64(len(l.records) + 1)
	l.records = append(l.records, oncelog.Record{ID: id, Event: *e, ProcessedAt: time.Unix(1766126176, 5).UTC()})
	if l.ids == nil {
		l.ids = map[oncelog.Key]uint64{}
	}
	l.ids[e.Key()] = id
	return oncelog.Receipt{Key: e.Key(), Status: oncelog.Stored, ID: id}
}

func (l *fakeLog) Enqueue(ctx context.Context, events []oncelog.Event) error {
	_, err := l.Publish(ctx, events)
	return err
}

func (l *fakeLog) Events(ctx context.Context, q oncelog.Query, c oncelog.Consistency) iter.Seq2[oncelog.Record, error] {
	l.mu.Lock()
	all := slices.Clone(l.records)
	l.consistency = append(l.consistency, c)
	l.mu.Unlock()
	if q.Order == oncelog.ByIDDescending {
		slices.SortFunc(all, func(a, b oncelog.Record) int { return cmp.Compare(b.ID, a.ID) })
	}
	return func(yield func(oncelog.Record, error) bool) {
		n := 0
		for _, r := range all {
			if !matches(&q, &r) {
				continue
			}
			if q.Limit > 0 && n == q.Limit {
				return
			}
			if l.eventsErr != nil {
				if err := l.eventsErr(ctx, n); err != nil {
					yield(oncelog.Record{}, err)
					return
				}
			}
			n++
			if !yield(r, nil) {
				return
			}
		}
	}
}

func matches(q *oncelog.Query, r *oncelog.Record) bool {
	return (len(q.Topics) == 0 || slices.Contains(q.Topics, r.Topic)) &&
		(q.EventID == "" || q.EventID == r.EventID) && (q.Source == "" || q.Source == r.Source) &&
		r.ID > q.After && (q.Before == 0 || r.ID < q.Before) &&
		!r.Timestamp.Before(q.Since) && (q.Until.IsZero() || r.Timestamp.Before(q.Until))
}

func (l *fakeLog) Stats(_ context.Context, c oncelog.Consistency) (oncelog.Stats, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.consistency = append(l.consistency, c)
	return oncelog.Stats{
		Received: l.received, Unique: uint64(len(l.records)), Duplicates: l.duplicates, Node: "n1", Leader: "n2", Term: 3,
		AppliedIndex: 7, Digest: "sha256:00", Uptime: 1500 * time.Millisecond,
		Topics: []oncelog.TopicStats{{Topic: "order", Count: 2, LastID: 2}},
	}, l.operateErr
}

func (l *fakeLog) Cluster(context.Context) (oncelog.Cluster, error) {
	return oncelog.Cluster{ID: "c", Leader: "n2", Term: 3, Nodes: []oncelog.Member{{Name: "n2", Role: oncelog.Leader, Status: oncelog.Alive}}}, l.operateErr
}

func (l *fakeLog) Ready(context.Context) error { return l.operateErr }

func (l *fakeLog) TransferLeadership(_ context.Context, to string) (string, error) {
	return cmp.Or(to, "n9"), l.operateErr
}

func (l *fakeLog) Leave(_ context.Context, node string, force bool) (oncelog.Departure, error) {
	if node == "n1" && !force {
		return oncelog.Departure{}, fmt.Errorf("%w: it is the last voter", oncelog.ErrRefused)
	}
	return oncelog.Departure{Name: node, ID: "id", Voters: 3, FailureTolerance: 1}, l.operateErr
}

// fill stores n events and returns the log.
func (l *fakeLog) fill(n int, payload string) *fakeLog {
	for i := range n {
		l.add(&oncelog.Event{
			Topic: []string{"order", "login"}[i%2], EventID: "e" + strings.Repeat("x", i%7) + time.Duration(i).String(), Source: "test",
			Timestamp: time.Date(2025, 12, 19, 0, 0, i, 0, time.UTC), Payload: []byte(payload),
		})
	}
	return l
}

// serve runs a server until the test ends and returns its address.
func serve(t *testing.T, log *fakeLog, change ...func(*httpapi.Config)) string {
	t.Helper()
	s, l := listen(t, log, change...)
	done := make(chan error)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		require.NoError(t, s.Shutdown(context.Background()))
		require.NoError(t, <-done)
	})
	return "http://" + l.Addr().String()
}

func listen(t testing.TB, log *fakeLog, change ...func(*httpapi.Config)) (*httpapi.Server, net.Listener) {
	t.Helper()
	cfg := httpapi.Config{Log: log, Node: "n1", Logger: slog.New(slog.DiscardHandler)}
	for _, f := range change {
		f(&cfg)
	}
	s, err := httpapi.New(cfg)
	require.NoError(t, err)
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return s, l
}
