package inspect

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/encode"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
)

// reading is the result of a run without output.
type reading struct {
	frames int64
	end    float64 // seconds from the start of the file, or of the window
	errors []string
}

// null is an output that is discarded.
func null(maps []string, o ...ffmpeg.Option) ffmpeg.Output {
	return ffmpeg.Output{Format: "null", Maps: maps, Options: o}
}

// read runs ffmpeg with in, which are all inputs of the same file. If the run fails after reading some
// frames, the file is damaged, and read does not fail.
func (m *measurement) read(ctx context.Context, in []ffmpeg.Input, out ...ffmpeg.Output) (reading, error) {
	return m.readTo(ctx, nil, in, out...)
}

// readTo is read with a writer for ffmpeg's standard output.
func (m *measurement) readTo(ctx context.Context, to io.Writer, in []ffmpeg.Input, out ...ffmpeg.Output) (
	reading, error,
) {
	var r reading
	log := &lines{limit: 20, hide: m.path}
	o := m.options()
	o.Stderr, o.Stdout = log, to
	o.Progress = func(p ffmpeg.Progress) { r.frames, r.end = p.Frame, p.OutTime.Seconds() }
	err := m.tools.Run(ctx, ffmpeg.Command{
		Inputs: in, Outputs: out, Global: plainly(), LogLevel: "error", Threads: encode.Threads(),
	}, o)
	err = m.tooMuch(err)
	r.errors = log.kept
	if ffmpeg.GaveUp(err) && r.frames > 0 {
		err = nil
	}
	return r, err
}

// plainly returns the options that read on after errors, and take times as the file has them. By default
// ffmpeg drops the times of packets that are more than 30 h after the one before. But its decoders keep the
// times of their frames, so workers would fill those hours with copies of a frame.
func plainly() []ffmpeg.Option {
	return []ffmpeg.Option{{Key: "max_error_rate", Value: "1"}, {Key: "dts_error_threshold", Value: "1e15"}}
}

// slowest is the fewest bytes that a second of CPU time must read.
const slowest = 16 << 20

// cpu returns the limit of CPU time for a run; 0: none. Time by the clock would fail good files on a busy
// machine.
func (m *measurement) cpu() time.Duration {
	if m.patience == 0 {
		return 0
	}
	return m.patience + time.Duration(m.size/slowest)*time.Second
}

// options are those of every run.
func (m *measurement) options() ffmpeg.RunOptions {
	o := ffmpeg.RunOptions{Dir: m.dir}
	o.Limits.CPU = m.cpu()
	return o
}

// tooMuch blames the file for a run that used up its CPU time.
func (m *measurement) tooMuch(err error) error {
	var run *ffmpeg.Error
	if !ffmpeg.Exhausted(err) || !errors.As(err, &run) {
		return err
	}
	return &pipeline.Error{
		Code: pipeline.CodeMalformed, Detail: "reading the file takes too much time", Stderr: run.Tail, Err: err,
	}
}

// lines keeps the first lines about the input and drops the rest. It is an io.Writer for stderr.
type lines struct {
	limit int
	hide  string // a path that users must not see
	kept  []string
	rest  []byte
}

// Write implements io.Writer.
func (l *lines) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	for {
		line, tail, whole := bytes.Cut(l.rest, []byte("\n"))
		if !whole {
			if len(l.rest) > 4096 {
				l.rest = nil // no line of ffmpeg is this long
			}
			return len(p), nil
		}
		l.add(string(line))
		l.rest = tail
	}
}

func (l *lines) add(line string) {
	// Skip the muxers' complaints about timestamps, repeated lines, and streams whose decoder is not
	// allowed, which are not used.
	if len(l.kept) == l.limit || strings.HasPrefix(line, "[null @") || strings.HasPrefix(line, "[framecrc @") ||
		strings.Contains(line, "Last message repeated") || strings.Contains(line, "not on whitelist") {
		return
	}
	if text := printable(strings.ReplaceAll(line, l.hide, "<in0>")); text != "" {
		l.kept = append(l.kept, text)
	}
}

// printable removes the address that ffmpeg puts into its prefixes, and whatever is not plain text.
func printable(line string) string {
	if name, rest, ok := strings.Cut(line, " @ 0x"); ok && strings.HasPrefix(name, "[") {
		if _, text, ok := strings.Cut(rest, "] "); ok {
			line = name + "] " + text
		}
	}
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, line))
}
