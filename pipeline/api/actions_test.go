package api

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/stats"
	"github.com/reelmill/reelmill/pipeline/why"
)

// errored appends the final failure of a job, and returns the id of its dead letter.
func (e *env) errored(video, job string) string {
	e.t.Helper()
	ctx := e.t.Context()
	e.job(pipeline.JobStarted, video, job)
	step, _, _ := strings.Cut(job, "-")
	problem := pipeline.ProblemOf(&pipeline.Error{Code: pipeline.CodeEncodeFailed, Detail: "no", Stderr: "the tail"})
	ev := e.tell(pipeline.JobErrored, pipeline.JobSubject(project, video, job), pipeline.JobEvent{
		Job: job, Step: step, Worker: step, Process: "test", Attempt: 1, Failed: 1, Problem: problem,
	})
	task := pipeline.Task{
		Project: project, Video: video, Trace: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		Job: pipeline.Job{Name: job, Step: step, Worker: step},
	}
	must(e.t, e.Bus.DeadLetter(ctx, pipeline.DeadLetter{
		Task: task, Subject: task.Subject(), Headers: map[string]string{"X": "y"}, Problem: *problem, Attempts: 1,
		Token: ev.Sequence, Time: time.Now().UTC(),
	}))
	letters, _, err := e.Bus.DeadLetters(ctx, project, "", 1000)
	must(e.t, err)
	return letters[len(letters)-1].ID
}

// act sends a POST without a body.
func (e *env) act(path string, headers ...string) (*http.Response, []byte) {
	e.t.Helper()
	return e.do("POST", path, nil, headers...)
}

// acted decodes the answer to a POST, which must be 200.
func acted[T any](e *env, path string) T {
	e.t.Helper()
	resp, raw := e.act(path)
	if resp.StatusCode != 200 {
		e.t.Fatalf("POST %s: %s: %s", path, resp.Status, raw)
	}
	return decode[T](e.t, raw)
}

// byHeader takes the project from a header.
func byHeader(c *Config) {
	c.Project = func(r *http.Request) (string, error) {
		if p := r.Header.Get("X-Project"); p != "" {
			return p, nil
		}
		return project, nil
	}
}

// late is a catalog that a test can make late.
type late struct {
	Catalog
	on      bool
	unaware bool // it knows no video
}

func (l *late) Video(ctx context.Context, project, id string) (pipeline.VideoView, error) {
	if l.unaware {
		return pipeline.VideoView{}, pipeline.ErrNotFound
	}
	return l.Catalog.Video(ctx, project, id)
}

func (l *late) WaitFor(ctx context.Context, seq uint64) error {
	if l.on {
		return context.DeadlineExceeded
	}
	return l.Catalog.WaitFor(ctx, seq)
}

func TestCancelVideo(t *testing.T) {
	for _, how := range []late{{}, {on: true}, {on: true, unaware: true}} {
		e := newEnv(t, func(c *Config) {
			byHeader(c)
			c.Catalog = &late{c.Catalog, how.on, how.unaware}
		})
		v := e.uploaded()
		var answers []pipeline.VideoView
		for range 2 {
			answers = append(answers, acted[pipeline.VideoView](e, "/v1/videos/"+v.ID+"/cancel"))
		}
		if a, b := answers[0], answers[1]; a.Status != "canceled" || a.ID != v.ID || !a.FinishedAt.Equal(*b.FinishedAt) {
			t.Errorf("%+v\n%+v", a, b)
		}
		for path, who := range map[string]string{
			"/v1/videos/" + v.ID + "/cancel": "other", "/v1/videos/vid_none/cancel": project, "/v1/videos/a.b/cancel": project,
		} {
			resp, raw := e.act(path, "X-Project", who)
			wantProblem(t, resp, raw, codeNotFound)
		}
	}
}

func TestRetryVideo(t *testing.T) {
	for _, how := range []late{{}, {on: true}, {on: true, unaware: true}} {
		e := newEnv(t, func(c *Config) { c.Catalog = &late{c.Catalog, how.on, how.unaware} })
		v := e.uploaded()
		resp, raw := e.act("/v1/videos/" + v.ID + "/retry")
		if p := wantProblem(t, resp, raw, codeState); !strings.Contains(p.Remedy, "Only errored and canceled videos") {
			t.Error(p.Remedy)
		}
		acted[pipeline.VideoView](e, "/v1/videos/"+v.ID+"/cancel")
		for range 2 {
			if a := acted[pipeline.VideoView](e, "/v1/videos/"+v.ID+"/retry"); a.Status.Terminal() || a.FinishedAt != nil {
				t.Errorf("%+v", a)
			}
		}
		resp, raw = e.act("/v1/videos/vid_none/retry")
		wantProblem(t, resp, raw, codeNotFound)
	}
}

func TestCancelAVideoThatHasEnded(t *testing.T) {
	e := newEnv(t, nil)
	v := e.uploaded()
	e.finished(v.ID)
	resp, raw := e.act("/v1/videos/" + v.ID + "/cancel")
	if p := wantProblem(t, resp, raw, codeState); p.Detail != "The video is ready." || !strings.Contains(p.Remedy, "delete it") {
		t.Error(p.Detail, p.Remedy)
	}
}

func TestActionsWithoutALog(t *testing.T) {
	fault := &logFault{}
	e := newEnv(t, func(c *Config) { fault.Log, c.Log = c.Log, fault })
	id := e.uploaded().ID
	e.inspected(id)
	letter := e.errored(id, "thumbnail")
	for _, path := range []string{
		"/v1/videos/" + id + "/cancel", "/v1/jobs/" + id + "/thumbnail/retry", "/v1/dead_letters/" + letter + "/redrive",
	} {
		fault.err = errFault
		resp, raw := e.act(path)
		wantProblem(t, resp, raw, codeUnavailable)
		fault.err = pipeline.Fail(pipeline.CodeDiskFull, "the log is full")
		resp, raw = e.act(path)
		if p := wantProblem(t, resp, raw, codeDiskFull); !p.Retryable {
			t.Errorf("%s: %+v", path, p)
		}
	}
	if resp, raw := e.get("/v1/dead_letters/" + letter); resp.StatusCode != 200 {
		t.Errorf("the letter was discarded: %s", raw)
	}
}

func TestRetryJob(t *testing.T) {
	for _, isLate := range []bool{false, true} {
		e := newEnv(t, func(c *Config) {
			byHeader(c)
			c.Catalog = &late{c.Catalog, isLate, false}
		})
		id := e.uploaded().ID
		e.inspected(id)
		path := "/v1/jobs/" + id + "/transcode-0000/retry"
		resp, raw := e.act(path)
		if p := wantProblem(t, resp, raw, codeState); p.Detail != "The job is pending." || !strings.Contains(p.Remedy, "Only errored jobs") {
			t.Error(p.Detail, p.Remedy)
		}
		e.errored(id, "transcode-0000")
		resp, raw = e.act(path, "X-Project", "other")
		wantProblem(t, resp, raw, codeNotFound)
		for range 2 {
			j := acted[pipeline.JobView](e, path)
			if j.ID != id+"/transcode-0000" || j.Status != "pending" || j.Attempt != 1 || j.FinishedAt != nil {
				t.Errorf("%+v", j)
			}
		}
		e.errored(id, "inspect") // a job outside the plan
		if j := acted[pipeline.JobView](e, "/v1/jobs/"+id+"/inspect/retry"); j.Name != "inspect" || j.Status != "pending" {
			t.Errorf("%+v", j)
		}
		for _, path := range []string{
			"/v1/jobs/" + id + "/none/retry", "/v1/jobs/vid_none/inspect/retry", "/v1/jobs/a.b/c/retry", "/v1/jobs/" + id + "/a.b/retry",
		} {
			resp, raw := e.act(path)
			if p := wantProblem(t, resp, raw, codeNotFound); p.Detail != "There is no such job." {
				t.Errorf("%s: %s", path, p.Detail)
			}
		}
	}
}

func TestDeadLetters(t *testing.T) {
	e := newEnv(t, byHeader)
	id := e.uploaded().ID
	e.inspected(id)
	first, second := e.errored(id, "transcode-0000"), e.errored(id, "thumbnail")
	page := read[list[deadLetterView]](e, "/v1/dead_letters?limit=1")
	if len(page.Data) != 1 || !page.HasMore {
		t.Fatalf("%+v", page)
	}
	d := page.Data[0]
	if d.ID != first || d.Video != id || d.Job != "transcode-0000" || d.Step != "transcode" || d.Worker != "transcode" ||
		d.Attempts != 1 || d.Problem.Code != "encode_failed" || d.Problem.Class != "bug" || d.Problem.Stderr != "the tail" ||
		d.TraceID != "0af7651916cd43dd8448eb211c80319c" || d.CreatedAt.IsZero() || d.Headers["X"] != "y" ||
		d.Payload.Job.Name != d.Job || d.Subject != d.Payload.Subject() || d.Raw != nil {
		t.Errorf("%+v", d)
	}
	page = read[list[deadLetterView]](e, "/v1/dead_letters?limit=1&cursor="+*page.NextCursor)
	if len(page.Data) != 1 || page.Data[0].ID != second || page.HasMore {
		t.Errorf("%+v", page)
	}
	if got := read[deadLetterView](e, "/v1/dead_letters/"+second); got.Job != "thumbnail" {
		t.Errorf("%+v", got)
	}
	_, raw := e.get("/v1/dead_letters", "X-Project", "other")
	if l := decode[list[deadLetterView]](t, raw); l.Data == nil || len(l.Data) != 0 {
		t.Errorf("foreign: %s", raw)
	}
	for _, c := range [][2]string{{first, "other"}, {"dead_99", project}, {"x.*", project}} {
		for method, path := range map[string]string{"GET": "", "DELETE": "", "POST": "/redrive"} {
			resp, raw := e.do(method, "/v1/dead_letters/"+c[0]+path, nil, "X-Project", c[1])
			if p := wantProblem(t, resp, raw, codeNotFound); p.Detail != "There is no such dead letter." {
				t.Errorf("%s %s: %s", method, c, p.Detail)
			}
		}
	}
	if resp, raw := e.do("DELETE", "/v1/dead_letters/"+first, nil); resp.StatusCode != 204 || len(raw) != 0 {
		t.Errorf("%s: %s", resp.Status, raw)
	}
	e.noLetter(first)
}

func (e *env) noLetter(id string) {
	e.t.Helper()
	resp, raw := e.get("/v1/dead_letters/" + id)
	wantProblem(e.t, resp, raw, codeNotFound)
}

func TestRedriveDeadLetter(t *testing.T) {
	e := newEnv(t, nil)
	id := e.uploaded().ID
	e.inspected(id)
	subject := pipeline.JobSubject(project, id, "thumbnail")
	letter := e.errored(id, "thumbnail")
	if j := acted[pipeline.JobView](e, "/v1/dead_letters/"+letter+"/redrive"); j.Name != "thumbnail" || j.Status != "pending" {
		t.Errorf("%+v", j)
	}
	e.noLetter(letter)
	last, err := e.Bus.Last(t.Context(), subject)
	must(t, err)
	if last[0].Type != pipeline.JobRequeued {
		t.Errorf("%+v", last[0])
	}

	// The job fails again and is retried without its letter, which is stale then.
	letter = e.errored(id, "thumbnail")
	acted[pipeline.JobView](e, "/v1/jobs/"+id+"/thumbnail/retry")
	e.job(pipeline.JobStarted, id, "thumbnail")
	e.job(pipeline.JobCompleted, id, "thumbnail")
	if j := acted[pipeline.JobView](e, "/v1/dead_letters/"+letter+"/redrive"); j.Status != "completed" {
		t.Errorf("%+v", j)
	}
	e.noLetter(letter)

	// The letter of an earlier failure does not apply to a later one.
	old := e.errored(id, "transcode-0000")
	acted[pipeline.JobView](e, "/v1/jobs/"+id+"/transcode-0000/retry")
	e.errored(id, "transcode-0000")
	if j := acted[pipeline.JobView](e, "/v1/dead_letters/"+old+"/redrive"); j.Status != "errored" {
		t.Errorf("%+v", j)
	}
	e.noLetter(old)
}

func TestRedriveOfWhatIsOver(t *testing.T) {
	e := newEnv(t, nil)
	id := e.uploaded().ID
	e.inspected(id)
	letter := e.errored(id, "thumbnail")
	acted[pipeline.VideoView](e, "/v1/videos/"+id+"/cancel")
	resp, raw := e.act("/v1/dead_letters/" + letter + "/redrive")
	if p := wantProblem(t, resp, raw, codeState); p.Detail != "The video is canceled." || !strings.Contains(p.Remedy, "retry the video") {
		t.Error(p.Detail, p.Remedy)
	}
	if d := read[deadLetterView](e, "/v1/dead_letters/"+letter); d.ID != letter {
		t.Errorf("%+v", d)
	}
	_, err := pipeline.Delete(t.Context(), e.Bus, project, id)
	must(t, err)
	resp, raw = e.act("/v1/dead_letters/" + letter + "/redrive")
	wantProblem(t, resp, raw, codeNotFound)
	e.noLetter(letter)
}

// rawLetters holds one letter, whose message was not a task.
type rawLetters struct{}

func (rawLetters) DeadLetters(context.Context, string, string, int) ([]pipeline.DeadLetter, string, error) {
	return nil, "", errFault
}

func (rawLetters) Discard(context.Context, string, string) error { return errFault }

func (rawLetters) DeadLetterByID(context.Context, string, string) (pipeline.DeadLetter, error) {
	return pipeline.DeadLetter{ID: "dead_1", Subject: "task.x", Raw: []byte("{")}, nil
}

func TestRedriveOfNoTask(t *testing.T) {
	e := newEnv(t, func(c *Config) { c.DeadLetters = rawLetters{} })
	for method, path := range map[string]string{"GET": "/v1/dead_letters", "DELETE": "/v1/dead_letters/dead_1"} {
		resp, raw := e.do(method, path, nil)
		wantProblem(t, resp, raw, codeUnavailable)
	}
	resp, raw := e.act("/v1/dead_letters/dead_1/redrive")
	if p := wantProblem(t, resp, raw, codeState); !strings.Contains(p.Remedy, "discard") {
		t.Errorf("%+v", p)
	}
	_, raw = e.get("/v1/dead_letters/dead_1")
	if d := decode[deadLetterView](t, raw); string(d.Raw) != "{" || d.Payload != nil || !bytes.Contains(raw, []byte(`"payload":null`)) {
		t.Errorf("%s", raw)
	}
}

func TestRoutesThatNeedMore(t *testing.T) {
	e := newEnv(t, func(c *Config) { c.DeadLetters, c.Stats, c.Queue, c.Progress = nil, nil, nil, nil })
	for _, path := range []string{"/v1/dead_letters", "/v1/dead_letters/dead_1", "/v1/stats"} {
		resp, raw := e.get(path)
		wantProblem(t, resp, raw, codeNotFound)
	}
	if doc, _ := document(e); doc.Paths["/v1/stats"] != nil || doc.Paths["/v1/dead_letters"] != nil {
		t.Error("routes are described that are not there")
	}
	id := e.uploaded().ID
	if w := read[why.Why](e, "/v1/videos/"+id+"/why"); w.Summary != "inspect waits for a worker of inspect" {
		t.Errorf("%+v", w)
	}
}

func TestStats(t *testing.T) {
	e := newEnv(t, byHeader)
	for range 3 {
		e.uploaded()
	}
	for path, windows := range map[string][2]int{"": {60, 61}, "?window=5m": {12, 13}} {
		s := read[stats.Stats](e, "/v1/stats"+path)
		if n := len(s.Windows); n < windows[0] || n > windows[1] || s.Total.Uploaded != 3 {
			t.Errorf("%s: %d windows, %+v", path, n, s.Total)
		}
	}
	if s := read[stats.Stats](e, "/v1/stats?from=2026-01-01T00:00:00Z&to=2026-01-01T00:02:00Z"); len(s.Windows) != 2 ||
		s.Total.Uploaded != 0 {
		t.Errorf("%+v", s)
	}
	_, raw := e.get("/v1/stats", "X-Project", "other")
	if s := decode[stats.Stats](t, raw); s.Total.Uploaded != 0 {
		t.Errorf("foreign: %s", raw)
	}
}
