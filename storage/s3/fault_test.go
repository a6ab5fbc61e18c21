package s3_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/minio/minio-go/v7"

	"github.com/reelmill/reelmill/storage"
	"github.com/reelmill/reelmill/storage/s3"
	"github.com/reelmill/reelmill/storage/s3/s3test"
)

// wire is a transport in which a test can answer instead of the server.
type wire struct {
	*http.Transport
	mu sync.Mutex
	// answer answers the request, unless it is nil or returns nil.
	answer func(*http.Request) *http.Response
	puts   int // requests that write
}

// RoundTrip implements http.RoundTripper.
func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.Method == http.MethodPut || r.Method == http.MethodPost {
		w.puts++
	}
	if w.answer != nil {
		if response := w.answer(r); response != nil {
			if r.Body != nil {
				if err := r.Body.Close(); err != nil {
					return nil, err
				}
			}
			response.Request = r
			return response, nil
		}
	}
	return w.Transport.RoundTrip(r)
}

// refuse is an error answer of an S3 server.
func refuse(status int, code string) *http.Response {
	return &http.Response{
		StatusCode: status,
		Header:     http.Header{"Content-Type": {"application/xml"}},
		Body:       io.NopCloser(strings.NewReader("<Error><Code>" + code + "</Code></Error>")),
	}
}

// openWire opens a store over a wire that only forwards for now.
func openWire(t *testing.T) (*s3.Store, *wire) {
	t.Helper()
	w := &wire{Transport: &http.Transport{DisableKeepAlives: true}}
	config := small(s3test.StartGateway(t))
	config.Transport = w
	return open(t, config), w
}

// TestAbsentIsLookedAtFirst covers servers that ignore If-None-Match: nothing is sent at all.
func TestAbsentIsLookedAtFirst(t *testing.T) {
	s, w := openWire(t)
	put(t, s, "v/x.bin", "old")
	before := w.puts
	r := readerFunc(func([]byte) (int, error) { return 0, errors.New("read") })
	_, err := s.Put(context.Background(), "v/x.bin", r, storage.PutOptions{IfAbsent: true})
	if !errors.Is(err, storage.ErrExists) || w.puts != before {
		t.Errorf("%v, and %d requests", err, w.puts-before)
	}
}

type readerFunc func(p []byte) (int, error)

// Read implements io.Reader.
func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestConditionalConflict returns AWS's answer to the loser of two concurrent conditional writes.
func TestConditionalConflict(t *testing.T) {
	s, w := openWire(t)
	put(t, s, "v/there.bin", "old")
	looks := 0
	w.answer = func(r *http.Request) *http.Response {
		switch r.Method {
		case http.MethodHead:
			if looks++; looks == 1 { // the check before the write finds nothing yet
				return refuse(http.StatusNotFound, minio.NoSuchKey)
			}
		case http.MethodPut:
			return refuse(http.StatusConflict, "ConditionalRequestConflict")
		}
		return nil
	}
	o := storage.PutOptions{IfAbsent: true}
	_, err := s.Put(context.Background(), "v/there.bin", strings.NewReader("new"), o)
	if !errors.Is(err, storage.ErrExists) {
		t.Errorf("when the other is there: %v, want ErrExists", err)
	}
	_, err = s.Put(context.Background(), "v/none.bin", strings.NewReader("new"), o)
	if err == nil || errors.Is(err, storage.ErrExists) {
		t.Errorf("when there is none: %v, want a plain error", err)
	}
}

func TestRetry(t *testing.T) {
	s, w := openWire(t)
	failures := 0
	w.answer = func(r *http.Request) *http.Response {
		if failures < 2 {
			failures++
			return refuse(http.StatusServiceUnavailable, "SlowDown")
		}
		return nil
	}
	put(t, s, "v/x.bin", "hello")
	failures = 0
	if body, err := get(s, "v/x.bin"); body != "hello" || err != nil {
		t.Errorf("got %q, %v", body, err)
	}
}

func TestErrors(t *testing.T) {
	s, w := openWire(t)
	for _, c := range []struct {
		status int
		code   string
		want   error // nil: not an error of the contract
	}{
		{http.StatusInsufficientStorage, "XMinioStorageFull", storage.ErrFull},
		{http.StatusForbidden, "QuotaExceeded", storage.ErrFull},
		{http.StatusForbidden, "AccessDenied", nil},
		{http.StatusNotFound, minio.NoSuchBucket, nil},
		{http.StatusNotFound, minio.NoSuchUpload, nil},
	} {
		w.answer = func(*http.Request) *http.Response { return refuse(c.status, c.code) }
		_, err := s.Put(context.Background(), "v/x.bin", strings.NewReader("x"), storage.PutOptions{})
		if c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%d %s: %v, want %v", c.status, c.code, err, c.want)
		}
		for _, ours := range []error{storage.ErrNotFound, storage.ErrExists, storage.ErrRange, storage.ErrFull} {
			if ours != c.want && errors.Is(err, ours) {
				t.Errorf("%d %s: %v is %v", c.status, c.code, err, ours)
			}
		}
	}
}

// TestPartFails breaks an upload at a later part, and at its completion. Put must abort the upload.
func TestPartFails(t *testing.T) {
	s, w := openWire(t)
	for _, match := range []func(*http.Request) bool{
		func(r *http.Request) bool { return r.URL.Query().Get("partNumber") == "2" },
		func(r *http.Request) bool { return r.Method == http.MethodPost && r.URL.Query().Has("uploadId") },
	} {
		w.answer = func(r *http.Request) *http.Response {
			if match(r) {
				return refuse(http.StatusInsufficientStorage, "NoSpace")
			}
			return nil
		}
		body := strings.NewReader(strings.Repeat("x", 12<<20))
		_, err := s.Put(context.Background(), "v/x.bin", body, storage.PutOptions{})
		if !errors.Is(err, storage.ErrFull) {
			t.Errorf("put: %v, want ErrFull", err)
		}
		w.answer = nil
		if n, err := s.Reclaim(context.Background(), 0); n != 0 || err != nil {
			t.Errorf("%d uploads are left (%v)", n, err)
		}
	}
}

// TestRangeIgnored uses a server that sends the whole object instead of a range.
func TestRangeIgnored(t *testing.T) {
	s, w := openWire(t)
	put(t, s, "v/x.bin", "hello")
	w.answer = func(r *http.Request) *http.Response {
		r.Header.Del("Range")
		return &http.Response{
			StatusCode: http.StatusOK,
			Header:     http.Header{"Content-Length": {"5"}, "Etag": {`"x"`}, "Last-Modified": {lastModified}},
			Body:       io.NopCloser(strings.NewReader("hello")),
		}
	}
	if r, info, err := s.Get(context.Background(), "v/x.bin", storage.Range{Offset: 2}); err == nil {
		t.Errorf("got %v, %+v", r, info)
	}
}

const lastModified = "Mon, 02 Jan 2006 15:04:05 GMT"
