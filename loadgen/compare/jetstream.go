package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	streamName = "events"
	// subjects begins the subject of each event; its topic follows.
	subjects = "events."
	// duplicateWindow is for how long JetStream knows a message id again. It is
	// more than a round takes.
	duplicateWindow = 10 * time.Minute
	// replicas is how many servers there are, all of which hold the stream.
	replicas = 3
	// startPatience is how long the servers may take until they serve.
	startPatience = time.Minute
)

// jetStream is a cluster of NATS servers with one stream, and the connections of
// a workload to it.
type jetStream struct {
	*publisher
	servers []*natsServer
	conns   []*nats.Conn
	stream  jetstream.Stream
}

// jetStreamOptions are what a JetStream cluster and its publishers are made of.
type jetStreamOptions struct {
	sync string
	// conns is how many connections there are, spread over the servers; window
	// is how many messages each may have unacknowledged.
	conns, window int
}

func startJetStream(ctx context.Context, dir string, concurrency int, o jetStreamOptions) (_ eventLog, err error) {
	j := new(jetStream)
	defer func() {
		if err != nil {
			err = fmt.Errorf("jetstream: %w", errors.Join(err, j.Close()))
		}
	}()
	if j.servers, err = startNATS(dir, replicas, o.sync); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	for i := range o.conns {
		if err = j.connect(ctx, j.servers[i%len(j.servers)]); err != nil {
			return nil, err
		}
	}
	if err = j.createStream(ctx); err != nil {
		return nil, err
	}
	if j.publisher, err = newPublisher(j.conns, concurrency, o.window); err != nil {
		return nil, err
	}
	return j, nil
}

// connect adds a connection to one server, as soon as that listens.
func (j *jetStream) connect(ctx context.Context, s *natsServer) error {
	return poll(ctx, func(context.Context) error {
		c, err := nats.Connect(s.url, nats.IgnoreDiscoveredServers())
		if err == nil {
			j.conns = append(j.conns, c)
		}
		return err
	})
}

// createStream makes the stream as soon as the servers have found each other, and
// waits until it has a leader and its replicas are level.
func (j *jetStream) createStream(ctx context.Context) error {
	js, err := jetstream.New(j.conns[0])
	if err != nil {
		return err
	}
	return poll(ctx, func(ctx context.Context) error {
		j.stream, err = js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
			Name: streamName, Subjects: []string{subjects + ">"},
			Storage: jetstream.FileStorage, Replicas: replicas, Duplicates: duplicateWindow,
		})
		if err != nil {
			return err
		}
		return j.level(ctx)
	})
}

var errNotLevel = errors.New("the stream's replicas are not level")

// level is nil when the stream has a leader and all replicas hold what it holds.
func (j *jetStream) level(ctx context.Context) error {
	info, err := j.stream.Info(ctx)
	if err != nil {
		return err
	}
	if info.Cluster == nil || info.Cluster.Leader == "" || len(info.Cluster.Replicas) != replicas-1 {
		return errNotLevel
	}
	for _, r := range info.Cluster.Replicas {
		if !r.Current || r.Lag > 0 {
			return errNotLevel
		}
	}
	return nil
}

// poll tries a thing until it succeeds or ctx ends. No try takes long: a server
// that knows no leader yet does not answer at all.
func poll(ctx context.Context, try func(context.Context) error) error {
	const interval, patience = 50 * time.Millisecond, 2 * time.Second
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		once, cancel := context.WithTimeout(ctx, patience)
		err := try(once)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
}

// Stored yields each message of the stream, once all replicas hold all of them.
func (j *jetStream) Stored(ctx context.Context) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		if err := j.read(ctx, yield); err != nil {
			yield(nil, fmt.Errorf("jetstream: %w", err))
		}
	}
}

func (j *jetStream) read(ctx context.Context, yield func([]byte, error) bool) error {
	if err := poll(ctx, j.level); err != nil {
		return err
	}
	left := j.stream.CachedInfo().State.Msgs
	consumer, err := j.stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return err
	}
	messages, err := consumer.Messages()
	if err != nil {
		return err
	}
	defer messages.Stop()
	for ; left > 0; left-- {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return err
		}
		if !yield(m.Data(), nil) {
			return nil
		}
	}
	return nil
}

// Close drops the connections and stops the servers.
func (j *jetStream) Close() error {
	for _, c := range j.conns {
		c.Close()
	}
	return stopNATS(j.servers)
}
