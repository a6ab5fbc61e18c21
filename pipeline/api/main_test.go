package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/access"
	"github.com/reelmill/reelmill/pipeline/api/apitest"
	"github.com/reelmill/reelmill/pipeline/bulk"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
	"github.com/reelmill/reelmill/pipeline/quota"
	"github.com/reelmill/reelmill/storage"
)

// seenCodes holds the codes of all problems that any test received.
var seenCodes sync.Map

func TestMain(m *testing.M) {
	flag.Parse()
	status := m.Run()
	if whole := flag.Lookup("test.run").Value.String() == "" && flag.Lookup("test.fuzz").Value.String() == "" &&
		flag.Lookup("test.list").Value.String() == "" && flag.Lookup("test.skip").Value.String() == ""; status == 0 && whole {
		for c := range codes {
			if _, seen := seenCodes.Load(c); !seen {
				fmt.Printf("no test was answered the code %s\n", c)
				status = 1
			}
		}
	}
	if err := goleak.Find(); status == 0 && err != nil {
		fmt.Println(err)
		status = 1
	}
	os.Exit(status)
}

// env is a complete server with the real broker, catalog and store.
type env struct {
	apitest.Parts
	t       *testing.T
	config  Config // with its defaults
	url     string
	handler http.Handler
	api     *Handler
	srv     *httptest.Server
	client  *http.Client
	served  chan string // method and path of each answered request
}

// planner knows two worker types that take a file or a text: watermark, and stamp, which exists only here.
type planner struct{}

func (planner) Plan(string, json.RawMessage, pipeline.Media) ([]pipeline.Job, error) { return nil, nil }

func (planner) Check(worker string, params json.RawMessage) error {
	if worker != "watermark" && worker != "stamp" {
		return pipeline.Fail(pipeline.CodeWorkerTypeUnknown, "no worker of type %q is registered", worker)
	}
	var p struct {
		Image, Text, Ink, Position string
		Opacity                    *float64
	}
	if err := json.Unmarshal(params, &p); err != nil {
		return pipeline.Fail(pipeline.CodeParameters, "%s", err)
	}
	if p.Image == "" && p.Text == "" && p.Ink == "" {
		return pipeline.Fail(pipeline.CodeParameters, "neither image nor text")
	}
	return nil
}

func (planner) Traits() map[string]pipeline.Traits {
	return map[string]pipeline.Traits{
		"watermark": {HidesSource: true, Upload: &pipeline.UploadField{
			Asset: "image", Short: "text",
			Formats: []pipeline.Format{
				{Name: "JPEG", Extension: ".jpg", Magic: "\xff\xd8\xff"},
				{Name: "PNG", Extension: ".png", Magic: "\x89PNG\r\n\x1a\n"},
			},
		}},
		"stamp": {HidesSource: true, Upload: &pipeline.UploadField{
			Asset: "ink", Formats: []pipeline.Format{{Name: "SubRip", Extension: ".srt"}},
			CheckParams: func(raw json.RawMessage) error {
				if strings.Contains(string(raw), "pink") {
					return pipeline.Fail(pipeline.CodeParameters, "there is no pink")
				}
				return nil
			},
			CheckFile: func(file io.Reader) error {
				head, err := io.ReadAll(io.LimitReader(file, 3))
				if err == nil && string(head) == "red" {
					err = pipeline.Fail(pipeline.CodeParameters, "the ink is refused: it is red")
				}
				return err
			},
		}},
	}
}

func newEnv(t *testing.T, change func(*Config)) *env {
	t.Helper()
	e := &env{t: t, Parts: apitest.Open(t), served: make(chan string, 1000)}
	book := access.NewBook()
	cfg := Config{
		Store: e.Store, Log: e.Bus, Catalog: e.Catalog, Progress: e.Bus, Planner: planner{},
		Queue: e.Bus, Queues: e.Bus, Paces: e.Catalog, DeadLetters: e.Bus, Backlog: e.Catalog, Stats: e.Catalog,
		Bulk:     &bulk.Desk{Bucket: e.Bus, Letters: e.Bus},
		Keys:     book,
		Tokens:   tokensOf(t, e.Bus),
		Webhooks: deskOf(e.Bus, &target{}),
		Quotas:   unlimited(e.Parts),
		Limits:   Limits{MaxUpload: 1 << 20, ReadYourWrites: time.Hour},
	}
	if change != nil {
		change(&cfg)
	}
	if cfg.Keys == Keys(book) { // else the test runs its own
		e.follow(book)
	}
	e.serve(cfg)
	return e
}

// follow lets a book hear of the log until the test ends, and waits until it has.
func (e *env) follow(book *access.Book) {
	e.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- book.Run(ctx, e.Bus) }()
	e.t.Cleanup(func() { cancel(); must(e.t, <-done) })
	must(e.t, book.WaitFresh(pipelinetest.Context(e.t)))
}

func (e *env) serve(cfg Config) {
	h, err := New(cfg)
	must(e.t, err)
	e.config, e.api = cfg.withDefaults(), h
	e.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { e.served <- r.Method + " " + r.URL.Path }()
		h.ServeHTTP(w, r)
	})
	e.srv = httptest.NewUnstartedServer(e.handler)
	e.srv.Config = Server("", e.handler)
	e.srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	e.srv.Start()
	e.url, e.client = e.srv.URL, e.srv.Client()
	e.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	e.t.Cleanup(e.srv.Close)
	e.t.Cleanup(func() { h.EndStreams(context.Background()) })
}

// part is one part of a form.
type part struct {
	name, filename string // a field without a filename
	body           io.Reader
}

func field(name, value string) part { return part{name, "", strings.NewReader(value)} }

func file(name, body string) part { return part{"file", name, strings.NewReader(body)} }

// writeParts writes a form with its closing boundary.
func writeParts(w *multipart.Writer, parts ...part) error {
	for _, p := range parts {
		disposition := fmt.Sprintf(`form-data; name="%s"`, p.name)
		if p.filename != "" {
			disposition += fmt.Sprintf(`; filename="%s"`, p.filename)
		}
		dst, err := w.CreatePart(textproto.MIMEHeader{"Content-Disposition": {disposition}})
		if err != nil {
			return err
		}
		if _, err := io.Copy(dst, p.body); err != nil {
			return err
		}
	}
	return w.Close()
}

// post uploads a form; headers come in pairs.
func (e *env) post(parts []part, headers ...string) (*http.Response, []byte) {
	e.t.Helper()
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	must(e.t, writeParts(w, parts...))
	return e.do("POST", "/v1/videos", &body, append([]string{"Content-Type", w.FormDataContentType()}, headers...)...)
}

func (e *env) do(method, path string, body io.Reader, headers ...string) (*http.Response, []byte) {
	e.t.Helper()
	req, err := http.NewRequestWithContext(e.t.Context(), method, e.url+path, body)
	must(e.t, err)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	if host := req.Header.Get("Host"); host != "" { // net/http takes it from here
		req.Host = host
	}
	resp, err := e.client.Do(req)
	must(e.t, err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	must(e.t, err)
	return resp, raw
}

func (e *env) get(path string, headers ...string) (*http.Response, []byte) {
	e.t.Helper()
	return e.do("GET", path, nil, headers...)
}

// read decodes the answer to a GET, which must be 200.
func read[T any](e *env, path string) T {
	e.t.Helper()
	resp, raw := e.get(path)
	if resp.StatusCode != 200 {
		e.t.Fatalf("GET %s: %s: %s", path, resp.Status, raw)
	}
	return decode[T](e.t, raw)
}

func decode[T any](t *testing.T, raw []byte) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatalf("decode %s: %v", raw, err)
	}
	return v
}

// uploaded uploads a small video and returns it.
func (e *env) uploaded(headers ...string) pipeline.VideoView {
	e.t.Helper()
	resp, raw := e.post([]part{file("cat.mp4", "meow")}, headers...)
	if resp.StatusCode != 201 {
		e.t.Fatalf("upload: %s: %s", resp.Status, raw)
	}
	return decode[pipeline.VideoView](e.t, raw)
}

// wantProblem checks that an answer is the complete problem document of c.
func wantProblem(t *testing.T, resp *http.Response, raw []byte, c code) problemDocument {
	t.Helper()
	p := decode[problemDocument](t, raw)
	entry, starred := entryOf(c)
	if p.Code != c {
		t.Fatalf("%s: code %q (%s), want %q", resp.Status, p.Code, p.Detail, c)
	}
	seenCodes.Store(starred, true)
	wantDescribed(t, resp.Request, starred)
	if resp.StatusCode != entry.status || p.Status != entry.status {
		t.Errorf("%s: status %d and %d, want %d", c, resp.StatusCode, p.Status, entry.status)
	}
	if ct := resp.Header.Get("Content-Type"); ct != "application/problem+json" {
		t.Errorf("%s: Content-Type %q", c, ct)
	}
	if !strings.HasSuffix(p.Type, "/docs/errors#"+string(c)) || p.Title != entry.title || p.Detail == "" || p.Remedy == "" ||
		p.Retryable != entry.retryable {
		t.Errorf("%s: incomplete: %s", c, raw)
	}
	if p.RequestID == "" || p.RequestID != resp.Header.Get("X-Request-Id") {
		t.Errorf("%s: request_id %q, header %q", c, p.RequestID, resp.Header.Get("X-Request-Id"))
	}
	if after := resp.Header.Get("Retry-After"); (after != "") != slices.Contains([]int{429, 503, 507}, entry.status) {
		t.Errorf("%s: Retry-After %q", c, after)
	}
	return p
}

// entryOf returns the entry of a code and its key in the table. There, a code that names a worker type has a
// star instead.
func entryOf(c code) (codeEntry, code) {
	if entry, ok := codes[c]; ok {
		return entry, c
	}
	worker, what, _ := strings.Cut(string(c), "_")
	entry := codes[code("*_"+what)]
	entry.title = strings.ReplaceAll(entry.title, "*", worker)
	return entry, code("*_" + what)
}

// objects lists the keys in the store.
func (e *env) objects() []string {
	e.t.Helper()
	keys := []string{}
	for info, err := range e.Store.List(e.t.Context(), "") {
		must(e.t, err)
		keys = append(keys, info.Key)
	}
	return keys
}

// tell appends an event on a subject, and waits until the catalog has it.
func (e *env) tell(kind pipeline.EventType, subject string, data any) pipeline.Event {
	e.t.Helper()
	return e.Tell(e.t, kind, subject, data)
}

const project = pipeline.DefaultProject

// inspected plans two jobs of weights 1 and 3 for a video.
func (e *env) inspected(video string) {
	e.t.Helper()
	e.tell(pipeline.VideoInspected, pipeline.InspectedSubject(project, video), pipeline.Inspected{
		Inspection: pipeline.Inspection{Verdict: pipeline.VerdictAccept, Media: &pipeline.Media{Container: "mov"}},
		Plan: []pipeline.Job{
			{Name: "thumbnail", Step: "thumbnail", Worker: "thumbnail", Weight: 1},
			{Name: "transcode-0000", Step: "transcode", Worker: "transcode", Weight: 3},
		},
	})
}

// job appends an event of a job, with outputs if it completes.
func (e *env) job(t pipeline.EventType, video, job string, outputs ...pipeline.Output) pipeline.Event {
	e.t.Helper()
	step, _, _ := strings.Cut(job, "-")
	data := pipeline.JobEvent{Job: job, Step: step, Worker: step, Process: "test", Attempt: 1}
	if t == pipeline.JobCompleted {
		data.Result = &pipeline.Result{Outputs: outputs}
	}
	return e.tell(t, pipeline.JobSubject(project, video, job), data)
}

// finished appends the end of a video.
func (e *env) finished(video string) pipeline.Event {
	e.t.Helper()
	return e.tell(pipeline.VideoReady, pipeline.FinishedSubject(project, video),
		pipeline.Finish{State: pipeline.StateVideoReady})
}

// put stores an object and returns it as an output.
func (e *env) put(video, job, path, body string) pipeline.Output {
	e.t.Helper()
	key := pipeline.AttemptPrefix(video, job, 1) + path
	info, err := e.Store.Put(e.t.Context(), key, strings.NewReader(body), storage.PutOptions{})
	must(e.t, err)
	return pipeline.Output{
		Name: path, Kind: "test", Path: path, Key: key, Size: info.Size, SHA256: info.SHA256,
		ContentType: info.ContentType,
	}
}

// storeFault is a store with faults.
type storeFault struct {
	storage.Store
	put  func(ctx context.Context, key string, r io.Reader) error                      // instead of Put, when set
	get  func(ctx context.Context, key string, r storage.Range) (io.ReadCloser, error) // instead of Get
	stat func() error                                                                  // before Stat
}

func (s *storeFault) Put(ctx context.Context, key string, r io.Reader, o storage.PutOptions) (storage.Info, error) {
	if s.put != nil {
		if err := s.put(ctx, key, r); err != nil {
			return storage.Info{}, err
		}
	}
	return s.Store.Put(ctx, key, r, o)
}

func (s *storeFault) Get(ctx context.Context, key string, r storage.Range) (io.ReadCloser, storage.Info, error) {
	if s.get != nil {
		rc, err := s.get(ctx, key, r)
		return rc, storage.Info{}, err
	}
	return s.Store.Get(ctx, key, r)
}

func (s *storeFault) Stat(ctx context.Context, key string) (storage.Info, error) {
	if s.stat != nil {
		if err := s.stat(); err != nil {
			return storage.Info{}, err
		}
	}
	return s.Store.Stat(ctx, key)
}

// logFault is a log whose Append fails, perhaps after it has written.
type logFault struct {
	pipeline.Log
	err error
}

func (l *logFault) Append(ctx context.Context, e pipeline.Event, after uint64) (uint64, error) {
	if l.err != nil {
		return 0, l.err
	}
	return l.Log.Append(ctx, e, after)
}

var errFault = errors.New("a fault")

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// equal compares two lists of words.
func equal(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

// unlimited keeps projects that have no limits.
func unlimited(p apitest.Parts) *quota.Keeper {
	return &quota.Keeper{
		Limits: func(context.Context, string) (access.Limits, error) { return access.Limits{}, nil },
		Counts: p.Catalog, Notes: p.Bus, Log: p.Bus,
	}
}
