package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/pflag"
)

// The forms of output.
const (
	outputTable = "table"
	outputJSON  = "json"
)

func outputVar(flags *pflag.FlagSet, value *string) {
	choiceVar(flags, value, "output", "form of the output", outputTable, outputJSON)
}

// output remembers that something could not be written: tables do not tell.
type output struct {
	io.Writer
	// err is the first error. Only the goroutine of the command writes.
	err error
}

// Write implements [io.Writer].
func (o *output) Write(p []byte) (int, error) {
	n, err := o.Writer.Write(p)
	if err != nil && o.err == nil {
		o.err = fmt.Errorf("the output is not complete: %w", err)
	}
	return n, err
}

// newTable returns a table for people, in the one style of this program.
func newTable(w io.Writer, header ...any) table.Writer {
	t := table.NewWriter()
	t.SetOutputMirror(w)
	t.SetStyle(table.StyleLight)
	t.Style().Format.Header = text.FormatDefault
	if len(header) > 0 {
		t.AppendHeader(header)
	}
	return t
}

// writeJSON writes a document for programs, and for people who look at it.
func writeJSON(w io.Writer, document any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(document)
}
