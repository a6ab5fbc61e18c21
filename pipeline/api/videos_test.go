package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/live"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
	"github.com/reelmill/reelmill/storage/catalog"
)

func TestListVideos(t *testing.T) {
	e := newEnv(t, nil)
	var want []string
	for range 5 {
		want = append([]string{e.uploaded().ID}, want...)
	}
	var got []string
	path := "/v1/videos?limit=2"
	for pages := 0; ; pages++ {
		l := read[list[pipeline.VideoView]](e, path)
		for _, v := range l.Data {
			got = append(got, v.ID)
		}
		if l.HasMore != (l.NextCursor != nil) {
			t.Errorf("has_more %v, next_cursor %v", l.HasMore, l.NextCursor)
		}
		if !l.HasMore {
			break
		}
		path = "/v1/videos?limit=2&cursor=" + *l.NextCursor
	}
	equal(t, "videos", got, want...)
	if l := read[list[pipeline.VideoView]](e, "/v1/videos?status=ready"); len(l.Data) != 0 {
		t.Errorf("ready: %+v", l.Data)
	}
	e.finished(want[2])
	if l := read[list[pipeline.VideoView]](e, "/v1/videos?status=ready"); len(l.Data) != 1 || l.Data[0].ID != want[2] {
		t.Errorf("ready: %+v", l.Data)
	}
}

// TestListIsByTimeWhateverTheIDs: ids from idempotency keys do not sort by time, but the list does, and its
// cursors work.
func TestListIsByTimeWhateverTheIDs(t *testing.T) {
	e := newEnv(t, nil)
	var want []string
	for _, key := range []string{"a", "b", "", "c", "d", "e"} {
		want = append([]string{e.uploaded("Idempotency-Key", key).ID}, want...)
	}
	if slices.IsSortedFunc(want, func(a, b string) int { return strings.Compare(b, a) }) {
		t.Fatalf("the ids prove nothing: %q", want)
	}
	for limit := 1; limit <= 3; limit++ {
		var got []string
		for cursor, more := "", true; more; {
			l := read[list[pipeline.VideoView]](e, fmt.Sprintf("/v1/videos?limit=%d&cursor=%s", limit, cursor))
			for _, v := range l.Data {
				got = append(got, v.ID)
			}
			if more = l.NextCursor != nil; more {
				cursor = *l.NextCursor
			}
		}
		equal(t, fmt.Sprintf("videos, %d on a page", limit), got, want...)
	}
}

// The answers to an id of another project and to a missing id are the same, except for the request's id.
func TestMissingVideos(t *testing.T) {
	e := newEnv(t, func(c *Config) {
		c.Project = func(r *http.Request) (string, error) {
			if p := r.Header.Get("X-Project"); p != "" {
				return p, nil
			}
			return project, nil
		}
	})
	id := e.uploaded().ID
	for _, path := range []string{"", "/jobs", "/outputs", "/events", "/why"} {
		if resp, raw := e.get("/v1/videos/"+id+path, "Accept", "application/json"); resp.StatusCode != 200 {
			t.Errorf("%s: %s: %s", path, resp.Status, raw)
		}
		var answers [][]byte
		for _, c := range [][2]string{{id, "other"}, {"vid_missing", project}, {"a.b%20c", project}, {"*", project}} {
			resp, raw := e.get("/v1/videos/"+c[0]+path, "Accept", "application/json", "X-Project", c[1], "X-Request-Id", "same")
			wantProblem(t, resp, raw, codeNotFound)
			answers = append(answers, bytes.TrimSpace(raw))
		}
		for _, a := range answers[1:] {
			if !bytes.Equal(a, answers[0]) {
				t.Errorf("%s: %s\n%s", path, a, answers[0])
			}
		}
	}
	for _, c := range [][2]string{{id, "other"}, {"vid_missing", project}, {"a.b", project}} {
		resp, raw := e.do("DELETE", "/v1/videos/"+c[0], nil, "X-Project", c[1])
		wantProblem(t, resp, raw, codeNotFound)
	}
	if l := read[list[pipeline.VideoView]](e, "/v1/videos"); len(l.Data) != 1 {
		t.Errorf("%+v", l)
	}
}

func TestDeleteVideo(t *testing.T) {
	e := newEnv(t, nil)
	id := e.uploaded().ID
	for range 2 {
		if resp, raw := e.do("DELETE", "/v1/videos/"+id, nil); resp.StatusCode != 204 || len(raw) != 0 {
			t.Fatalf("%s: %s", resp.Status, raw)
		}
		resp, raw := e.get("/v1/videos/" + id)
		wantProblem(t, resp, raw, codeNotFound)
	}
}

func TestDeleteWithoutALog(t *testing.T) {
	e := newEnv(t, func(c *Config) { c.Log = failingLog{} })
	resp, raw := e.do("DELETE", "/v1/videos/vid_x", nil)
	wantProblem(t, resp, raw, codeUnavailable)
}

type failingLog struct{ pipeline.Log }

func (failingLog) Last(context.Context, ...string) ([]pipeline.Event, error) { return nil, errFault }

// A wait without a unit is in seconds.
func TestParseWait(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"": 0, "30": 30 * time.Second, "30s": 30 * time.Second, "0": 0, "1.5": 1500 * time.Millisecond,
		"60": time.Minute, "600": time.Minute, "1e300": time.Minute, "2m": time.Minute, "250ms": 250 * time.Millisecond,
	} {
		if got, err := parseWait(text); err != nil || got != want {
			t.Errorf("wait=%s is %s, %v, want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"-1", "-1s", "soon", "nan", "30 s"} {
		if got, err := parseWait(text); err == nil {
			t.Errorf("wait=%s is %s", text, got)
		}
	}
}

// waiting is a catalog that reports when a caller begins to wait for a change.
type waiting struct {
	Catalog
	looked chan context.Context // the request's
}

func (w *waiting) Video(ctx context.Context, project, id string) (pipeline.VideoView, error) {
	v, err := w.Catalog.Video(ctx, project, id)
	select {
	case w.looked <- ctx:
	default:
	}
	return v, err
}

func TestWait(t *testing.T) {
	var w *waiting
	e := newEnv(t, func(c *Config) {
		w = &waiting{c.Catalog, make(chan context.Context)}
		c.Catalog = w
	})
	id := e.uploaded().ID
	var wg sync.WaitGroup
	answers := map[string]pipeline.VideoView{}
	var mu sync.Mutex
	for _, until := range []string{"playable", "ready"} {
		wg.Go(func() {
			v := read[pipeline.VideoView](e, "/v1/videos/"+id+"?wait=60s&until="+until)
			mu.Lock()
			defer mu.Unlock()
			answers[until] = v
		})
	}
	<-w.looked
	<-w.looked
	e.inspected(id)
	e.tell(pipeline.VideoPlayable, pipeline.PlayableSubject(project, id), pipeline.Playable{Path: "master.m3u8"})
	e.finished(id)
	wg.Wait()
	if v := answers["playable"]; !v.Playable || v.Manifest != "master.m3u8" {
		t.Errorf("playable: %+v", v)
	}
	if v := answers["ready"]; v.Status != "ready" || v.Progress != 100 {
		t.Errorf("ready: %+v", v)
	}
}

func TestWaitEndsWithItsTime(t *testing.T) {
	e := newEnv(t, nil)
	id := e.uploaded().ID
	if v := read[pipeline.VideoView](e, "/v1/videos/"+id+"?wait=10ms"); v.Status != "queued" {
		t.Errorf("%+v", v)
	}
	if d, err := parseWait("10h"); d != maxWait || err != nil {
		t.Errorf("10h: %s %v", d, err)
	}
}

// A wait ends when its server begins to shut down, and the shutdown ends when that answer was sent.
func TestWaitEndsWithTheServer(t *testing.T) {
	var w *waiting
	e := newEnv(t, func(c *Config) {
		w = &waiting{c.Catalog, make(chan context.Context)}
		c.Catalog = w
	})
	id := e.uploaded().ID
	answer := make(chan pipeline.VideoView, 1)
	go func() { answer <- read[pipeline.VideoView](e, "/v1/videos/"+id+"?wait=60s") }()
	ctx := pipelinetest.Receive(t, "the wait begins", w.looked)
	must(t, e.srv.Config.Shutdown(t.Context()))
	if v := pipelinetest.Receive(t, "its answer", answer); v.Status != "queued" {
		t.Errorf("%+v", v)
	}
	select {
	case <-closing(ctx):
	default:
		t.Error("the request did not notice the shutdown")
	}
}

// unchanging is a catalog of one video that never changes.
type unchanging struct{ Catalog }

func (unchanging) Changed() <-chan struct{} { return nil }

func (unchanging) Video(context.Context, string, string) (pipeline.VideoView, error) {
	return pipeline.VideoView{ID: "vid_1", Status: pipeline.StateVideoQueued}, nil
}

func (unchanging) Sequence(context.Context) (uint64, error) { return 0, nil }

func (unchanging) History(context.Context, catalog.EventQuery) ([]pipeline.Event, error) {
	return nil, nil
}

// A wait lasts as long as requested, or until its server begins to shut down, and no longer.
func TestAWaitLastsNoLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := Limits{MaxStreams: 1, MaxClientStreams: 1}
		s := &server{
			cfg: Config{Catalog: unchanging{}}, streams: newStreams(limits), hub: live.NewHub(live.Config{Source: unchanging{}}),
		}
		for wait, shutdown := range map[time.Duration]time.Duration{
			30 * time.Second: time.Hour, maxWait: 7 * time.Second, 10 * time.Millisecond: time.Second,
		} {
			begins := make(chan struct{})
			late := time.AfterFunc(shutdown, func() { close(begins) })
			ctx := context.WithValue(t.Context(), closingKey{}, (<-chan struct{})(begins))
			began := time.Now()
			v, err := s.await(ctx, "vid_1", wait, false)
			if took := time.Since(began); err != nil || v.ID != "vid_1" || took != min(wait, shutdown) {
				t.Errorf("a wait of %s took %s of a server that lasts %s: %+v, %v", wait, took, shutdown, v, err)
			}
			late.Stop()
		}
		s.hub.Wait()
	})
}

func TestLiveProgress(t *testing.T) {
	e := newEnv(t, nil)
	id := e.uploaded().ID
	progress := func(want int) {
		t.Helper()
		if v := read[pipeline.VideoView](e, "/v1/videos/"+id); v.Progress != want {
			t.Errorf("progress %d, want %d", v.Progress, want)
		}
	}
	tell := func(p pipeline.Progress, visible bool) {
		t.Helper()
		p.Video = id
		must(t, e.Bus.Progress(t.Context(), project, p))
		for last, ok, err := e.Bus.LastProgress(t.Context(), project, id, p.Job); visible && (!ok || last != p); {
			must(t, err)
			last, ok, err = e.Bus.LastProgress(t.Context(), project, id, p.Job)
		}
	}
	e.job(pipeline.JobStarted, id, "inspect")
	e.job(pipeline.JobCompleted, id, "inspect")
	e.inspected(id)
	progress(0)
	e.job(pipeline.JobStarted, id, "transcode-0000")
	tell(pipeline.Progress{Job: "transcode-0000", Attempt: 1, Fraction: 0.5}, true)
	progress(37) // 3 of 4 weights, half done
	e.job(pipeline.JobStarted, id, "thumbnail")
	e.job(pipeline.JobCompleted, id, "thumbnail")
	progress(62)
	tell(pipeline.Progress{Job: "transcode-0000", Attempt: 1, Fraction: 1}, true)
	progress(99)
	tell(pipeline.Progress{Job: "transcode-0000", Attempt: 2, Fraction: 1}, true) // the catalog does not know this attempt
	progress(25)
	e.finished(id)
	progress(100)
}

func TestJobsAndOutputs(t *testing.T) {
	e := newEnv(t, nil)
	id := e.uploaded().ID
	if l := read[list[pipeline.JobView]](e, "/v1/videos/"+id+"/jobs"); l.Data == nil || len(l.Data) != 0 {
		t.Errorf("%+v", l)
	}
	e.inspected(id)
	e.job(pipeline.JobStarted, id, "thumbnail")
	out := e.put(id, "thumbnail", "thumbnail.jpg", "jpeg")
	e.job(pipeline.JobCompleted, id, "thumbnail", out)
	jobs := read[list[pipeline.JobView]](e, "/v1/videos/"+id+"/jobs")
	if len(jobs.Data) != 2 || jobs.Data[0].Status != "completed" || jobs.Data[1].Status != "pending" {
		t.Errorf("%+v", jobs)
	}
	outputs := read[list[pipeline.OutputView]](e, "/v1/videos/"+id+"/outputs")
	if len(outputs.Data) != 1 {
		t.Fatalf("%+v", outputs)
	}
	if diff := cmp.Diff(out, outputs.Data[0].Output); diff != "" {
		t.Error(diff)
	}
	if resp, raw := e.get(outputs.Data[0].URL); string(raw) != "jpeg" {
		t.Errorf("%s: %s", resp.Status, raw)
	}
}

// Parts of a rendition are listed as one output, and so is an object that two jobs stored alike.
func TestOutputsOfChunksAreListedAsOne(t *testing.T) {
	e := newEnv(t, nil)
	id := e.uploaded().ID
	e.inspected(id)
	for i, job := range []string{"transcode-0000", "transcode-0001", "transcode-0002"} {
		e.job(pipeline.JobStarted, id, job)
		e.job(pipeline.JobCompleted, id, job, e.chunk(id, job, 2*i, 2, i == 2)...)
	}
	outputs := read[list[pipeline.OutputView]](e, "/v1/videos/"+id+"/outputs").Data
	if len(outputs) != 2 || outputs[0].Kind != pipeline.KindInit || outputs[1].Job != "transcode-0000" {
		t.Fatalf("%+v", outputs)
	}
	o := outputs[1]
	want := pipeline.Segments{First: 0, Count: 6, Last: true}
	if diff := cmp.Diff(&want, o.Segments); diff != "" || o.Size != 600 || o.Duration != 36 ||
		o.Bandwidth != 700004 || o.AverageBandwidth != 600000 {
		t.Errorf("%+v %s", o, diff)
	}
}

func TestPipelines(t *testing.T) {
	e := newEnv(t, nil)
	l := read[list[pipeline.Pipeline]](e, "/v1/pipelines")
	if diff := cmp.Diff([]pipeline.Pipeline{pipeline.Default()}, l.Data); diff != "" {
		t.Error(diff)
	}
}

func TestHealth(t *testing.T) {
	checks := map[string]error{"store": nil, "log": nil}
	e := newEnv(t, func(c *Config) { c.Ready = func(context.Context) map[string]error { return checks } })
	if b := read[healthBody](e, "/healthz"); b.Status != "ok" {
		t.Errorf("%+v", b)
	}
	if b := read[healthBody](e, "/readyz"); b.Status != "ok" || b.Checks["store"] != "ok" || b.Checks["log"] != "ok" {
		t.Errorf("%+v", b)
	}
	for _, path := range []string{"/healthz?verbose", "/readyz?verbose&exclude=log"} { // as load balancers request
		if resp, raw := e.get(path); resp.StatusCode != 200 {
			t.Errorf("%s: %s %s", path, resp.Status, raw)
		}
	}
	checks["log"] = errFault
	resp, raw := e.get("/readyz")
	b := decode[healthBody](t, raw)
	if resp.StatusCode != 503 || b.Status != "unavailable" || b.Checks["log"] != "a fault" || b.Checks["store"] != "ok" {
		t.Errorf("%s %+v", resp.Status, b)
	}
}

func TestRoutesThatAreNone(t *testing.T) {
	e := newEnv(t, nil)
	for _, path := range []string{"/", "/nope", "/v1", "/v1/videos/a/b", "/v2/videos", "/play/x/"} {
		resp, raw := e.get(path)
		wantProblem(t, resp, raw, codeNotFound)
	}
	for _, c := range [][3]string{
		{"PATCH", "/v1/videos", "GET, HEAD, POST"},
		{"POST", "/v1/videos/x", "DELETE, GET, HEAD, PATCH"},
		{"DELETE", "/healthz", "GET, HEAD"},
		{"PUT", "/play/x/y.mp4", "GET, HEAD, OPTIONS"},
	} {
		resp, raw := e.do(c[0], c[1], nil)
		wantProblem(t, resp, raw, codeMethod)
		if got := resp.Header.Get("Allow"); got != c[2] {
			t.Errorf("%s %s: Allow %q, want %q", c[0], c[1], got, c[2])
		}
	}
	if resp, raw := e.do("HEAD", "/nope", nil); resp.StatusCode != 404 || len(raw) != 0 {
		t.Errorf("%s %q", resp.Status, raw)
	}
}

func TestRequestID(t *testing.T) {
	e := newEnv(t, nil)
	if resp, _ := e.get("/healthz", "X-Request-Id", "mine-1"); resp.Header.Get("X-Request-Id") != "mine-1" {
		t.Error(resp.Header)
	}
	resp, raw := e.get("/nope", "X-Request-Id", "not mine <script>")
	if p := wantProblem(t, resp, raw, codeNotFound); p.RequestID[:4] != "req_" {
		t.Error(p.RequestID)
	}
}

// brokenCatalog fails and panics.
type brokenCatalog struct{ Catalog }

func (brokenCatalog) Video(_ context.Context, _, id string) (pipeline.VideoView, error) {
	if id == "panic" {
		panic("at the disco")
	}
	return pipeline.VideoView{}, fmt.Errorf("secret path: %w", errFault)
}

func (brokenCatalog) Resolve(context.Context, string, string) (pipeline.Object, error) {
	return pipeline.Object{}, errFault
}

func TestInternalErrors(t *testing.T) {
	e := newEnv(t, func(c *Config) { c.Catalog = brokenCatalog{c.Catalog} })
	for _, path := range []string{"/v1/videos/x", "/v1/videos/panic", "/v1/videos/x/events", "/v1/videos/panic/events", "/play/x/y"} {
		resp, raw := e.get(path)
		wantProblem(t, resp, raw, codeInternal)
		if bytes.Contains(raw, []byte("secret")) || bytes.Contains(raw, []byte("disco")) {
			t.Errorf("%s reveals too much: %s", path, raw)
		}
	}
}

func TestUnauthorized(t *testing.T) {
	var err error
	e := newEnv(t, func(c *Config) { c.Project = func(*http.Request) (string, error) { return "", err } })
	err = errFault
	resp, raw := e.get("/v1/videos")
	wantProblem(t, resp, raw, codeUnauthorized)
	err = pipeline.ErrNotFound
	resp, raw = e.get("/v1/videos")
	wantProblem(t, resp, raw, codeNotFound)
	if resp, _ := e.get("/healthz"); resp.StatusCode != 200 {
		t.Error(resp.Status)
	}
}

func TestClassifyCodesOfThePipeline(t *testing.T) {
	w := httptest.NewRecorder()
	s := &server{cfg: Config{}.withDefaults()}
	s.refuse(w, httptest.NewRequest("GET", "/", nil), pipeline.Fail(pipeline.CodeParameters, "x"))
	if f := classify(pipeline.Fail(pipeline.CodeParameters, "x")); f.code != codeParameters || w.Code != 422 {
		t.Errorf("%+v %d", f, w.Code)
	}
	seenCodes.Store(codeParameters, true)
	if f := classify(errors.Join(context.Canceled)); f.code != codeUnavailable {
		t.Errorf("%+v", f)
	}
	if f := classify(pipeline.Fail(pipeline.CodeEncodeFailed, "x")); f.code != codeInternal {
		t.Errorf("%+v", f)
	}
}

func TestConfig(t *testing.T) {
	whole := Config{Store: discardStore{}, Log: failingLog{}, Catalog: lateCatalog{}, Planner: planner{}}
	for name, change := range map[string]func(*Config){
		"Store":     func(c *Config) { c.Store = nil },
		"Log":       func(c *Config) { c.Log = nil },
		"Catalog":   func(c *Config) { c.Catalog = nil },
		"Planner":   func(c *Config) { c.Planner = nil },
		"PublicURL": func(c *Config) { c.PublicURL = "video.example" },
		"Pipelines": func(c *Config) { c.Pipelines = map[string]pipeline.Pipeline{"a": {Name: "b"}} },
		"limit":     func(c *Config) { c.Limits.MaxUpload = -1 },
	} {
		cfg := whole
		change(&cfg)
		if _, err := New(cfg); err == nil || !bytes.Contains([]byte(err.Error()), []byte(name)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := New(whole); err != nil {
		t.Error(err)
	}
}

// damagedCatalog is a read model of which nothing can be read.
type damagedCatalog struct{ Catalog }

func (damagedCatalog) Videos(context.Context, catalog.Query) (catalog.Page[pipeline.VideoView], error) {
	return catalog.Page[pipeline.VideoView]{}, fmt.Errorf("list videos: %w", catalog.ErrDamaged)
}

func TestADamagedReadModelIsTold(t *testing.T) {
	e := newEnv(t, func(c *Config) { c.Catalog = damagedCatalog{c.Catalog} })
	resp, raw := e.get("/v1/videos")
	p := wantProblem(t, resp, raw, codeReadModel)
	if p.Status != 503 || !strings.Contains(p.Remedy, "`reelmill rebuild`") {
		t.Errorf("%+v", p)
	}
}
