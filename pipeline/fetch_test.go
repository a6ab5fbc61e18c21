package pipeline_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
)

const address = "https://example.org/a.mp4?signature=abc"

// fetchOf is uploadOf with a URL in place of a source.
func fetchOf(p pipeline.Pipeline) pipeline.Upload {
	up := uploadOf(p)
	up.Source, up.Fetch = pipeline.Object{}, &pipeline.Fetch{URL: address, MaxBytes: 100}
	return up
}

// fetched is the result of the fetch job.
func fetched() pipeline.Result {
	return pipeline.Result{Source: &pipeline.Object{
		Key: "videos/vid_01/fetch/2/source.mp4", Size: 9, SHA256: "cd", ContentType: "video/mp4", Filename: "a.mp4",
	}}
}

// TestFetch: the story of a video whose source is fetched: the fetch comes first, and all other jobs have its
// source.
func TestFetch(t *testing.T) {
	p := planner{"a": {{}}}
	w := newWorld(t, p)
	w.accept(fetchOf(p.pipeline()))
	w.want("fetch")
	task, _ := w.tasks.take("fetch")
	var part pipeline.Fetch
	if err := json.Unmarshal(task.Job.Part, &part); err != nil || part.URL != address || part.MaxBytes != 100 {
		t.Errorf("part %s, %v", task.Job.Part, err)
	}
	if task.Job.Worker != pipeline.FetchStep || task.Source.Key != "" || len(task.Job.Retry) == 0 || task.Job.Timeout == 0 {
		t.Errorf("task %+v", task)
	}
	started := w.write(pipeline.JobStarted, task, pipeline.JobEvent{Attempt: 1, Owner: 1})
	w.settle()
	w.want()
	r := fetched()
	done := w.write(pipeline.JobCompleted, task, pipeline.JobEvent{Attempt: 1, Token: started.Sequence, Result: &r})
	w.settle()
	w.want("inspect")
	if inspect := w.tasks.waiting[0]; inspect.Source != *r.Source || inspect.EventID != done.ID {
		t.Errorf("the inspection gets %+v, because of %s", inspect.Source, inspect.EventID)
	}
	w.run("inspect", accepted())
	if a := w.tasks.waiting[0]; a.Job.Name != "a" || a.Source != *r.Source {
		t.Errorf("the job gets %+v", a)
	}
	w.run("a", manifest("a.m3u8"))
	if end := w.finish(); end.State != pipeline.StateVideoReady {
		t.Errorf("the video is %+v", end)
	}
	told, _ := w.tasks.take("notify")
	var d pipeline.Delivery
	if err := json.Unmarshal(told.Job.Part, &d); err != nil || d.Body.Data.Filename != "a.mp4" || d.Body.Data.Size != 9 ||
		d.Body.Data.SHA256 != "cd" || d.Body.Data.Progress != 100 {
		t.Errorf("the webhook says %+v, %v", d.Body.Data, err)
	}
	if strings.Contains(string(told.Job.Part), "signature") {
		t.Errorf("the webhook has the URL: %s", told.Job.Part)
	}
	mustBeValid(t, w.log.events...)
}

// TestFetchedView: the read model shows what is known of the source, and counts no work for its fetch.
func TestFetchedView(t *testing.T) {
	p := planner{"a": {{}}}
	w := newWorld(t, p)
	up := fetchOf(p.pipeline())
	up.Fetch.Filename = "mine.mp4"
	w.accept(up)
	view := func() pipeline.VideoView {
		var v pipeline.VideoView
		jobs := map[string]*pipeline.JobView{}
		for _, e := range w.log.events {
			if _, _, job, _ := pipeline.Address(e.Subject); job != "" {
				if jobs[job] == nil {
					jobs[job] = &pipeline.JobView{}
				}
				if _, err := jobs[job].Apply(e); err != nil {
					t.Fatal(err)
				}
				v.ApplyJob(e, *jobs[job])
			} else if err := v.Apply(e); err != nil {
				t.Fatal(err)
			}
		}
		return v
	}
	if v := view(); v.Filename != "mine.mp4" || v.Size != 0 || v.SHA256 != "" || v.Status != pipeline.StateVideoQueued {
		t.Errorf("before: %+v", v)
	}
	w.run("fetch", fetched())
	w.run("inspect", accepted())
	if v := view(); v.Filename != "a.mp4" || v.Size != 9 || v.SHA256 != "cd" || v.DoneWeight != 0 ||
		v.Status != pipeline.StateVideoProcessing || v.Progress != 0 {
		t.Errorf("after: %+v", v)
	}
	samples, err := pipeline.SamplesOf(w.log.events)
	if err != nil || len(samples) != 3 || samples[0].Value != 0 || samples[1].Metric != pipeline.MetricFetched ||
		samples[1].Value != 9 {
		t.Errorf("samples %+v, %v", samples, err)
	}
}

// TestFetchFails: a video whose source cannot be fetched ends with the problem of the fetch, and can be
// retried.
func TestFetchFails(t *testing.T) {
	ctx := context.Background()
	p := planner{"a": {{}}}
	w := newWorld(t, p)
	w.accept(fetchOf(p.pipeline()))
	w.fail("fetch", pipeline.CodeFetchRefused)
	if end := w.finish(); end.State != pipeline.StateVideoErrored || end.Problem.Code != pipeline.CodeFetchRefused {
		t.Fatalf("the video is %+v", end)
	}
	w.want("notify")
	w.tasks.take("notify")
	if _, err := pipeline.Redrive(ctx, w.log, project, video, pipeline.FetchStep); err != nil {
		t.Fatal(err)
	}
	w.settle()
	w.want("fetch")
	w.run("fetch", fetched())
	w.want("inspect")
	w.fail("inspect", pipeline.CodeInternal)
	if _, err := pipeline.Retry(ctx, w.log, project, video); err != nil {
		t.Fatal(err)
	}
	w.tasks.take("notify-1")
	w.settle()
	w.want("inspect") // the source is there: it is not fetched again
	w.run("inspect", accepted())
	w.run("a", manifest("a.m3u8"))
	mustBeValid(t, w.log.events...)
}

// TestFetchWithoutSource: a fetch job that stored nothing ends the video instead of leaving it for ever.
func TestFetchWithoutSource(t *testing.T) {
	for _, r := range []pipeline.Result{{}, {Source: &pipeline.Object{}}} {
		p := planner{"a": {{}}}
		w := newWorld(t, p)
		w.accept(fetchOf(p.pipeline()))
		w.run("fetch", r)
		if end := w.finish(); end.State != pipeline.StateVideoErrored || end.Problem.Code != pipeline.CodeInternal {
			t.Errorf("the video is %+v", end)
		}
	}
}

// TestCancelFetch: a video can be canceled while it is fetched and between fetch and inspection, and go on.
func TestCancelFetch(t *testing.T) {
	ctx := context.Background()
	for name, c := range map[string]struct {
		before func(w *world)
		goesOn string
	}{
		"waiting": {func(*world) {}, "fetch"},
		"fetching": {func(w *world) {
			task, _ := w.tasks.take("fetch")
			w.write(pipeline.JobStarted, task, pipeline.JobEvent{Attempt: 1, Owner: 1})
			w.settle()
		}, "fetch"},
		"fetched": {func(w *world) { w.run("fetch", fetched()) }, "inspect"},
	} {
		p := planner{"a": {{}}}
		w := newWorld(t, p)
		up := fetchOf(p.pipeline())
		up.Webhook = nil
		w.accept(up)
		c.before(w)
		if _, err := pipeline.Cancel(ctx, w.log, project, video); err != nil {
			t.Fatal(err)
		}
		w.settle()
		w.want()
		last, _ := w.log.Last(ctx, pipeline.JobSubject(project, video, c.goesOn))
		if last[0].Type != pipeline.JobCanceled {
			t.Errorf("%s: %s is %q", name, c.goesOn, last[0].Type)
		}
		if name == "fetching" && (len(w.objects.deleted) != 1 || !strings.HasPrefix(w.objects.deleted[0], "videos/vid_01/fetch/")) {
			t.Errorf("%s: deleted %v", name, w.objects.deleted)
		}
		if _, err := pipeline.Retry(ctx, w.log, project, video); err != nil {
			t.Fatal(name, err)
		}
		w.settle()
		w.want(c.goesOn)
	}
}

// TestFetchIsSwept: a lost task of a fetch is found, and so is that of the inspection after it.
func TestFetchIsSwept(t *testing.T) {
	ctx := context.Background()
	p := planner{"a": {{}}}
	w := newWorld(t, p)
	w.accept(fetchOf(p.pipeline()))
	for _, job := range []string{"fetch", "inspect"} {
		w.want(job)
		due, err := pipeline.TasksOf(ctx, w.log, project, video)
		if err != nil || len(due) != 1 || due[0].Subject() != w.tasks.waiting[0].Subject() ||
			due[0].EventID != w.tasks.waiting[0].EventID || due[0].Source != w.tasks.waiting[0].Source {
			t.Errorf("due are %+v, %v; want %+v", due, err, w.tasks.waiting)
		}
		if job == "fetch" {
			w.run("fetch", fetched())
		}
	}
}

// TestFetchAgain: the same upload with the same id is one video; with another URL it is refused.
func TestFetchAgain(t *testing.T) {
	ctx := context.Background()
	p := planner{"a": {{}}}
	w := newWorld(t, p)
	first := w.accept(fetchOf(p.pipeline()))
	again := fetchOf(p.pipeline())
	again.Fetch.MaxBytes = 200 // the server's limit was raised
	if e, replayed, err := pipeline.Accept(ctx, w.log, project, video, again, ""); err != nil || !replayed || e.ID != first.ID {
		t.Errorf("again: %v, %v, %v", e.ID, replayed, err)
	}
	for _, other := range []pipeline.Upload{uploadOf(p.pipeline()), fetchOf(p.pipeline()), fetchOf(p.pipeline())} {
		if other.Fetch != nil {
			other.Fetch = &pipeline.Fetch{URL: address + "2"}
		}
		if _, _, err := pipeline.Accept(ctx, w.log, project, video, other, ""); !errors.Is(err, pipeline.ErrReused) {
			t.Errorf("another: %v", err)
		}
	}
}

// TestJanitorKeepsFetchedSource: the source of the attempt that won stays, those of the others go.
func TestJanitorKeepsFetchedSource(t *testing.T) {
	p := planner{"a": {{}}}
	w := newWorld(t, p)
	w.accept(fetchOf(p.pipeline()))
	task, _ := w.tasks.take("fetch")
	w.write(pipeline.JobStarted, task, pipeline.JobEvent{Attempt: 1, Owner: 1})
	second := w.write(pipeline.JobStarted, task, pipeline.JobEvent{Attempt: 2, Owner: 1})
	lost := "videos/vid_01/fetch/2/source.mp4"
	kept := pipeline.AttemptPrefix(video, "fetch", second.Sequence) + "source.mp4"
	clean := func() map[string]bool {
		all := shelf{}
		for _, key := range []string{lost, kept, "videos/vid_01/source/x.png"} {
			all[key] = 25 * time.Hour
		}
		j := pipeline.Janitor{Log: w.log, Owners: owners{}, Shelf: all}
		if _, err := j.Clean(context.Background()); err != nil {
			t.Fatal(err)
		}
		left := map[string]bool{}
		for key := range all {
			left[key] = true
		}
		return left
	}
	if left := clean(); len(left) != 1 || !left[kept] {
		t.Errorf("while it is fetched: %v", left)
	}
	r := fetched()
	r.Source.Key = kept
	w.write(pipeline.JobCompleted, task, pipeline.JobEvent{Attempt: 2, Token: second.Sequence, Result: &r})
	w.settle()
	if left := clean(); len(left) != 1 || !left[kept] {
		t.Errorf("when it is fetched: %v", left)
	}
}

// TestFetchIsReserved: no step of a pipeline has the name of the fetch.
func TestFetchIsReserved(t *testing.T) {
	p := planner{"a": {{}}}
	doc := pipeline.Pipeline{Name: "p", Version: 1, Steps: []pipeline.Step{{Name: "fetch", Worker: "a"}}}
	if err := doc.Validate(p); err == nil || !strings.Contains(err.Error(), "reserved") {
		t.Error(err)
	}
}
