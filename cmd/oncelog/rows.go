package main

import (
	"io"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/httpapi/wire"
)

// rows writes things of any number in bounded memory: a line of JSON each, or
// tables of at most maxRows.
type rows struct {
	out    io.Writer
	json   bool
	header []any
	table  table.Writer
	// line is the memory of a line of JSON.
	line []byte
}

const maxRows = 1000

func newRows(out io.Writer, output string, header ...any) *rows {
	return &rows{out: out, json: output == outputJSON, header: header}
}

// addJSON writes a line that line appends to its argument.
func (r *rows) addJSON(line func([]byte) []byte) error {
	r.line = append(line(r.line[:0]), '\n')
	_, err := r.out.Write(r.line)
	return err
}

// addRow takes a row of the next table.
func (r *rows) addRow(cells ...any) {
	if r.table == nil {
		r.table = newTable(r.out, r.header...)
	}
	r.table.AppendRow(cells)
	if r.table.Length() == maxRows {
		r.flush()
	}
}

// flush writes the rows that are left.
func (r *rows) flush() {
	if r.table != nil {
		r.table.Render()
		r.table = nil
	}
}

func (r *rows) receipt(receipt *oncelog.Receipt) error {
	if r.json {
		return r.addJSON(func(dst []byte) []byte { return wire.AppendReceipt(dst, receipt) })
	}
	status := receipt.Status.String()
	if receipt.Conflict {
		status += ", another payload"
	}
	r.addRow(receipt.ID, status, receipt.Topic, receipt.EventID)
	return nil
}

func (r *rows) record(record *oncelog.Record) error {
	if r.json {
		return r.addJSON(func(dst []byte) []byte { return wire.AppendRecord(dst, record) })
	}
	r.addRow(record.ID, record.Topic, record.EventID, timeText(record.Timestamp), record.Source, shorten(record.Payload))
	return nil
}

func timeText(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// shorten cuts a payload to what fits in a table.
func shorten(payload []byte) string {
	const most = 60
	runes := []rune(string(payload[:min(len(payload), 4*most)]))
	if len(runes) <= most {
		return string(runes)
	}
	return string(runes[:most-1]) + "…"
}
