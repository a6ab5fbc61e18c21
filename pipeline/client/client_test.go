package client

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/api"
	"github.com/reelmill/reelmill/pipeline/api/apitest"
	"github.com/reelmill/reelmill/storage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const project = pipeline.DefaultProject

// env is a real server, with faults in front of it.
type env struct {
	apitest.Parts
	t      *testing.T
	client *Client
	srv    *httptest.Server
	conns  *connections
	// fault may answer a request instead of the server; it reports whether it did.
	fault atomic.Pointer[func(http.ResponseWriter, *http.Request) bool]
}

type planner struct{}

func (planner) Plan(string, json.RawMessage, pipeline.Media) ([]pipeline.Job, error) { return nil, nil }
func (planner) Check(string, json.RawMessage) error                                  { return nil }
func (planner) Traits() map[string]pipeline.Traits {
	png := pipeline.Format{Name: "PNG", Extension: ".png", Magic: "\x89PNG"}
	field := &pipeline.UploadField{Asset: "image", Formats: []pipeline.Format{png}, Short: "text"}
	return map[string]pipeline.Traits{"watermark": {Upload: field}}
}

func newEnv(t *testing.T) *env {
	t.Helper()
	return newEnvWith(t, nil)
}

// newEnvWith is newEnv with another store, unless it is nil.
func newEnvWith(t *testing.T, store storage.Store) *env {
	t.Helper()
	e := &env{t: t, Parts: apitest.Open(t)}
	if store == nil {
		store = e.Store
	}
	h, err := api.New(api.Config{
		Store: store, Log: e.Bus, Catalog: e.Catalog, Progress: e.Bus, Planner: planner{},
		Queue: e.Bus, DeadLetters: e.Bus, Stats: e.Catalog,
		Ready:  func(context.Context) map[string]error { return map[string]error{"log": nil} },
		Limits: api.Limits{ReadYourWrites: time.Hour},
	})
	must(t, err)
	front := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f := e.fault.Load(); f == nil || !(*f)(w, r) {
			h.ServeHTTP(w, r)
		}
	})
	e.srv = httptest.NewUnstartedServer(front)
	e.srv.Config = api.Server("", front)
	e.srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	e.conns = &connections{Listener: e.srv.Listener}
	e.srv.Listener = e.conns
	e.srv.Start()
	t.Cleanup(e.srv.Close)
	t.Cleanup(func() { h.EndStreams(context.Background()) })
	e.client = New(e.srv.URL+"/", e.srv.Client())
	e.client.retry = func(int) time.Duration { return time.Millisecond }
	return e
}

// connections is a listener that knows its connections, those of streams included, which the server does not.
type connections struct {
	net.Listener
	mu  sync.Mutex
	all []net.Conn
}

// Accept implements net.Listener.
func (c *connections) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.all = append(c.all, conn)
	}
	return conn, err
}

// cut closes all connections, as a broken network does.
func (e *env) cut() {
	e.conns.mu.Lock()
	defer e.conns.mu.Unlock()
	for _, conn := range e.conns.all {
		_ = conn.Close() // it may be closed
	}
}

// breakWith puts a fault in front of the server, which is called for each request.
func (e *env) breakWith(on func(w http.ResponseWriter, r *http.Request) bool) { e.fault.Store(&on) }

func (e *env) tell(kind pipeline.EventType, subject string, data any) {
	e.t.Helper()
	e.Tell(e.t, kind, subject, data)
}

func (e *env) finish(id string) {
	e.t.Helper()
	e.tell(pipeline.VideoReady, pipeline.FinishedSubject(project, id), pipeline.Finish{State: pipeline.StateVideoReady})
}

// write writes a file and returns its path.
func write(t *testing.T, name, body string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	must(t, os.WriteFile(path, []byte(body), 0o600))
	return path
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestUpload(t *testing.T) {
	e := newEnv(t)
	body := strings.Repeat("meow", 100_000)
	var sent []int64
	var mu sync.Mutex
	v, err := e.client.Upload(t.Context(), Upload{
		Path: write(t, `c"at.mp4`, body), Pipeline: "default", Priority: pipeline.Bulk, Metadata: map[string]string{"title": "Cat"},
		Passthrough: "p", Watermark: write(t, "logo.png", "\x89PNG\r\n\x1a\n...."), WebhookURL: "https://hooks.example/",
		Progress: func(n, total int64) {
			mu.Lock()
			defer mu.Unlock()
			sent = append(sent, n)
			if total != int64(len(body)) {
				t.Errorf("total %d", total)
			}
		},
	})
	must(t, err)
	sum := sha256.Sum256([]byte(body))
	if v.Size != int64(len(body)) || v.SHA256 != hex.EncodeToString(sum[:]) || v.Metadata["title"] != "Cat" ||
		v.Passthrough != "p" || !strings.HasSuffix(v.Filename, "at.mp4") {
		t.Errorf("%+v", v)
	}
	if !slices.IsSorted(sent) || sent[len(sent)-1] != int64(len(body)) {
		t.Errorf("progress %v", sent)
	}
	last, err := e.Bus.Last(t.Context(), pipeline.UploadedSubject(project, v.ID))
	must(t, err)
	var up pipeline.Upload
	must(t, last[0].Decode(&up))
	if up.Assets["watermark"].Size != 12 || up.Requested["watermark"]["image"] != "watermark" ||
		up.Webhook.URL != "https://hooks.example/" || up.Priority != pipeline.Bulk {
		t.Errorf("%+v", up)
	}
}

// TestUploadKeepsQuotes: a file name comes back with its quotes.
func TestUploadKeepsQuotes(t *testing.T) {
	e := newEnv(t)
	for _, name := range []string{`the "final" cut.mp4`, `"`, `100%.mp4`, `it's ; a=b.mp4`} {
		v, err := e.client.Upload(t.Context(), Upload{Path: write(t, "a.mp4", "meow"), Name: name})
		must(t, err)
		if v.Filename != name {
			t.Errorf("%q came back as %q", name, v.Filename)
		}
	}
}

// TestUploadDropsControls: a file name with control characters, which no header can carry, is no obstacle.
func TestUploadDropsControls(t *testing.T) {
	e := newEnv(t)
	v, err := e.client.Upload(t.Context(), Upload{Path: write(t, "a.mp4", "meow"), Name: "a\x1b[2J\r\n\t\x01\u0085.mp4"})
	if err != nil || v.Filename != "a[2J.mp4" {
		t.Errorf("%q, %v", v.Filename, err)
	}
}

func TestUploadWatermarkParameters(t *testing.T) {
	e := newEnv(t)
	for _, w := range []string{"text:cat", ` {"text":"cat"}`} {
		v, err := e.client.Upload(t.Context(), Upload{Reader: strings.NewReader("x"), Name: "x.mp4", Watermark: w})
		must(t, err)
		last, err := e.Bus.Last(t.Context(), pipeline.UploadedSubject(project, v.ID))
		must(t, err)
		var up pipeline.Upload
		must(t, last[0].Decode(&up))
		if up.Requested["watermark"]["text"] != "cat" {
			t.Errorf("%+v", up.Requested)
		}
	}
}

// Whatever breaks, the upload makes one video.
func TestUploadIsTriedAgain(t *testing.T) {
	for name, fault := range map[string]func(e *env, n int, w http.ResponseWriter, r *http.Request) bool{
		"503 before": func(_ *env, n int, w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(http.StatusServiceUnavailable)
			return n < 3
		},
		"cut in the middle": func(_ *env, n int, _ http.ResponseWriter, r *http.Request) bool {
			if n < 3 {
				_, _ = io.CopyN(io.Discard, r.Body, 100_000)
				panic(http.ErrAbortHandler)
			}
			return false
		},
		"answer lost": func(e *env, n int, _ http.ResponseWriter, r *http.Request) bool {
			if n < 3 {
				f := e.fault.Swap(nil)
				e.srv.Config.Handler.ServeHTTP(httptest.NewRecorder(), r)
				e.fault.Store(f)
				panic(http.ErrAbortHandler)
			}
			return false
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			n := 0
			e.breakWith(func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodPost {
					return false
				}
				if n++; n >= 3 {
					return false
				}
				return fault(e, n, w, r)
			})
			body := strings.Repeat("meow", 500_000)
			for _, u := range []Upload{
				{Path: write(t, "cat.mp4", body)},
				{Reader: strings.NewReader(body), Name: "cat.mp4", Size: int64(len(body))},
			} {
				n = 0
				v, err := e.client.Upload(t.Context(), u)
				must(t, err)
				if v.Size != int64(len(body)) || n != 3 {
					t.Errorf("size %d after %d tries", v.Size, n)
				}
			}
			if p, err := e.client.List(t.Context(), ListOptions{}); err != nil || len(p.Data) != 2 {
				t.Errorf("%d videos, %v; want 2", len(p.Data), err)
			}
		})
	}
}

func TestUploadGivesUp(t *testing.T) {
	e := newEnv(t)
	var n int
	status := 0
	e.breakWith(func(w http.ResponseWriter, r *http.Request) bool {
		n++
		w.Header().Set("X-Request-Id", "req_x")
		w.WriteHeader(status)
		return true
	})
	path := write(t, "cat.mp4", "meow")
	for _, c := range []struct {
		status, tries int
		u             Upload
	}{
		{502, maxFailures + 1, Upload{Path: path}},
		{507, 1, Upload{Path: path}},
		{422, 1, Upload{Path: path}},
		{502, 1, Upload{Reader: io.MultiReader(strings.NewReader("x")), Name: "x"}}, // cannot be read twice
	} {
		n, status = 0, c.status
		_, err := e.client.Upload(t.Context(), c.u)
		failed, ok := errors.AsType[*Error](err)
		if !ok || failed.Status != c.status || failed.RequestID != "req_x" || n != c.tries {
			t.Errorf("%d: %d tries, %v", c.status, n, err)
		}
	}
}

func TestUploadRefused(t *testing.T) {
	e := newEnv(t)
	_, err := e.client.Upload(t.Context(), Upload{Path: write(t, "big.mp4", strings.Repeat("x", 8<<20)), Pipeline: "nope"})
	failed, ok := errors.AsType[*Error](err)
	if !ok || failed.Code != "pipeline_unknown" || failed.Status != 422 || failed.Remedy == "" || failed.RequestID == "" ||
		!strings.Contains(err.Error(), "nope") {
		t.Errorf("%#v", err)
	}
}

func TestUploadOfNothing(t *testing.T) {
	e := newEnv(t)
	broken := io.MultiReader(strings.NewReader("x"), errReader{})
	for name, u := range map[string]Upload{
		"no source":       {},
		"no name":         {Reader: strings.NewReader("x")},
		"missing":         {Path: filepath.Join(t.TempDir(), "nope.mp4")},
		"folder":          {Path: t.TempDir()},
		"no watermark":    {Reader: strings.NewReader("x"), Name: "x", Watermark: "/nope.png"},
		"broken reader":   {Reader: broken, Name: "x"},
		"empty file":      {Path: write(t, "empty.mp4", "")},
		"invalid address": {Path: write(t, "a.mp4", "x"), WebhookURL: "x"},
	} {
		if _, err := e.client.Upload(t.Context(), u); err == nil {
			t.Errorf("%s: no error", name)
		} else if name == "broken reader" && !errors.Is(err, errBroken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := New("localhost:8080", nil).Upload(t.Context(), Upload{Reader: strings.NewReader("x"), Name: "x"}); !errors.Is(err, errBase) {
		t.Error(err)
	}
}

var errBroken = errors.New("broken")

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errBroken }

func TestUploadEndsWithItsContext(t *testing.T) {
	e := newEnv(t)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := e.client.Upload(ctx, Upload{
		Path: write(t, "big.mp4", strings.Repeat("x", 8<<20)), Progress: func(int64, int64) { cancel() },
	})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestReads(t *testing.T) {
	e := newEnv(t)
	ctx := t.Context()
	if r, err := e.client.Ready(ctx); err != nil || r.Checks["log"] != "ok" {
		t.Errorf("%+v %v", r, err)
	}
	var ids []string
	for range 3 {
		v, err := e.client.Upload(ctx, Upload{Reader: strings.NewReader("x"), Name: "x.mp4"})
		must(t, err)
		ids = append([]string{v.ID}, ids...)
	}
	var got []string
	for o := (ListOptions{Limit: 2, Status: pipeline.StateVideoQueued}); ; {
		p, err := e.client.List(ctx, o)
		must(t, err)
		for _, v := range p.Data {
			got = append(got, v.ID)
		}
		if o.Cursor = p.NextCursor; o.Cursor == "" {
			break
		}
	}
	if !slices.Equal(got, ids) {
		t.Errorf("listed %v, want %v", got, ids)
	}
	if v, err := e.client.Video(ctx, ids[0]); err != nil || v.ID != ids[0] {
		t.Errorf("%+v %v", v, err)
	}
	if jobs, err := e.client.Jobs(ctx, ids[0]); err != nil || len(jobs) != 0 {
		t.Errorf("%+v %v", jobs, err)
	}
	if outputs, err := e.client.Outputs(ctx, ids[0]); err != nil || len(outputs) != 0 {
		t.Errorf("%+v %v", outputs, err)
	}
	if p, err := e.client.Pipelines(ctx); err != nil || p[0].Name != "default" {
		t.Errorf("%+v %v", p, err)
	}
	must(t, e.client.Delete(ctx, ids[0]))
	if _, err := e.client.Video(ctx, ids[0]); !errors.Is(err, pipeline.ErrNotFound) {
		t.Error(err)
	}
	if err := e.client.Delete(ctx, "vid_nope"); !errors.Is(err, pipeline.ErrNotFound) {
		t.Error(err)
	}
}

func TestReadyIsNot(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(503)
		fmt.Fprint(w, `{"status":"unavailable","checks":{"log":"down"}}`)
	}))
	defer srv.Close()
	r, err := New(srv.URL, srv.Client()).Ready(t.Context())
	if failed, ok := errors.AsType[*Error](err); !ok || failed.Status != 503 || r.Checks["log"] != "down" {
		t.Errorf("%+v %v", r, err)
	}
}

// TestReadyOfAProxy checks that the 503 of a proxy, which has no checks, is an *Error of status 503 too.
func TestReadyOfAProxy(t *testing.T) {
	for _, status := range []int{404, 503} {
		client, _ := asking(func(int, *http.Request) (*http.Response, error) { return reply(status, "<html>"), nil })
		r, err := client.Ready(t.Context())
		if e, ok := errors.AsType[*Error](err); !ok || e.Status != status || r.Checks != nil {
			t.Errorf("%d: %+v, %v", status, r, err)
		}
	}
}

func TestWait(t *testing.T) {
	e := newEnv(t)
	v, err := e.client.Upload(t.Context(), Upload{Reader: strings.NewReader("x"), Name: "x.mp4"})
	must(t, err)
	var n atomic.Int32
	asked := make(chan struct{})
	e.breakWith(func(w http.ResponseWriter, _ *http.Request) bool {
		if n.Add(1) <= 2 { // a server that is restarting
			w.WriteHeader(502)
			return true
		}
		close(asked)
		return false
	})
	var wg sync.WaitGroup
	wg.Go(func() {
		if v, err := e.client.Wait(t.Context(), v.ID, Ready); err != nil || v.Status != "ready" {
			t.Errorf("%+v %v", v, err)
		}
	})
	<-asked
	e.finish(v.ID)
	wg.Wait()
	e.breakWith(func(http.ResponseWriter, *http.Request) bool { return false })
	if _, err := e.client.Wait(t.Context(), "vid_nope", Playable); !errors.Is(err, pipeline.ErrNotFound) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.client.Wait(ctx, v.ID, Ready); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestBackoff(t *testing.T) {
	for n := 1; n < 100; n++ {
		if d := backoff(n); d < firstPause/2 || d > 2*maxPause {
			t.Errorf("pause %d is %s", n, d)
		}
	}
	var all time.Duration
	for range 4000 {
		for n := range maxFailures {
			all += backoff(n + 1)
		}
	}
	if mean := all / 4000; mean < RetryTime-time.Second || mean > RetryTime+2*time.Second {
		t.Errorf("an upload is tried again for %s, and says %s", mean, RetryTime)
	}
}
