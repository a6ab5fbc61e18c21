package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
)

func TestCancel(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, ladder())
	if _, err := pipeline.Cancel(ctx, w.log, project, video); !errors.Is(err, pipeline.ErrNotFound) {
		t.Fatalf("canceling nothing: %v", err)
	}
	w.accept(uploadOf(ladder().pipeline()))
	w.run("inspect", accepted())
	w.run("transcode-0000", pipeline.Result{})
	task, _ := w.tasks.take("transcode-0001")
	started := w.write(pipeline.JobStarted, task, pipeline.JobEvent{Attempt: 1, Owner: 1})
	first, err := pipeline.Cancel(ctx, w.log, project, video)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := pipeline.Cancel(ctx, w.log, project, video); err != nil || again.ID != first.ID {
		t.Fatalf("canceled again: %+v, %v", again, err)
	}
	w.settle()
	w.want("notify") // and thumbnail's task is withdrawn
	v, err := pipeline.Fold(ctx, w.log, project, video)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]pipeline.JobState{
		"transcode-0000": pipeline.StateJobCompleted, "transcode-0001": pipeline.StateJobCanceled,
		"thumbnail": pipeline.StateJobCanceled, "transcode-package": pipeline.StateJobSkipped,
	} {
		if got := v.Jobs[name].State; got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	slices.Sort(w.objects.deleted)
	gone := slices.Compact(w.objects.deleted)
	if want := []string{fmt.Sprintf("videos/vid_01/transcode-0001/%d/", started.Sequence)}; !slices.Equal(gone, want) {
		t.Errorf("deleted %v, want %v", gone, want)
	}
	if end := w.finish(); end.State != pipeline.StateVideoCanceled || !end.Notify {
		t.Errorf("end %+v", end)
	}
	_, wanted, err := pipeline.FoldTask(ctx, w.log, task)
	if err != nil || wanted {
		t.Errorf("a task of a canceled video is wanted: %v", err)
	}
	mustBeValid(t, w.log.events...)
}

func TestCancelAfterTheEnd(t *testing.T) {
	p := planner{"a": {}}
	w := newWorld(t, p)
	w.accept(uploadOf(p.pipeline()))
	w.run("inspect", accepted())
	_, err := pipeline.Cancel(context.Background(), w.log, project, video)
	if !errors.Is(err, pipeline.ErrState) {
		t.Fatalf("canceling a ready video: %v", err)
	}
}

// A plan that is written while the video is being canceled never runs.
func TestCanceledWhilePlanned(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, ladder())
	w.accept(uploadOf(ladder().pipeline()))
	log := &raced{memLog: w.log}
	w.coord.Log = log
	task, _ := w.tasks.take("inspect")
	started := w.write(pipeline.JobStarted, task, pipeline.JobEvent{Attempt: 1, Owner: 1})
	result := accepted()
	w.write(pipeline.JobCompleted, task, pipeline.JobEvent{Attempt: 1, Token: started.Sequence, Result: &result})
	log.before = func() {
		if _, err := pipeline.Cancel(ctx, w.log, project, video); err != nil {
			t.Fatal(err)
		}
	}
	w.settle()
	w.want("notify")
	if n := len(w.log.of(pipeline.VideoInspected)); n != 1 {
		t.Fatalf("inspected %d times; the race did not happen", n)
	}
}
