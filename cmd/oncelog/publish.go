package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/httpapi/client"
	"github.com/oncelog/oncelog/httpapi/wire"
)

func newPublish(c *console) *cobra.Command {
	var q inquiry
	cmd := &cobra.Command{
		Use:   "publish [FILE|-]",
		Short: "Publish the events of a file or of standard input",
		Long: `Publish the events of a file or of standard input: JSON objects, one after the
other, or arrays of them. An array is published as a whole or not at all.`,
		Args: atMost(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			source := c.in
			if len(args) == 1 && args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return err
				}
				defer func() { _ = f.Close() }()
				source = f
			}
			return runPublish(cmd.Context(), c, q, source)
		},
	}
	q.declare(cmd.Flags())
	return cmd
}

// runPublish sends one request after the other, and shows the receipts as they
// come.
func runPublish(ctx context.Context, c *console, q inquiry, source io.Reader) error {
	log, err := q.targets.open()
	if err != nil {
		return err
	}
	defer log.Close()
	out := newRows(c.out, q.output, "id", "status", "topic", "event_id")
	defer out.flush()
	batches := newBatches(source)
	for {
		events, err := batches.next()
		if errors.Is(err, io.EOF) {
			if batches.values == 0 {
				c.say("no events: there was nothing to publish")
			}
			return nil
		}
		if err != nil {
			return err
		}
		receipts, err := publishBatch(ctx, log, q, events)
		if err != nil {
			return err
		}
		for i := range receipts {
			if err := out.receipt(&receipts[i]); err != nil {
				return err
			}
		}
	}
}

func publishBatch(ctx context.Context, log *client.Client, q inquiry, events []oncelog.Event) ([]oncelog.Receipt, error) {
	ctx, cancel := context.WithTimeout(ctx, q.timeout)
	defer cancel()
	return log.PublishBatch(ctx, events)
}

// batches reads events from a text and puts them together into requests.
type batches struct {
	text    *jsontext.Decoder
	decoder wire.Decoder
	// values counts the JSON values read.
	values int
	// next but one: an array, or an error, that waits until single events before
	// it have gone.
	held    []oncelog.Event
	heldErr error
}

func newBatches(source io.Reader) *batches {
	// The codec of the API judges; this decoder only finds where values end.
	return &batches{text: jsontext.NewDecoder(bufio.NewReader(source),
		jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))}
}

// next returns the events of the next request: an array's, or up to a thousand
// single ones. At the end of the text it is an io.EOF.
func (b *batches) next() ([]oncelog.Event, error) {
	const most = 1000
	if b.held != nil || b.heldErr != nil {
		events, err := b.held, b.heldErr
		b.held = nil
		return events, err
	}
	var singles []oncelog.Event
	for len(singles) < most {
		events, array, err := b.value()
		switch {
		case len(singles) == 0 && (array || err != nil):
			return events, err
		case array || err != nil:
			b.held, b.heldErr = events, err
			return singles, nil
		}
		singles = append(singles, events...)
	}
	return singles, nil
}

// value reads one event, or an array of them.
func (b *batches) value() (events []oncelog.Event, array bool, err error) {
	text, err := b.text.ReadValue()
	if errors.Is(err, io.EOF) {
		return nil, false, io.EOF
	}
	b.values++
	if err != nil {
		return nil, false, fmt.Errorf("value %d: %w", b.values, err)
	}
	if array = text.Kind() == '['; array {
		events, err = b.decoder.Batch(nil, text)
	} else {
		var e oncelog.Event
		e, err = b.decoder.Event(text)
		events = []oncelog.Event{e}
	}
	if err != nil {
		return nil, false, fmt.Errorf("value %d: %w", b.values, err)
	}
	return events, array, nil
}
