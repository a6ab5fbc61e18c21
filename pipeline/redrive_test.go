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
	if w.finish().State != pipeline.StateVideoErrored {
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
	w.run("transcode-package", manifest("master.m3u8")) // it was skipped, and is pending again
	w.want("notify-1", "notify-playable")
	ready := w.log.of(pipeline.VideoReady)
	if len(ready) != 1 || len(w.log.of(pipeline.VideoReopened)) != 1 {
		t.Fatalf("ready %d times", len(ready))
	}
	notify, _ := w.tasks.take("notify-1")
	var told pipeline.Delivery
	if err := json.Unmarshal(notify.Job.Part, &told); err != nil || told.ID != ready[0].ID {
		t.Fatalf("sent %+v, %v", told, err)
	}
	mustBeValid(t, w.log.events...)
}

// An errored delivery is tried again without reopening the video.
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

// A webhook for an end that was undone is no longer sent.
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

// TestRetryOfACanceledVideo: completed jobs stay, and all others run, however far they were.
func TestRetryOfACanceledVideo(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, ladder())
	w.accept(uploadOf(ladder().pipeline()))
	w.run("inspect", accepted())
	w.run("transcode-0000", pipeline.Result{})
	task, _ := w.tasks.take("transcode-0001")
	w.write(pipeline.JobStarted, task, pipeline.JobEvent{Attempt: 3, Generation: 2, Owner: 1})
	if _, err := pipeline.Cancel(ctx, w.log, project, video); err != nil {
		t.Fatal(err)
	}
	w.settle()
	w.run("notify", pipeline.Result{})

	e, err := pipeline.Retry(ctx, w.log, project, video)
	if err != nil || e.Type != pipeline.VideoReopened {
		t.Fatalf("retry: %+v, %v", e, err)
	}
	if again, err := pipeline.Retry(ctx, w.log, project, video); err != nil || again.ID != e.ID {
		t.Fatalf("retried again: %+v, %v", again, err)
	}
	w.settle()
	w.want("thumbnail", "transcode-0001")
	v, err := pipeline.Fold(ctx, w.log, project, video)
	if err != nil {
		t.Fatal(err)
	}
	if f := v.Jobs["transcode-0001"]; f.Data.Attempt != 3 || f.Data.Generation != 3 {
		t.Errorf("attempt %d of generation %d", f.Data.Attempt, f.Data.Generation)
	}
	w.run("thumbnail", pipeline.Result{})
	w.run("transcode-0001", pipeline.Result{})
	w.run("transcode-package", manifest("master.m3u8"))
	w.want("notify-1", "notify-playable")
	if len(w.log.of(pipeline.VideoReady)) != 1 {
		t.Error("not ready")
	}
	mustBeValid(t, w.log.events...)
	if _, err := pipeline.Retry(ctx, w.log, project, video); !errors.Is(err, pipeline.ErrState) {
		t.Errorf("retry of a ready video: %v", err)
	}
}

// TestRetryBeforeTheInspection: a video that was canceled before inspection starts again from there.
func TestRetryBeforeTheInspection(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, ladder())
	if _, err := pipeline.Retry(ctx, w.log, project, video); !errors.Is(err, pipeline.ErrNotFound) {
		t.Errorf("retry of nothing: %v", err)
	}
	w.accept(uploadOf(ladder().pipeline()))
	if _, err := pipeline.Retry(ctx, w.log, project, video); !errors.Is(err, pipeline.ErrState) {
		t.Errorf("retry of a queued video: %v", err)
	}
	if _, err := pipeline.Cancel(ctx, w.log, project, video); err != nil {
		t.Fatal(err)
	}
	w.settle()
	w.run("notify", pipeline.Result{})
	if _, err := pipeline.Retry(ctx, w.log, project, video); err != nil {
		t.Fatal(err)
	}
	w.settle()
	w.run("inspect", accepted())
	w.want("thumbnail", "transcode-0000", "transcode-0001")
}

// TestRetryOfAnErroredVideo: each errored job is tried again, but no job that was only skipped.
func TestRetryOfAnErroredVideo(t *testing.T) {
	w := newWorld(t, ladder())
	w.accept(uploadOf(ladder().pipeline()))
	w.run("inspect", accepted())
	w.fail("transcode-0001", pipeline.CodeEncodeFailed)
	w.fail("transcode-0000", pipeline.CodeEncodeFailed)
	w.run("thumbnail", pipeline.Result{})
	w.run("notify", pipeline.Result{})
	if _, err := pipeline.Retry(context.Background(), w.log, project, video); err != nil {
		t.Fatal(err)
	}
	w.settle()
	w.want("transcode-0000", "transcode-0001")
}

// TestCancelOfWhatWasRequeued: a video that is canceled again, before a requeued job has begun, stays
// canceled.
func TestCancelOfWhatWasRequeued(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, ladder())
	w.accept(uploadOf(ladder().pipeline()))
	w.run("inspect", accepted())
	for range 2 {
		if _, err := pipeline.Cancel(ctx, w.log, project, video); err != nil {
			t.Fatal(err)
		}
		if _, err := pipeline.Retry(ctx, w.log, project, video); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := pipeline.Cancel(ctx, w.log, project, video); err != nil {
		t.Fatal(err)
	}
	w.settle()
	w.want("notify-2")
	v, err := pipeline.Fold(ctx, w.log, project, video)
	if err != nil || v.End.State != pipeline.StateVideoCanceled || v.End.Generation != 2 {
		t.Errorf("end %+v, %v", v.End, err)
	}
}
