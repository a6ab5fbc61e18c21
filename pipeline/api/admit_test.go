package api

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
)

func TestUploadBackPressure(t *testing.T) {
	e := newEnv(t, func(c *Config) {
		byHeader(c)
		c.Limits.MaxProjectVideos, c.Limits.MaxVideos = 1, 2
	})
	refused := func(want code, headers ...string) {
		t.Helper()
		resp, raw := e.post([]part{file("a.mp4", "meow")}, headers...)
		wantProblem(t, resp, raw, want)
		if after := resp.Header.Get("Retry-After"); after != "30" {
			t.Errorf("%s: Retry-After %q", want, after)
		}
	}
	mine := e.uploaded()
	refused(codeTooManyVideos)
	resp, raw := answerOn(t, e.announce(1000, "")) // before the body
	wantProblem(t, resp, raw, codeTooManyVideos)
	e.uploaded("X-Project", "other")
	refused(codeQueueFull, "X-Project", "third")
	refused(codeQueueFull)
	e.finished(mine.ID)
	e.uploaded()
	if n := len(e.objects()); n != 3 {
		t.Errorf("%d objects, want those of 3 videos", n)
	}
}

type faultyBacklog struct{}

func (faultyBacklog) Backlog(context.Context, string) (int, int, error) { return 0, 0, errFault }

// Uploads are accepted when the open videos cannot be counted.
func TestUploadWithoutABacklog(t *testing.T) {
	e := newEnv(t, func(c *Config) { c.Backlog = faultyBacklog{} })
	e.uploaded()
}

func TestUploadToAServerThatStops(t *testing.T) {
	stopping := false
	e := newEnv(t, func(c *Config) { c.Stopping = func() bool { return stopping } })
	stopping = true
	resp, raw := e.post([]part{file("a.mp4", "meow")})
	wantProblem(t, resp, raw, codeUnavailable)
	if after := resp.Header.Get("Retry-After"); after != "5" {
		t.Errorf("Retry-After %q", after)
	}
	if resp, raw := e.get("/v1/videos"); resp.StatusCode != 200 {
		t.Errorf("reads are answered: %s", raw)
	}
	stopping = false
	closed := make(chan struct{})
	close(closed)
	ctx := context.WithValue(t.Context(), closingKey{}, (<-chan struct{})(closed))
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "http://localhost/v1/videos", strings.NewReader(partHead))
	r.Header.Set("Content-Type", "multipart/form-data; boundary=b")
	w := httptest.NewRecorder()
	e.handler.ServeHTTP(w, r)
	wantProblem(t, w.Result(), w.Body.Bytes(), codeUnavailable)
}

// A full log refuses an upload before the body is sent. An upload that meets it later gets the same answer.
func TestUploadToAFullLog(t *testing.T) {
	full := pipeline.Fail(pipeline.CodeLogFull, "it has 7 of 8 GiB")
	e := newEnv(t, func(c *Config) { c.LogRoom = func(context.Context) error { return full } })
	resp, raw := answerOn(t, e.announce(1000, ""))
	p := wantProblem(t, resp, raw, codeLogFull)
	if p.Status != http.StatusInsufficientStorage || p.Detail != "it has 7 of 8 GiB" || !p.Retryable ||
		!strings.Contains(p.Remedy, "Delete videos") {
		t.Errorf("%+v", p)
	}
	if n := len(e.objects()); n != 0 {
		t.Errorf("%d objects are stored", n)
	}
}

func TestUploadPriority(t *testing.T) {
	e := newEnv(t, nil)
	for value, want := range map[string]pipeline.Priority{"high": pipeline.High, "normal": "", "": "", "bulk": pipeline.Bulk} {
		resp, raw := e.post([]part{field("priority", value), file("a.mp4", "meow")})
		if resp.StatusCode != 201 {
			t.Fatalf("%q: %s", value, raw)
		}
		if up := e.uploadOf(decode[pipeline.VideoView](t, raw).ID); up.Priority != want {
			t.Errorf("%q: %q", value, up.Priority)
		}
	}
	resp, raw := e.post([]part{field("priority", "urgent"), file("a.mp4", "meow")})
	if p := wantProblem(t, resp, raw, codeInvalid); len(p.Errors) != 1 || p.Errors[0].Pointer != "/form/priority" {
		t.Errorf("%+v", p)
	}
}

// The id of a deleted video is never used again, and the objects of the upload are deleted.
func TestUploadUnderTheKeyOfADeletedVideo(t *testing.T) {
	e := newEnv(t, nil)
	v := e.uploaded("Idempotency-Key", "k")
	before := e.objects()
	_, err := pipeline.Delete(t.Context(), e.Bus, project, v.ID)
	must(t, err)
	for _, body := range []string{"meow", "something else"} {
		resp, raw := e.post([]part{file("cat.mp4", body)}, "Idempotency-Key", "k")
		wantProblem(t, resp, raw, codeVideoDeleted)
		equal(t, "objects", e.objects(), before...)
	}
}
