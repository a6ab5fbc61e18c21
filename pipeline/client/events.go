package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pause"
)

// Event is one event of a video's stream: an event of the log, or live progress.
type Event struct {
	Type string // such as video.ready; job.progress for progress
	// Sequence is the event's place in the log, for resuming a stream; 0 for progress.
	Sequence uint64
	// Log is the event of the log; nil for progress.
	Log *pipeline.Event
	// Progress is how far an attempt is; nil for events of the log.
	Progress *pipeline.Progress
}

// progressType is the type of live progress, which is not in the log.
const progressType = "job.progress"

// endType closes a stream.
const endType = "end"

// Events calls fn with the events of a video after a sequence (0: all), each once and in order, then with
// new ones until the video has ended, and returns nil. It reopens a broken connection where it was. It
// returns the first error of fn.
func (c *Client) Events(ctx context.Context, id string, after uint64, fn func(Event) error) error {
	return c.videoStream(id, after, fn).follow(ctx, maxFailures)
}

// videoStream returns the stream of one video.
func (c *Client) videoStream(id string, after uint64, fn func(Event) error) *stream {
	return &stream{
		client: c, name: "events of " + id, path: "/v1/videos/" + url.PathEscape(id) + "/events",
		after: after, fn: fn,
	}
}

// EventLog yields the events in a video's log so far, in order, page after page. An error comes with the
// zero event and ends it.
func (c *Client) EventLog(ctx context.Context, id string) iter.Seq2[pipeline.Event, error] {
	return pages[pipeline.Event](ctx, c, "/v1/videos/"+url.PathEscape(id)+"/events", nil)
}

// errCut means that a stream ended without an end from the server.
var errCut = errors.New("the event stream was cut")

// silence is how long a connection may be silent, even without the heartbeats of every 15 s, before it
// counts as dead.
const silence = time.Minute

// fed is a body that resets the watchdog with each read.
type fed struct {
	body     io.Reader
	watchdog *time.Timer
	seen     *int64
}

// Read implements io.Reader.
func (f *fed) Read(p []byte) (int, error) {
	n, err := f.body.Read(p)
	if n > 0 {
		f.watchdog.Reset(silence)
		*f.seen += int64(n)
	}
	return n, err
}

// stopError is an error that ends a stream for good: the caller's, or that of an invalid or too long event.
type stopError struct{ err error }

// Error implements error.
func (e *stopError) Error() string { return e.err.Error() }

// Unwrap returns the error within.
func (e *stopError) Unwrap() error { return e.err }

// stream is one call of Events, over any number of connections.
type stream struct {
	client *Client
	name   string // for errors
	path   string // may have a query
	after  uint64 // sequence of the last event that fn got
	seen   int64  // bytes, including heartbeats
	fn     func(Event) error
}

// follow reads the stream to its end, and opens it again when it breaks: failures times in a row at most
// without a byte in between.
func (s *stream) follow(ctx context.Context, failures int) error {
	for failed := 0; ; {
		before := s.seen
		ended, err := s.run(ctx)
		if stopped, ok := errors.AsType[*stopError](err); ok {
			return stopped.err
		}
		switch {
		case ended:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil && !passing(err):
			return err
		case s.seen != before:
			failed = 0
		}
		if failed++; failed > failures {
			return fmt.Errorf("follow %s: %w", s.name, err)
		}
		if !pause.For(ctx, max(s.client.retry(failed), asked(err))) {
			return context.Cause(ctx)
		}
	}
}

// run reads one connection. ended reports whether the server has ended the stream.
func (s *stream) run(ctx context.Context) (ended bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(silence, func() { cancel(errCut) })
	defer watchdog.Stop()
	req, err := s.client.request(ctx, http.MethodGet, s.path, nil)
	if err != nil {
		return false, err
	}
	req.Header.Set("Accept", "text/event-stream")
	if s.after > 0 {
		req.Header.Set("Last-Event-ID", strconv.FormatUint(s.after, 10))
	}
	resp, err := s.client.http.Do(req)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNoContent:
		return true, nil
	default:
		return false, errorOf(resp)
	}
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); kind != "text/event-stream" {
		return false, fmt.Errorf("the server answered with %q, not with an event stream", kind)
	}
	p := newParser(&fed{resp.Body, watchdog, &s.seen})
	for {
		f, err := p.next()
		if errors.Is(err, io.EOF) {
			return false, errCut
		}
		if errors.Is(err, bufio.ErrTooLong) { // and would be again
			return false, &stopError{err}
		}
		if err != nil {
			return false, err
		}
		if f.event == endType {
			return true, nil
		}
		if err := s.take(f); err != nil {
			return false, &stopError{err}
		}
	}
}

// take passes one frame to the caller. It skips unknown kinds, which a later server may add.
func (s *stream) take(f frame) error {
	if f.event == progressType {
		var p pipeline.Progress
		if err := json.Unmarshal(f.data, &p); err != nil {
			return fmt.Errorf("decode progress: %w", err)
		}
		return s.fn(Event{Type: progressType, Progress: &p})
	}
	if f.id == "" {
		return nil
	}
	sequence, err := strconv.ParseUint(f.id, 10, 64)
	if err != nil {
		return fmt.Errorf("event %s: its id %.40q is no sequence", f.event, f.id)
	}
	if sequence <= s.after {
		return nil
	}
	var e pipeline.Event
	if err := json.Unmarshal(f.data, &e); err != nil {
		return fmt.Errorf("decode event %d: %w", sequence, err)
	}
	e.Sequence = sequence
	if err := s.fn(Event{Type: string(e.Type), Sequence: sequence, Log: &e}); err != nil {
		return err
	}
	s.after = sequence
	return nil
}

// maxLine limits a line of a stream; the plan of a long video is the longest event.
const maxLine = 16 << 20

// frame is one event of a stream on the wire.
type frame struct {
	id    string // of this event; empty if it has none
	event string // "message" by default
	data  []byte
}

// parser parses server-sent events (https://html.spec.whatwg.org/#event-stream-interpretation), with one
// difference: an id only applies to its own event, which distinguishes events of the log from others.
type parser struct{ lines *bufio.Scanner }

func newParser(r io.Reader) *parser {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	first := true
	lines.Split(func(data []byte, atEOF bool) (int, []byte, error) {
		if first && len(data) < len(bom) && !atEOF {
			return 0, nil, nil
		}
		if first {
			first = false
			if bytes.HasPrefix(data, bom) {
				return len(bom), nil, nil
			}
		}
		return splitLine(data, atEOF)
	})
	return &parser{lines}
}

// bom may precede a stream and is not part of it.
var bom = []byte("\ufeff")

// splitLine splits at CRLF, LF or CR. It drops a line that the end of the stream truncates.
func splitLine(data []byte, atEOF bool) (advance int, line []byte, err error) {
	i := bytes.IndexAny(data, "\r\n")
	switch {
	case i < 0 && atEOF:
		return len(data), nil, nil
	case i < 0:
		return 0, nil, nil
	case data[i] == '\n':
		return i + 1, data[:i], nil
	case i+1 < len(data) && data[i+1] == '\n':
		return i + 2, data[:i], nil
	case i+1 < len(data) || atEOF:
		return i + 1, data[:i], nil
	}
	return 0, nil, nil // a CR at the end of the data: an LF may follow
}

// next returns the next event that has data; io.EOF at the end of the stream. It drops a truncated event.
func (p *parser) next() (frame, error) {
	f := frame{}
	hasData := false
	for p.lines.Scan() {
		line := p.lines.Bytes()
		if len(line) == 0 {
			if !hasData {
				f = frame{}
				continue
			}
			if f.event == "" {
				f.event = "message"
			}
			return f, nil
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(name) {
		case "id":
			if !bytes.ContainsRune(value, 0) {
				f.id = string(value)
			}
		case "event":
			f.event = string(value)
		case "data":
			if hasData {
				f.data = append(f.data, '\n')
			}
			f.data, hasData = append(f.data, value...), true
			if len(f.data) > maxLine {
				return frame{}, bufio.ErrTooLong
			}
		}
	}
	if err := p.lines.Err(); err != nil {
		return frame{}, fmt.Errorf("read event stream: %w", err)
	}
	return frame{}, io.EOF
}
