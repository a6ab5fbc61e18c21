package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
)

func (e *env) uploaded() pipeline.VideoView {
	e.t.Helper()
	v, err := e.client.Upload(e.t.Context(), Upload{Reader: strings.NewReader("x"), Name: "x.mp4"})
	must(e.t, err)
	return v
}

// inspectErrored makes the inspect job of a video fail for good, and leaves its dead letter.
func (e *env) inspectErrored(id string) {
	e.t.Helper()
	subject := pipeline.JobSubject(project, id, "inspect")
	problem := pipeline.ProblemOf(pipeline.Fail(pipeline.CodeEncodeFailed, "no"))
	e.tell(pipeline.JobErrored, subject, pipeline.JobEvent{
		Job: "inspect", Step: "inspect", Worker: "inspect", Attempt: 1, Problem: problem,
	})
	last, err := e.Bus.Last(e.t.Context(), subject)
	must(e.t, err)
	task := pipeline.Task{Project: project, Video: id, Job: pipeline.Job{Name: "inspect", Step: "inspect", Worker: "inspect"}}
	must(e.t, e.Bus.DeadLetter(e.t.Context(), pipeline.DeadLetter{
		Task: task, Subject: task.Subject(), Problem: *problem, Attempts: 1, Token: last[0].Sequence, Time: time.Now(),
	}))
}

// isState reports whether err is a state_conflict of the server.
func isState(err error) bool {
	failed, ok := errors.AsType[*Error](err)
	return ok && failed.Code == "state_conflict" && failed.Status == http.StatusConflict
}

func TestCancel(t *testing.T) {
	e := newEnv(t)
	v := e.uploaded()
	for range 2 {
		if got, err := e.client.Cancel(t.Context(), v.ID); err != nil || got.Status != "canceled" {
			t.Errorf("%+v %v", got, err)
		}
	}
	done := e.uploaded()
	e.finish(done.ID)
	if _, err := e.client.Cancel(t.Context(), done.ID); !isState(err) {
		t.Error(err)
	}
	if _, err := e.client.Cancel(t.Context(), "vid_none"); !errors.Is(err, pipeline.ErrNotFound) {
		t.Error(err)
	}
}

func TestRetryJob(t *testing.T) {
	e := newEnv(t)
	id := e.uploaded().ID
	e.inspectErrored(id)
	jobs, err := e.client.Jobs(t.Context(), id)
	must(t, err)
	if j, err := e.client.RetryJob(t.Context(), jobs[0].ID); err != nil || j.Status != "pending" || j.ID != jobs[0].ID {
		t.Errorf("%+v %v", j, err)
	}
	if _, err := e.client.RetryJob(t.Context(), id+"/none"); !errors.Is(err, pipeline.ErrNotFound) {
		t.Error(err)
	}
	for _, id := range []string{"", "vid_x", "/", "vid_x/"} {
		if _, err := e.client.RetryJob(t.Context(), id); err == nil || errors.Is(err, pipeline.ErrNotFound) {
			t.Errorf("%q: %v", id, err)
		}
	}
}

func TestDeadLetters(t *testing.T) {
	e := newEnv(t)
	ctx := t.Context()
	const n = itemsPage + 1
	for range n {
		task := pipeline.Task{Project: project, Video: pipeline.NewID("vid"), Job: pipeline.Job{Name: "j", Worker: "w"}}
		must(t, e.Bus.DeadLetter(ctx, pipeline.DeadLetter{Task: task, Subject: task.Subject(), Token: 1}))
	}
	id := e.uploaded().ID
	e.inspectErrored(id)
	var all []DeadLetter
	for d, err := range e.client.DeadLetters(ctx) {
		must(t, err)
		all = append(all, d)
	}
	last := all[len(all)-1]
	var task pipeline.Task
	must(t, json.Unmarshal(last.Payload, &task))
	if len(all) != n+1 || last.Video != id || last.Problem.Code != "encode_failed" || task.Job.Name != "inspect" {
		t.Errorf("%d letters, the last is %+v", len(all), last)
	}
	for range e.client.DeadLetters(ctx) {
		break // and no further page is requested
	}
	if d, err := e.client.DeadLetter(ctx, last.ID); err != nil || d.ID != last.ID {
		t.Errorf("%+v %v", d, err)
	}
	if j, err := e.client.Redrive(ctx, last.ID); err != nil || j.Name != "inspect" || j.Status != "pending" {
		t.Errorf("%+v %v", j, err)
	}
	must(t, e.client.Discard(ctx, all[0].ID))
	for _, gone := range []string{last.ID, all[0].ID} {
		if _, err := e.client.DeadLetter(ctx, gone); !errors.Is(err, pipeline.ErrNotFound) {
			t.Errorf("%s: %v", gone, err)
		}
		if err := e.client.Discard(ctx, gone); !errors.Is(err, pipeline.ErrNotFound) {
			t.Errorf("%s: %v", gone, err)
		}
	}
	if _, err := e.client.Redrive(ctx, all[1].ID); !errors.Is(err, pipeline.ErrNotFound) { // its video does not exist
		t.Error(err)
	}
	e.breakWith(func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusBadGateway)
		return true
	})
	for d, err := range e.client.DeadLetters(ctx) {
		if err == nil || d.ID != "" {
			t.Errorf("%+v %v", d, err)
		}
	}
}

func TestWhyAndStats(t *testing.T) {
	e := newEnv(t)
	ctx := t.Context()
	id := e.uploaded().ID
	w, err := e.client.Why(ctx, id)
	if err != nil || w.Video != id || len(w.Jobs) != 1 || w.Jobs[0].Job != "inspect" || len(w.Timeline) != 1 {
		t.Errorf("%+v %v", w, err)
	}
	if _, err := e.client.Why(ctx, "vid_none"); !errors.Is(err, pipeline.ErrNotFound) {
		t.Error(err)
	}
	now := time.Now()
	for name, c := range map[string]struct {
		o       StatsOptions
		windows int
	}{
		"default": {StatsOptions{}, 60},
		"range":   {StatsOptions{Window: 5 * time.Minute, From: now.Add(-20 * time.Minute), To: now.Add(time.Minute)}, 5},
	} {
		s, err := e.client.Stats(ctx, c.o)
		if err != nil || s.Total.Uploaded != 1 || len(s.Windows) < c.windows-1 || len(s.Windows) > c.windows+1 {
			t.Errorf("%s: %d windows %+v %v", name, len(s.Windows), s.Total, err)
		}
	}
	if _, err := e.client.Stats(ctx, StatsOptions{Window: time.Second}); err == nil {
		t.Error("a window of a second is counted")
	}
}

func TestRetry(t *testing.T) {
	e := newEnv(t)
	id := e.uploaded().ID
	if _, err := e.client.Retry(t.Context(), id); !isState(err) {
		t.Errorf("retry of a video that has not ended: %v", err)
	}
	_, err := e.client.Cancel(t.Context(), id)
	must(t, err)
	for range 2 {
		if v, err := e.client.Retry(t.Context(), id); err != nil || v.ID != id || v.Status.Terminal() {
			t.Errorf("%+v %v", v, err)
		}
	}
	if _, err := e.client.Retry(t.Context(), "vid_none"); !errors.Is(err, pipeline.ErrNotFound) {
		t.Error(err)
	}
}

// TestPages checks lists of more than one page, by page and as a whole.
func TestPages(t *testing.T) {
	e := newEnv(t)
	ctx := t.Context()
	id := e.uploaded().ID
	for i := range itemsPage {
		name := fmt.Sprintf("j%03d", i)
		e.tell(pipeline.JobErrored, pipeline.JobSubject(project, id, name), pipeline.JobEvent{Job: name, Attempt: 1})
		task := pipeline.Task{Project: project, Video: id, Job: pipeline.Job{Name: name, Worker: "w"}}
		must(t, e.Bus.DeadLetter(ctx, pipeline.DeadLetter{Task: task, Subject: task.Subject(), Token: 1}))
	}
	var subjects []string
	for event, err := range e.client.EventLog(ctx, id) {
		must(t, err)
		subjects = append(subjects, event.Subject)
	}
	if len(subjects) != itemsPage+1 || subjects[0] != pipeline.UploadedSubject(project, id) || !slices.IsSorted(subjects[1:]) {
		t.Errorf("%d events, of %q", len(subjects), subjects)
	}
	var jobs []string
	for cursor, pages := "", 0; pages == 0 || cursor != ""; pages++ {
		letters, next, err := e.client.DeadLetterPage(ctx, 60, cursor)
		must(t, err)
		for _, d := range letters {
			jobs = append(jobs, d.Job)
		}
		cursor = next
	}
	if len(jobs) != itemsPage || !slices.IsSorted(jobs) {
		t.Errorf("letters of %q", jobs)
	}
	if _, _, err := e.client.DeadLetterPage(ctx, 60, "nonsense"); err == nil || errors.Is(err, pipeline.ErrNotFound) {
		t.Errorf("a cursor of nobody's: %v", err)
	}
}

// TestIDsOfNothing checks that an id that is no id never reads or deletes something else.
func TestIDsOfNothing(t *testing.T) {
	e := newEnv(t)
	real := e.uploaded().ID
	for _, id := range []string{"", ".", "..", "../videos/" + real, real + "/jobs", real + "?", real + "#", real + "%2F", " "} {
		if v, err := e.client.Video(t.Context(), id); err == nil {
			t.Errorf("%q is %+v", id, v)
		}
		if err := e.client.Delete(t.Context(), id); err == nil {
			t.Errorf("%q was deleted", id)
		}
	}
	if _, err := e.client.Video(t.Context(), real); err != nil {
		t.Error(err)
	}
}

func TestChange(t *testing.T) {
	e := newEnv(t)
	id := e.uploaded().ID
	title, value := "A", "1"
	both := map[string]*string{"a": &value, "b": &value}
	v, err := e.client.Change(t.Context(), id, Change{Title: &title, Metadata: both})
	must(t, err)
	if v.Metadata["b"] != "1" {
		t.Errorf("metadata %v", v.Metadata)
	}
	v, err = e.client.Change(t.Context(), id, Change{Metadata: map[string]*string{"b": nil}})
	must(t, err)
	if v.Title != "A" || v.Metadata["a"] != "1" || len(v.Metadata) != 1 {
		t.Errorf("%q %v", v.Title, v.Metadata)
	}
	_, err = e.client.Change(t.Context(), "vid_none", Change{Title: &title})
	if !errors.Is(err, pipeline.ErrNotFound) {
		t.Errorf("of no video: %v", err)
	}
}
