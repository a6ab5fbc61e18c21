package pipeline_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
)

func redrive(t *testing.T, w *world, job string) pipeline.Event {
	t.Helper()
	e, err := pipeline.Redrive(context.Background(), w.log, project, video, job)
	if err != nil {
		t.Fatal(err)
	}
	again, err := pipeline.Redrive(context.Background(), w.log, project, video, job)
	if err != nil || again.ID != e.ID {
		t.Fatalf("redriven again: %+v, %v", again, err)
	}
	w.settle()
	return e
}

func TestRedrive(t *testing.T) {
	w := newWorld(t, ladder())
	w.accept(uploadOf(ladder().pipeline()))
	w.run("inspect", accepted())
	w.fail("transcode-0001", pipeline.CodeEncodeFailed)
	w.run("transcode-0000", pipeline.Result{})
	w.run("thumbnail", pipeline.Result{})
	if w.finish().State != pipeline.VideoStateErrored {
		t.Fatal("not errored")
	}
	w.run("notify", pipeline.Result{})

	e := redrive(t, w, "transcode-0001")
	w.want("transcode-0001")
	task, _ := w.tasks.take("transcode-0001")
	if task.Cause != e.Sequence {
		t.Fatalf("the task is made for %d, not for the requeueing %d", task.Cause, e.Sequence)
	}
	started := w.write(pipeline.JobStarted, task, pipeline.JobEvent{Attempt: 2, Generation: 1, Owner: 9})
	w.write(pipeline.JobCompleted, task, pipeline.JobEvent{
		Attempt: 2, Generation: 1, Token: started.Sequence, Result: &pipeline.Result{},
	})
	w.settle()
	w.run("transcode-package", manifest("master.m3u8")) // it was skipped, and is no more
	w.want("notify-1")
	ready := w.log.of(pipeline.VideoReady)
	if len(ready) != 1 || len(w.log.of(pipeline.VideoReopened)) != 1 {
		t.Fatalf("ready %d times", len(ready))
	}
	notify, _ := w.tasks.take("notify-1")
	var told pipeline.Delivery
	if err := json.Unmarshal(notify.Job.Part, &told); err != nil || told.ID != ready[0].ID {
		t.Fatalf("told %+v, %v", told, err)
	}
	mustBeValid(t, w.log.events...)
}

// An errored delivery is tried again without the video being opened.
func TestRedriveOfADelivery(t *testing.T) {
	p := planner{"a": {}}
	w := newWorld(t, p)
	w.accept(uploadOf(p.pipeline()))
	w.run("inspect", accepted())
	w.fail("notify", pipeline.CodeWebhookFailed)
	redrive(t, w, "notify")
	w.want("notify")
	if n := len(w.log.of(pipeline.VideoReopened)); n != 0 {
		t.Fatal("the video was reopened")
	}
	task, _ := w.tasks.take("notify")
	if len(task.Job.Part) == 0 || task.Cause == 0 {
		t.Fatalf("task %+v", task)
	}
}

func TestRedriveOfInspection(t *testing.T) {
	w := newWorld(t, ladder())
	w.accept(uploadOf(ladder().pipeline()))
	w.fail("inspect", pipeline.CodeStorageFailed)
	w.run("notify", pipeline.Result{})
	redrive(t, w, "inspect")
	w.run("inspect", accepted())
	w.want("thumbnail", "transcode-0000", "transcode-0001")
}

// What tells of an end that was taken back is told no more.
func TestRedriveOfAnEarlierDelivery(t *testing.T) {
	p := planner{"a": {{Optional: true}}}
	w := newWorld(t, p)
	w.accept(uploadOf(p.pipeline()))
	w.run("inspect", accepted())
	w.fail("a", pipeline.CodeStorageFailed)
	w.fail("notify", pipeline.CodeWebhookFailed)
	redrive(t, w, "a")
	refuse := func() {
		t.Helper()
		_, err := pipeline.Redrive(context.Background(), w.log, project, video, "notify")
		if !errors.Is(err, pipeline.ErrState) {
			t.Errorf("redrive: %v", err)
		}
	}
	refuse()
	w.run("a", pipeline.Result{})
	w.want("notify-1")
	refuse()
}

func TestRedriveRefused(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, ladder())
	refuse := func(job string, want error) {
		t.Helper()
		if _, err := pipeline.Redrive(ctx, w.log, project, video, job); !errors.Is(err, want) {
			t.Errorf("redrive of %s: %v, want %v", job, err, want)
		}
	}
	refuse("inspect", pipeline.ErrNotFound)
	w.accept(uploadOf(ladder().pipeline()))
	w.run("inspect", accepted())
	refuse("a.b", pipeline.ErrNotFound)
	refuse("unknown", pipeline.ErrNotFound)
	refuse("inspect", pipeline.ErrState)   // completed
	refuse("thumbnail", pipeline.ErrState) // pending
	w.fail("thumbnail", pipeline.CodeEncodeFailed)
	if _, err := pipeline.Cancel(ctx, w.log, project, video); err != nil {
		t.Fatal(err)
	}
	refuse("thumbnail", pipeline.ErrState) // of a canceled video
}
