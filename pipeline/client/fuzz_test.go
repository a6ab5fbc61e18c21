package client

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// FuzzErrorOf: whatever a server answers, its error has the status, says something, and asks to wait for a time that
// is not negative.
func FuzzErrorOf(f *testing.F) {
	f.Add([]byte(`{"status":1,"code":"not_found","title":"a","errors":[{"pointer":"/a","detail":"b"}]}`), "5", "r1")
	f.Add([]byte(`null`), "9223372037", "")
	f.Add([]byte(`[{"title":1}]`), "9223372036854775807", "\x00")
	f.Add([]byte("<html>"), "-1", "")
	f.Fuzz(func(t *testing.T, body []byte, after, id string) {
		resp := &http.Response{
			StatusCode: 503, Status: "503 Busy", Body: io.NopCloser(bytes.NewReader(body)),
			Header: http.Header{"Retry-After": {after}, "X-Request-Id": {id}},
		}
		e, ok := errorOf(resp).(*Error)
		if !ok || e.Status != 503 || e.Title == "" || e.RetryAfter < 0 {
			t.Fatalf("%q, %q: %+v", body, after, e)
		}
		if n := strings.TrimLeft(after, "+0"); e.RetryAfter > 0 && len(n) > 5 && e.RetryAfter < 10_000*time.Second {
			t.Errorf("%s s became %s", after, e.RetryAfter)
		}
		if !strings.Contains(e.Error(), strings.TrimSuffix(e.Detail, ".")) {
			t.Errorf("%q lacks %q", e.Error(), e.Detail)
		}
	})
}

// FuzzStream: events reach the caller once, in the order of the log, and the same ones however the connection cuts
// the stream.
func FuzzStream(f *testing.F) {
	f.Add([]byte("id: 1\nevent: video.uploaded\ndata: {\"type\":\"video.uploaded\"}\n\nid: 1\ndata: {}\n\nid: 2\ndata: {}\n\n"))
	f.Add([]byte("event: job.progress\ndata: {\"fraction\":0.5}\n\nid: +1\ndata: {}\n\n"))
	f.Add([]byte("\ufeffid: 18446744073709551615\r\ndata: {\"sequence\":3}\r\rid: 18446744073709551616\rdata:\r\r"))
	f.Add([]byte("id: 5\ndata: nonsense\n\nid: 6\ndata: {}\n\nevent: end\ndata:\n\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		whole, wholeErr := taken(t, bytes.NewReader(text))
		parts, partsErr := taken(t, iotest.OneByteReader(bytes.NewReader(text)))
		if !reflect.DeepEqual(whole, parts) || (wholeErr == nil) != (partsErr == nil) {
			t.Errorf("%q: %+v, %v; byte by byte %+v, %v", text, whole, wholeErr, parts, partsErr)
		}
	})
}

// taken returns the events of a stream up to the first error.
func taken(t *testing.T, r io.Reader) (events []Event, err error) {
	t.Helper()
	s := &stream{after: 0, fn: func(e Event) error { events = append(events, e); return nil }}
	for p := newParser(r); ; {
		f, err := p.next()
		if err == nil {
			before := s.after
			err = s.take(f)
			if s.after < before || err != nil && s.after != before {
				t.Errorf("%+v moved the stream from %d to %d, %v", f, before, s.after, err)
			}
		}
		if err != nil {
			return inOrder(t, events), err
		}
	}
}

func inOrder(t *testing.T, events []Event) []Event {
	t.Helper()
	last := uint64(0)
	for _, e := range events {
		switch {
		case e.Log == nil && e.Progress != nil && e.Sequence == 0:
			continue
		case e.Log == nil || e.Progress != nil || e.Sequence <= last || e.Log.Sequence != e.Sequence:
			t.Errorf("%+v after %d", e, last)
		}
		last = e.Sequence
	}
	return events
}

// TestRetryAfterOfYears: a time to wait that no duration can hold does not become a negative or a short one.
func TestRetryAfterOfYears(t *testing.T) {
	for after, want := range map[string]time.Duration{
		"86400": 24 * time.Hour, "86401": 24 * time.Hour, "9223372037": 24 * time.Hour, "18446744074": 24 * time.Hour,
		"9223372036854775807": 24 * time.Hour, "9223372036854775808": 0,
	} {
		resp := &http.Response{StatusCode: 429, Body: http.NoBody, Header: http.Header{"Retry-After": {after}}}
		var e *Error
		if err := errorOf(resp); !errors.As(err, &e) || e.RetryAfter != want {
			t.Errorf("%s s: %v, want %s", after, e.RetryAfter, want)
		}
	}
}
