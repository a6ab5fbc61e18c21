package api

import (
	"context"
	"errors"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/why"
)

func TestWhy(t *testing.T) {
	workers := map[string]int{"inspect": 1, "transcode": 1, "thumbnail": 1}
	e := newEnv(t, func(c *Config) {
		c.Workers = func(context.Context) (map[string]int, error) { return workers, nil }
	})
	ctx := t.Context()
	other, id := e.uploaded().ID, e.uploaded().ID
	why := func() why.Why { t.Helper(); return read[why.Why](e, "/v1/videos/"+id+"/why") }
	for _, v := range []string{other, id} {
		tasks, err := pipeline.TasksOf(ctx, e.Bus, project, v)
		must(t, err)
		must(t, e.Bus.Enqueue(ctx, tasks[0]))
	}
	if w := why(); w.Summary != "inspect is the 2nd of its project in the queue of inspect" || *w.Jobs[0].Position != 2 || w.Video != id {
		t.Errorf("%+v", w)
	}
	e.inspected(id)
	e.job(pipeline.JobStarted, id, "inspect")
	e.job(pipeline.JobCompleted, id, "inspect")
	e.job(pipeline.JobStarted, id, "transcode-0000")
	tasks, err := pipeline.TasksOf(ctx, e.Bus, project, id)
	must(t, err)
	for _, task := range tasks {
		must(t, e.Bus.Enqueue(ctx, task))
	}
	must(t, e.Bus.Progress(ctx, project, pipeline.Progress{Video: id, Job: "transcode-0000", Attempt: 1, Fraction: 0.5, Speed: 3}))
	w := why()
	for w.Jobs[1].Progress == nil { // reports are sent without an answer
		w = why()
	}
	if j := w.Jobs[1]; j.Reason != "running" || *j.Progress != 50 || *j.Speed != 3 || *j.Process != "test" {
		t.Errorf("%+v", j)
	}
	if j := w.Jobs[0]; j.Job != "thumbnail" || j.Reason != "queued" || *j.Position != 1 {
		t.Errorf("%+v", j)
	}
	if w.Timeline[0].Event != "video.uploaded" || len(w.Timeline) != 5 || w.Earlier != 0 {
		t.Errorf("%+v", w.Timeline)
	}
	workers = nil
	if j := why().Jobs[0]; j.Reason != "worker_missing" || *j.Position != 1 {
		t.Errorf("%+v", j)
	}
	e.finished(id)
	if w := why(); w.Status != "ready" || len(w.Jobs) != 0 {
		t.Errorf("%+v", w)
	}
}

func TestWhyOfALongStory(t *testing.T) {
	e := newEnv(t, nil)
	id := e.uploaded().ID
	for range eventsBatch {
		e.job(pipeline.JobStarted, id, "inspect")
	}
	w := read[why.Why](e, "/v1/videos/"+id+"/why")
	if len(w.Timeline) != why.TimelineLimit || w.Earlier != 1 || w.Timeline[0].Event != "job.started" {
		t.Errorf("%d moments, %d earlier", len(w.Timeline), w.Earlier)
	}
}

// faultyQueue and faultyProgress fail every call.
type faultyQueue struct{}

func (faultyQueue) Place(context.Context, pipeline.Task) (pipeline.Place, error) {
	return pipeline.Place{}, errFault
}

type faultyProgress struct{ Progress }

func (faultyProgress) LastProgress(context.Context, string, string, string) (pipeline.Progress, bool, error) {
	return pipeline.Progress{}, false, errFault
}

// The answer leaves out what cannot be read.
func TestWhyWithFaults(t *testing.T) {
	e := newEnv(t, func(c *Config) {
		c.Queue, c.Progress = faultyQueue{}, faultyProgress{c.Progress}
		c.Workers = func(context.Context) (map[string]int, error) { return nil, errors.New("gone") }
	})
	id := e.uploaded().ID
	e.job(pipeline.JobStarted, id, "inspect")
	w := read[why.Why](e, "/v1/videos/"+id+"/why")
	if len(w.Jobs) != 1 || w.Jobs[0].Reason != "running" || w.Jobs[0].Progress != nil {
		t.Errorf("%+v", w)
	}
}
