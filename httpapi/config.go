package httpapi

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Config is what a server needs. Zero fields take the defaults named at them.
type Config struct {
	// Log answers the requests. Required.
	Log Log
	// Node is the node's name, for people.
	Node string
	// Logger takes what goes wrong on this side of the wire. Required.
	Logger *slog.Logger

	// RequestTimeout bounds the wait for the Log: for a receipt, for the first
	// event of an answer. A client may ask for less with Request-Timeout.
	// Default 10 s.
	RequestTimeout time.Duration
	// StallTimeout bounds how long a peer may take for the header of a request,
	// and for each further 64 KiB of a body or an answer. Default 10 s.
	StallTimeout time.Duration
	// IdleTimeout bounds the time between requests on one connection, and
	// between lines of one stream. Default 5 min.
	IdleTimeout time.Duration
	// MaxConnections bounds the connections open at once. One more takes the place of
	// that which has been longest without a request; where all have one under way it
	// waits. Default 2048.
	MaxConnections int
	// MaxHeaderBytes bounds the header of a request. Default 16 KiB.
	MaxHeaderBytes int
	// MaxBufferedBytes bounds the memory of all bodies that are read at one time;
	// over it, streams and requests of more than 8 KiB get 429. It should be
	// at least twice oncelog.MaxBodyBytes, or the largest batches never find
	// room. Default 128 MiB.
	MaxBufferedBytes int64
}

// withDefaults fills in what was left out.
func (c Config) withDefaults() Config {
	setDefault(&c.RequestTimeout, 10*time.Second)
	setDefault(&c.StallTimeout, 10*time.Second)
	setDefault(&c.IdleTimeout, 5*time.Minute)
	setDefault(&c.MaxConnections, 2048)
	setDefault(&c.MaxHeaderBytes, 16<<10)
	setDefault(&c.MaxBufferedBytes, 128<<20)
	return c
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (c *Config) validate() error {
	if c.Log == nil || c.Logger == nil {
		return errors.New("httpapi: a log and a logger are required")
	}
	for name, d := range map[string]time.Duration{
		"request time-out": c.RequestTimeout, "stall time-out": c.StallTimeout, "idle time-out": c.IdleTimeout,
	} {
		if d < 0 {
			return fmt.Errorf("httpapi: the %s is negative: %v", name, d)
		}
	}
	if c.MaxConnections < 0 || c.MaxHeaderBytes < 0 || c.MaxBufferedBytes < 0 {
		return errors.New("httpapi: a limit is negative")
	}
	return nil
}
