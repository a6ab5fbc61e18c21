package main

import (
	"io"
	"text/tabwriter"

	"github.com/reelmill/reelmill/cmd/reelmill/internal/human"
)

// output is the flags for the format of the output.
type output struct {
	JSON   bool   `help:"Print JSON, one value a line. A list is an array on one line."`
	Format string `name:"output" short:"o" help:"Print a table, JSON as --json does, or YAML." enum:"table,json,yaml" default:"table" placeholder:"table|json|yaml"`
}

// structured reports whether values are printed for programs.
func (o output) structured() bool { return o.JSON || o.Format == "json" || o.Format == "yaml" }

// lines reports whether each value is a line of JSON.
func (o output) lines() bool { return o.JSON || o.Format == "json" }

// encode prints a value for programs: a line of JSON, or a document of YAML.
func (o output) encode(w io.Writer, v any) error {
	if o.lines() {
		return human.Encode(w, v)
	}
	return human.EncodeYAML(w, v)
}

// print prints v for programs, or else the table that text writes.
func (o output) print(s streams, v any, text func(io.Writer)) error {
	if o.structured() {
		return o.encode(s.out, v)
	}
	table := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	text(table)
	return table.Flush()
}

// screen returns the screen of a command. Without bars, its progress is lines of JSON with --json.
func (o output) screen(s streams) *screen {
	made := newScreen(s)
	made.json = o.lines()
	return made
}
