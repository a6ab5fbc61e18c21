package fetch

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/storage"
	"github.com/reelmill/reelmill/workers"
	"github.com/reelmill/reelmill/workers/workertest"
)

// quick is a configuration that reaches loopback, and does not wait between tries.
var quick = Config{AllowPrivate: true, Pause: time.Millisecond}

// file returns n bytes that are no text.
func file(seed uint64, n int) []byte {
	source, data := rand.New(rand.NewPCG(seed, 1)), make([]byte, n)
	for i := range data {
		data[i] = byte(source.Uint32())
	}
	return data
}

// fetched is what a download left in a store.
type fetched struct {
	pipeline.Object
	body     []byte
	requests any
}

// files is a store as an attempt sees it.
type files struct{ *workertest.Store }

func (f files) Local(context.Context, string, string) (string, error) { return "", storage.ErrNotFound }

func (f files) Upload(ctx context.Context, key, path string) (int64, string, error) {
	r, err := os.Open(path)
	if err != nil {
		return 0, "", err
	}
	defer r.Close()
	info, err := f.Put(ctx, key, r, storage.PutOptions{})
	return info.Size, info.SHA256, err
}

// try downloads as the worker loop does, into a real store, and tells of progress.
func try(t *testing.T, ctx context.Context, c Config, from pipeline.Fetch, tell func(pipeline.Progress)) (fetched, error) {
	t.Helper()
	part, err := json.Marshal(from)
	if err != nil {
		t.Fatal(err)
	}
	store := workertest.NewStore(t)
	r := workertest.Registry(pipeline.FetchStep, New(c))
	task := pipeline.Task{Video: store.Video, Job: pipeline.Job{Name: "fetch", Worker: pipeline.FetchStep, Part: part}}
	result, err := r.Work(ctx, workers.NewAttempt(workers.Attempt{Task: task, Token: 7, Dir: t.TempDir()}, files{store}, tell))
	if err != nil {
		return fetched{}, err
	}
	path, _ := store.LocalPath(result.Source.Key)
	body, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return fetched{*result.Source, body, result.Facts["requests"]}, nil
}

func get(t *testing.T, url string) (fetched, error) {
	t.Helper()
	return try(t, t.Context(), quick, pipeline.Fetch{URL: url}, nil)
}

func code(err error) pipeline.Code {
	if e, ok := errors.AsType[*pipeline.Error](err); ok {
		return e.Code
	}
	return ""
}

func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// TestDownload: a file of a plain server arrives whole, with its name and its sum.
func TestDownload(t *testing.T) {
	data := file(1, 1<<20)
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") != "identity" || r.Header.Get("Range") != "" || r.Header.Get("Cookie") != "" {
			t.Errorf("asked with %v", r.Header)
		}
		http.ServeContent(w, r, "", time.Unix(1, 0), bytes.NewReader(data))
	})
	var last pipeline.Progress
	got, err := try(t, t.Context(), quick, pipeline.Fetch{URL: url + "/a/My%20film.mp4?token=t"}, func(p pipeline.Progress) { last = p })
	if err != nil || !bytes.Equal(got.body, data) || got.Size != int64(len(data)) || got.SHA256 != sum(data) {
		t.Fatalf("%+v, %v", got.Object, err)
	}
	if got.Filename != "My film.mp4" || !strings.HasSuffix(got.Key, "/fetch/7/source.mp4") || got.ContentType != "video/mp4" {
		t.Errorf("%+v", got.Object)
	}
	if last.Bytes != int64(len(data)) || last.Total != last.Bytes || last.Fraction != 1 {
		t.Errorf("progress %+v", last)
	}
}

func TestFilenames(t *testing.T) {
	for _, c := range []struct{ own, disposition, path, want string }{
		{"mine.mov", `attachment; filename="theirs.mp4"`, "/path.mkv", "mine.mov"},
		{"", `attachment; filename="theirs.mp4"`, "/path.mkv", "theirs.mp4"},
		{"", `attachment; filename*=UTF-8''caf%C3%A9.mp4`, "/path.mkv", "café.mp4"},
		{"", `attachment; filename="../../etc/passwd"`, "/path.mkv", "passwd"},
		{"", "attachment; filename=\"a\u202eb.mp4\"", "/path.mkv", "ab.mp4"},
		{"", `nonsense; ;;`, "/a/b/path.mkv", "path.mkv"},
		{"", "", "/a%2Fb%5Cc.mp4", "c.mp4"},
		{"", "", "/", "upload"},
		{"", "", "", "upload"},
		{"", "", "/.", "."},
	} {
		d := download{from: pipeline.Fetch{URL: "https://example.org" + c.path, Filename: c.own}, disposition: c.disposition}
		if got := d.filename(); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

// cutter serves a file, and cuts each answer after a random number of bytes, but the last.
type cutter struct {
	data    []byte
	etag    string
	cuts    int
	ranges  bool // it can send parts
	ignores bool // it ignores If-Range
	change  func(c *cutter, request int)

	mu       sync.Mutex
	requests int
	ranged   int
}

func (c *cutter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests++
	if c.change != nil {
		c.change(c, c.requests)
	}
	first, status := 0, http.StatusOK
	if from, ok := strings.CutPrefix(r.Header.Get("Range"), "bytes="); ok && c.ranges {
		c.ranged++
		if c.ignores || r.Header.Get("If-Range") == c.etag {
			first, _ = strconv.Atoi(strings.TrimSuffix(from, "-"))
			if first >= len(c.data) {
				w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
				return
			}
			status = http.StatusPartialContent
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, len(c.data)-1, len(c.data)))
		}
	}
	w.Header().Set("ETag", c.etag)
	w.Header().Set("Content-Length", strconv.Itoa(len(c.data)-first))
	w.WriteHeader(status)
	n := len(c.data)
	if c.requests <= c.cuts {
		n = first + rand.IntN(len(c.data)-first+1)
	}
	_, _ = w.Write(c.data[first:n])
	if c.requests <= c.cuts {
		panic(http.ErrAbortHandler)
	}
}

// TestCuts: whatever the offsets of the cuts, the file is whole. A server that sends parts sends no byte twice; of
// another the file is begun anew each time.
func TestCuts(t *testing.T) {
	for range 10 {
		for _, ranges := range []bool{true, false} {
			c := &cutter{data: file(rand.Uint64(), 300_000), etag: `"1"`, cuts: rand.IntN(maxBroken), ranges: ranges}
			got, err := get(t, serve(t, c.ServeHTTP))
			if err != nil || got.SHA256 != sum(c.data) || got.Size != int64(len(c.data)) {
				t.Fatalf("ranges %v, %d cuts: %+v, %v", ranges, c.cuts, got.Object, err)
			}
		}
	}
}

// TestManyCuts: any number of cuts is survived as long as each request brings a byte.
func TestManyCuts(t *testing.T) {
	data := file(3, 200_000)
	requests := 0
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		requests++
		first, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(r.Header.Get("Range"), "bytes="), "-"))
		w.Header().Set("ETag", `"1"`)
		w.Header().Set("Content-Length", strconv.Itoa(len(data)-first))
		if first > 0 {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, len(data)-1, len(data)))
			w.WriteHeader(http.StatusPartialContent)
		}
		_, _ = w.Write(data[first:min(len(data), first+7000)])
		if first+7000 < len(data) {
			panic(http.ErrAbortHandler)
		}
	})
	got, err := get(t, url)
	if err != nil || got.SHA256 != sum(data) || requests < 20 {
		t.Fatalf("%+v after %d requests, %v", got.Object, requests, err)
	}
}

// TestFileChanges: when the file changes between two requests, it is begun anew, also if the server ignores
// If-Range or sends no ETag: parts of two files are never mixed.
func TestFileChanges(t *testing.T) {
	for name, kind := range map[string]struct {
		etag            string
		ranges, ignores bool
	}{
		"honest":           {etag: `"1"`, ranges: true},
		"ignores If-Range": {etag: `"1"`, ranges: true, ignores: true},
		"weak ETag":        {etag: `W/"1"`, ranges: true, ignores: true},
		"no ETag":          {ranges: true, ignores: true},
		"without ranges":   {etag: `"1"`},
		"becomes smaller":  {etag: `"1"`, ranges: true, ignores: true},
	} {
		for range 5 {
			size := 200_000
			if name == "becomes smaller" {
				size = 1000
			}
			changed := file(rand.Uint64(), size)
			c := &cutter{ // a new one each time: the last answer may still be under way
				data: file(rand.Uint64(), 200_000), cuts: 2,
				etag: kind.etag, ranges: kind.ranges, ignores: kind.ignores,
			}
			c.change = func(c *cutter, request int) {
				if request == 2 {
					c.data, c.etag = changed, strings.Replace(c.etag, "1", "2", 1)
				}
			}
			got, err := get(t, serve(t, c.ServeHTTP))
			if err != nil || got.SHA256 != sum(changed) {
				t.Errorf("%s: %+v, want %s, %v", name, got.Object, sum(changed), err)
			}
		}
	}
}

// TestDates: a date serves to continue a file only if it is surely older than the file's last change.
func TestDates(t *testing.T) {
	now := time.Now().UTC()
	for _, c := range []struct {
		header http.Header
		want   string
	}{
		{http.Header{"Etag": {`"a"`}}, `"a"`},
		{http.Header{"Etag": {`W/"a"`}}, ""},
		{http.Header{"Etag": {`a`}}, ""},
		{http.Header{"Etag": {`""`}}, ""},
		{http.Header{"Last-Modified": {"Mon, 02 Jan 2006 15:04:05 GMT"}, "Date": {now.Format(http.TimeFormat)}}, "Mon, 02 Jan 2006 15:04:05 GMT"},
		{http.Header{"Last-Modified": {now.Format(http.TimeFormat)}, "Date": {now.Format(http.TimeFormat)}}, ""},
		{http.Header{"Last-Modified": {"Mon, 02 Jan 2006 15:04:05 GMT"}}, ""},
		{http.Header{}, ""},
	} {
		if got := strong(c.header); got != c.want {
			t.Errorf("%v: %q", c.header, got)
		}
	}
}

// TestResumeByDate: a server without ETags, as a plain one for folders is, sends parts by date.
func TestResumeByDate(t *testing.T) {
	data, parts := file(5, 100_000), 0
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-Range") != "" {
			parts++
		} else {
			defer func() { panic(http.ErrAbortHandler) }()
			w = &cutWriter{w, 40_000}
		}
		http.ServeContent(w, r, "", time.Unix(1e9, 0), bytes.NewReader(data))
	})
	got, err := get(t, url)
	if err != nil || got.SHA256 != sum(data) || parts != 1 {
		t.Errorf("%+v with %d parts, %v", got.Object, parts, err)
	}
}

// cutWriter lets some bytes of a body through.
type cutWriter struct {
	http.ResponseWriter
	left int
}

func (c *cutWriter) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p[:min(len(p), c.left)])
	c.left -= n
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return n, err
}

// TestAnswers: which answers end the fetch, and which are tried again. No error has the query of the URL.
func TestAnswers(t *testing.T) {
	for status, want := range map[int]pipeline.Code{
		204: pipeline.CodeFetchRefused, 206: pipeline.CodeFetchRefused, 304: pipeline.CodeFetchRefused,
		400: pipeline.CodeFetchRefused, 401: pipeline.CodeFetchRefused, 403: pipeline.CodeFetchRefused,
		404: pipeline.CodeFetchRefused, 410: pipeline.CodeFetchRefused, 416: pipeline.CodeFetchRefused,
		408: pipeline.CodeFetchFailed, 429: pipeline.CodeFetchFailed, 500: pipeline.CodeFetchFailed,
		503: pipeline.CodeFetchFailed, 599: pipeline.CodeFetchFailed,
	} {
		requests := 0
		url := serve(t, func(w http.ResponseWriter, r *http.Request) {
			requests++
			w.WriteHeader(status)
			_, _ = io.WriteString(w, "<Error><Code>ExpiredToken</Code><Signature>hidden</Signature>"+r.URL.RawQuery)
		})
		_, err := get(t, url+"/a?sig=hidden")
		if code(err) != want || strings.Contains(err.Error(), "hidden") || !strings.Contains(err.Error(), strconv.Itoa(status)) {
			t.Errorf("%d: %v", status, err)
		}
		if retried := requests > 1; retried != (want == pipeline.CodeFetchFailed) || requests > maxBroken {
			t.Errorf("%d: %d requests", status, requests)
		}
		if status == 403 && !strings.Contains(err.Error(), "ExpiredToken") {
			t.Errorf("%v lacks the code of the store", err)
		}
	}
}

// TestRetryAfter: a server that asks for a pause gets it, here; a long one ends the attempt.
func TestRetryAfter(t *testing.T) {
	requests := 0
	url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if requests++; requests == 1 {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write(file(1, 100))
	})
	began := time.Now()
	if _, err := get(t, url); err != nil || time.Since(began) < time.Second || requests != 2 {
		t.Errorf("%d requests in %s, %v", requests, time.Since(began), err)
	}
	requests = 0
	url = serve(t, func(w http.ResponseWriter, _ *http.Request) {
		requests++
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	if _, err := get(t, url); code(err) != pipeline.CodeFetchFailed || requests != 1 {
		t.Errorf("%d requests, %v", requests, err)
	}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for header, want := range map[string]time.Duration{
		"": 0, "5": 5 * time.Second, "-5": 0, "x": 0, "99999999999999": 0,
		"Fri, 02 Jan 2026 03:05:05 GMT": time.Minute, "Fri, 02 Jan 2026 03:03:05 GMT": 0,
	} {
		if got := retryAfter(header, now); got != want {
			t.Errorf("%q: %s", header, got)
		}
	}
}

// TestTooLarge: a file that is announced as too large costs no byte, another as many as are allowed.
func TestTooLarge(t *testing.T) {
	from := pipeline.Fetch{MaxBytes: 1000}
	from.URL = serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(10<<30))
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		<-r.Context().Done() // not a byte: the client must leave by itself
	})
	if _, err := try(t, t.Context(), quick, from, nil); code(err) != pipeline.CodeTooLarge {
		t.Error(err)
	}
	from.URL = serve(t, func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(file(1, 500)); err != nil {
				return
			}
		}
	})
	if _, err := try(t, t.Context(), quick, from, nil); code(err) != pipeline.CodeTooLarge {
		t.Error(err)
	}
	from.URL = serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(file(1, 1000)) })
	if _, err := try(t, t.Context(), quick, from, nil); err != nil {
		t.Error(err)
	}
}

// TestNoFile: what is surely no file of a video has its own end.
func TestNoFile(t *testing.T) {
	page := "\n <!DOCTYPE html><html><body>Log in</body></html>"
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = z.Write(file(1, 1000))
	_ = z.Close()
	for name, c := range map[string]struct {
		headers string
		body    string
		want    pipeline.Code
	}{
		"page":                      {"Content-Type: text/html; charset=utf-8", page, pipeline.CodeFetchPage},
		"page as video":             {"Content-Type: video/mp4", page, pipeline.CodeFetchPage},
		"page without type":         {"", page + strings.Repeat("x", 1000), pipeline.CodeFetchPage},
		"text that is called HTML":  {"Content-Type: text/html", "please log in", pipeline.CodeFetchPage},
		"video that is called HTML": {"Content-Type: text/html", string(file(2, 1000)), ""},
		"empty":                     {"", "", pipeline.CodeFetchRefused},
		"compressed":                {"Content-Encoding: gzip", zipped.String(), pipeline.CodeFetchRefused},
		"left by a client of S3":    {"Content-Encoding: aws-chunked", string(file(2, 1000)), ""},
	} {
		url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"] = nil
			if key, value, ok := strings.Cut(c.headers, ": "); ok {
				w.Header().Set(key, value)
			}
			_, _ = io.WriteString(w, c.body)
		})
		got, err := get(t, url)
		if code(err) != c.want || c.want == "" && (err != nil || string(got.body) != c.body) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSlow: a server that drips, and one that is silent, do not hold a slot for ever.
func TestSlow(t *testing.T) {
	drip := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000000")
		for r.Context().Err() == nil {
			if _, err := w.Write([]byte{1}); err != nil {
				return
			}
			w.(http.Flusher).Flush()
			select {
			case <-r.Context().Done():
			case <-time.After(time.Millisecond):
			}
		}
	})
	c := quick
	c.MinRate, c.Slack = 1<<30, 100*time.Millisecond
	if _, err := try(t, t.Context(), c, pipeline.Fetch{URL: drip}, nil); code(err) != pipeline.CodeFetchFailed ||
		!strings.Contains(err.Error(), "bytes a second") {
		t.Error(err)
	}
	c = quick
	c.Idle = 50 * time.Millisecond
	silent := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000000")
		_, _ = w.Write([]byte{1})
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	if _, err := try(t, t.Context(), c, pipeline.Fetch{URL: silent}, nil); code(err) != pipeline.CodeFetchFailed {
		t.Error(err)
	}
	mute := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	if _, err := try(t, t.Context(), c, pipeline.Fetch{URL: mute}, nil); code(err) != pipeline.CodeFetchFailed {
		t.Error(err)
	}
}

// TestGuard: no address that is not public is asked, directly or through a redirect.
func TestGuard(t *testing.T) {
	asked := 0
	target := serve(t, func(http.ResponseWriter, *http.Request) { asked++ })
	port := target[strings.LastIndex(target, ":"):]
	strict := Config{Pause: time.Millisecond}
	for _, host := range []string{"127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "2130706433", "0x7f.1", "127.1", "127.0.0.1."} {
		_, err := try(t, t.Context(), strict, pipeline.Fetch{URL: "http://" + host + port + "/a?sig=hidden"}, nil)
		if code(err) != pipeline.CodeFetchRefused || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: %v", host, err)
		}
	}
	if asked != 0 {
		t.Fatalf("the guard let %d requests pass", asked)
	}
	loop := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/again?sig=hidden", http.StatusFound)
	})
	if _, err := get(t, loop); code(err) != pipeline.CodeFetchRefused || !strings.Contains(err.Error(), "5 redirects") {
		t.Errorf("a loop: %v", err)
	}
	data := file(1, 1000)
	end := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(data) })
	hop := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, end+"/b.mp4", http.StatusFound) })
	if got, err := get(t, hop+"/a.mov"); err != nil || got.SHA256 != sum(data) || got.Filename != "a.mov" {
		t.Errorf("a redirect: %+v, %v", got.Object, err)
	}
}

// TestCancel: a download stops when it is no longer wanted, whatever the server does.
func TestCancel(t *testing.T) {
	gone := make(chan struct{})
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(file(1, 10_000))
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		close(gone)
	})
	unwanted := errors.New("unwanted")
	ctx, cancel := context.WithCancelCause(t.Context())
	_, err := try(t, ctx, quick, pipeline.Fetch{URL: url}, func(pipeline.Progress) { cancel(unwanted) })
	if !errors.Is(err, unwanted) {
		t.Error(err)
	}
	<-gone
}

// TestNoConnection: errors of the connection name no more of the URL than its host.
func TestNoConnection(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close()
	if _, err := get(t, s.URL+"/a?sig=hidden"); code(err) != pipeline.CodeFetchFailed || strings.Contains(err.Error(), "hidden") {
		t.Error(err)
	}
	tls := httptest.NewTLSServer(http.NotFoundHandler())
	defer tls.Close()
	if _, err := get(t, tls.URL+"/a?sig=hidden"); code(err) != pipeline.CodeFetchRefused || strings.Contains(err.Error(), "hidden") {
		t.Error(err)
	}
}

func TestConformance(t *testing.T) {
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Unix(1, 0), bytes.NewReader(file(1, 100_000)))
	})
	part, err := json.Marshal(pipeline.Fetch{URL: url + "/a.mp4"})
	if err != nil {
		t.Fatal(err)
	}
	workertest.Run(t, workertest.Case{
		Registry: workertest.Registry(pipeline.FetchStep, New(quick)), Worker: pipeline.FetchStep,
		Jobs: []pipeline.Job{{Name: "fetch", Part: part}},
	})
}

// FuzzContentRange: what is read of the header of a part is what it says.
func FuzzContentRange(f *testing.F) {
	for _, h := range []string{"bytes 0-1/2", "bytes 5-9/10", "bytes */5", "bytes 1-2/*", "bytes -1-2/3", "bytes 99999999999999999999-1/2"} {
		f.Add(h)
	}
	f.Fuzz(func(t *testing.T, header string) {
		first, total, ok := contentRange(header)
		if ok != (first >= 0 && total >= 0 && contentRanges.MatchString(header)) || !ok && first+total != 0 {
			t.Errorf("%q: %d of %d, %v", header, first, total, ok)
		}
	})
}
