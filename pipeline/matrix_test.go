package pipeline_test

import (
	"context"
	"errors"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
)

// dying is a queue that takes some tasks and then none, as if the coordinator had died there.
type dying struct {
	*memTasks
	left int
}

var errDead = errors.New("dead")

func (d *dying) Enqueue(ctx context.Context, t pipeline.Task) error {
	if d.left == 0 {
		return errDead
	}
	d.left--
	return d.memTasks.Enqueue(ctx, t)
}

// TestCrashMatrix has the coordinator's rows of the crash matrix (RELIABILITY.md). The worker loop's are in
// workers/matrix_test.go.
func TestCrashMatrix(t *testing.T) {
	ctx := context.Background()
	t.Run("upload published, answer lost", func(t *testing.T) {
		w := newWorld(t, ladder())
		up := uploadOf(ladder().pipeline())
		first := w.accept(up)
		up.Source.Key = "videos/vid_01/source/second-try.mp4"
		again, replayed, err := pipeline.Accept(ctx, w.log, project, video, up, "")
		if err != nil || !replayed || again.ID != first.ID {
			t.Fatalf("accepted again: %v, replayed %v, %v", again.ID, replayed, err)
		}
		w.settle()
		w.want("inspect")
	})
	t.Run("coordinator, after the plan, k of n jobs enqueued", func(t *testing.T) {
		for k := range 3 {
			w := newWorld(t, ladder())
			w.accept(uploadOf(ladder().pipeline()))
			task, _ := w.tasks.take("inspect")
			result := accepted()
			w.write(pipeline.JobStarted, task, pipeline.JobEvent{Attempt: 1, Owner: 1})
			done := w.write(pipeline.JobCompleted, task, pipeline.JobEvent{Attempt: 1, Result: &result})
			w.coord.Tasks = &dying{w.tasks, k}
			if err := w.coord.Handle(ctx, done); !errors.Is(err, errDead) {
				t.Fatalf("it did not die: %v", err)
			}
			if len(w.tasks.waiting) != k || len(w.log.of(pipeline.VideoInspected)) != 1 {
				t.Fatalf("%v are enqueued, want %d jobs", w.tasks.names(), k)
			}
			w.coord.Tasks = w.tasks
			w.settle()
			w.want("thumbnail", "transcode-0000", "transcode-0001")
		}
	})
	t.Run("coordinator, the end written, notification not enqueued", func(t *testing.T) {
		p := planner{"a": {{}}}
		w := newWorld(t, p)
		w.accept(uploadOf(p.pipeline()))
		w.run("inspect", accepted())
		task, _ := w.tasks.take("a")
		w.write(pipeline.JobStarted, task, pipeline.JobEvent{Attempt: 1, Owner: 1})
		done := w.write(pipeline.JobCompleted, task, pipeline.JobEvent{Attempt: 1, Result: &pipeline.Result{}})
		w.coord.Tasks = &dying{w.tasks, 0}
		if err := w.coord.Handle(ctx, done); !errors.Is(err, errDead) {
			t.Fatalf("it did not die: %v", err)
		}
		w.coord.Tasks = w.tasks
		w.settle()
		w.want("notify")
		w.finish()
	})
	t.Run("two coordinators at once", func(t *testing.T) {
		p := planner{"a": {{}}}
		w := newWorld(t, p)
		w.accept(uploadOf(p.pipeline()))
		w.run("inspect", accepted())
		task, _ := w.tasks.take("a")
		w.write(pipeline.JobStarted, task, pipeline.JobEvent{Attempt: 1, Owner: 1})
		done := w.write(pipeline.JobCompleted, task, pipeline.JobEvent{Attempt: 1, Result: &pipeline.Result{}})
		other := *w.coord
		w.coord.Log = &raced{memLog: w.log, before: func() {
			if err := other.Handle(ctx, done); err != nil {
				t.Error(err)
			}
		}}
		w.handle(done)
		w.settle()
		w.finish()
		w.want("notify")
	})
	t.Run("deletion, objects gone, events not purged", func(t *testing.T) {
		w := newWorld(t, ladder())
		w.accept(uploadOf(ladder().pipeline()))
		w.run("inspect", accepted())
		deleted, err := pipeline.Delete(ctx, w.log, project, video)
		if err != nil {
			t.Fatal(err)
		}
		w.coord.Archive = unpurged{w.log}
		if err := w.coord.Handle(ctx, deleted); !errors.Is(err, errDead) {
			t.Fatalf("it did not die: %v", err)
		}
		w.coord.Archive = w.log
		w.settle()
		if n := len(w.log.of(pipeline.VideoPurged)); n != 1 || len(w.log.events) != 2 {
			t.Errorf("purged %d times, %d events are left", n, len(w.log.events))
		}
	})
}

// unpurged is an archive whose purge fails.
type unpurged struct{ *memLog }

func (unpurged) Purge(context.Context, string, string, func(uint64) bool) error { return errDead }
