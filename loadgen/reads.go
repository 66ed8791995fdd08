package loadgen

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oncelog/oncelog"
)

// ReadConfig says how often a log is read, and by how many at once.
type ReadConfig struct {
	// Requests is how many are made, 1 or more.
	Requests int64
	// Concurrency is the number of requests in flight at most, 1 to 10,000.
	Concurrency int
}

func (c ReadConfig) validate() error {
	switch {
	case c.Requests < 1:
		return fmt.Errorf("%w: %d reads", errWorkload, c.Requests)
	case c.Concurrency < 1 || c.Concurrency > maxConcurrency:
		return fmt.Errorf("%w: a concurrency of %d; 1 to %d are possible", errWorkload, c.Concurrency, maxConcurrency)
	}
	return nil
}

// readPatience is how long a read is tried before it has failed.
const readPatience = time.Minute

// Question is one read. It fails where the answer is not the one that it must be.
// The number counts the reads, from 0.
type Question func(ctx context.Context, number int64) error

// TopicQuestion asks for the first event of a topic, of each in turn. Every topic
// must have one.
func TopicQuestion(r Reader, topics []string, c oncelog.Consistency) Question {
	return func(ctx context.Context, number int64) error {
		topic := topics[number%int64(len(topics))]
		events := 0
		for record, err := range r.Events(ctx, oncelog.Query{Topics: []string{topic}, Limit: 1}, c) {
			if err != nil {
				return err
			}
			if record.Topic != topic {
				return fmt.Errorf("%w: an event of topic %q, not %q", errAnswer, record.Topic, topic)
			}
			events++
		}
		if events != 1 {
			return fmt.Errorf("%w: %d events of topic %q, not 1", errAnswer, events, topic)
		}
		return nil
	}
}

// StatsQuestion asks for the log's numbers, while it holds so many unique events.
func StatsQuestion(r Reader, unique uint64, c oncelog.Consistency) Question {
	return func(ctx context.Context, _ int64) error {
		stats, err := r.Stats(ctx, c)
		if err == nil && stats.Unique != unique {
			err = fmt.Errorf("%w: %d unique events, not %d", errAnswer, stats.Unique, unique)
		}
		return err
	}
}

// ReadReport is how reading went.
type ReadReport struct {
	Requests          int64   `json:"requests"`
	ElapsedSeconds    float64 `json:"elapsed_seconds"`
	RequestsPerSecond float64 `json:"requests_per_second"`
	Latency           Latency `json:"latency_ms"`
}

// Read asks again and again. Many goroutines do so at once. The first failure ends
// it.
func Read(ctx context.Context, cfg ReadConfig, ask Question) (ReadReport, error) {
	if err := cfg.validate(); err != nil {
		return ReadReport{}, err
	}
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	r := reads{ReadConfig: cfg, ask: ask, latency: newLatencies()}
	start := time.Now()
	var workers sync.WaitGroup
	for range cfg.Concurrency {
		workers.Go(func() {
			if err := r.work(ctx); err != nil {
				fail(err)
			}
		})
	}
	workers.Wait()
	elapsed := time.Since(start).Seconds()
	if err := context.Cause(ctx); err != nil {
		return ReadReport{}, err
	}
	return ReadReport{
		Requests: cfg.Requests, ElapsedSeconds: elapsed,
		RequestsPerSecond: float64(cfg.Requests) / elapsed, Latency: r.latency.summary(),
	}, nil
}

// reads are under way.
type reads struct {
	ReadConfig
	ask Question
	// begun counts the requests handed out.
	begun atomic.Int64

	mu      sync.Mutex // guards latency
	latency latencies
}

// work asks until all is asked, or until it has failed.
func (r *reads) work(ctx context.Context) error {
	for {
		number := r.begun.Add(1) - 1
		if number >= r.Requests {
			return nil
		}
		if err := r.one(ctx, number); err != nil {
			return fmt.Errorf("read %d: %w", number, err)
		}
	}
}

func (r *reads) one(ctx context.Context, number int64) error {
	ctx, cancel := context.WithTimeout(ctx, readPatience)
	defer cancel()
	begin := time.Now()
	if err := r.ask(ctx, number); err != nil {
		return err
	}
	took := time.Since(begin)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.latency.record(took)
	return nil
}
