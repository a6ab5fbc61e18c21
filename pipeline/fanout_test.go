package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/why"
)

// chunks plans a step of n chunks, two jobs of high priority among them, and one job after all.
func chunks(n int) planner {
	var jobs []pipeline.Job
	for i := range n {
		if i == n/2 {
			jobs = append(jobs, pipeline.Job{Name: "first", Priority: pipeline.High},
				pipeline.Job{Name: "copy", Priority: pipeline.High})
		}
		jobs = append(jobs, pipeline.Job{Name: fmt.Sprintf("%02d", i)})
	}
	jobs = append(jobs, pipeline.Job{Name: "package", After: []string{"00", fmt.Sprintf("%02d", n-1)}})
	return planner{"t": jobs, "audio": {{}}}
}

// planned returns a world with a video of n chunks that has its plan.
func planned(t *testing.T, n, slots int, change ...func(*pipeline.Upload)) *world {
	t.Helper()
	p := chunks(n)
	w := newWorld(t, p)
	w.coord.Slots = func(worker string) int {
		if worker != "t" {
			return 1
		}
		return slots
	}
	up := uploadOf(p.pipeline())
	for _, f := range change {
		f(&up)
	}
	w.accept(up)
	w.run("inspect", accepted())
	return w
}

// wantTurns checks which chunks are in the queue.
func (w *world) wantTurns(from, to int, others ...string) {
	w.t.Helper()
	names := slices.Clone(others)
	for i := from; i < to; i++ {
		names = append(names, fmt.Sprintf("t-%02d", i))
	}
	w.want(names...)
}

func TestWindow(t *testing.T) {
	for slots, want := range map[int]int{-1: 64, 0: 64, 1: 4, 2: 4, 3: 6, 10: 20, 50: 70} {
		planned(t, 70, slots).wantTurns(0, want, "audio", "t-first", "t-copy")
	}
	w := planned(t, 70, 1)
	w.coord.Slots = nil
	if err := w.coord.Evaluate(t.Context(), project, video); err != nil {
		t.Fatal(err)
	}
	w.wantTurns(0, 64, "audio", "t-first", "t-copy")
	w.coord.Slots = func(string) int { return 1 } // what is in the queue stays there
	for i := range 60 {
		w.run(fmt.Sprintf("t-%02d", i), pipeline.Result{})
		w.wantTurns(i+1, 64, "audio", "t-first", "t-copy")
	}
	w.run("t-60", pipeline.Result{})
	w.wantTurns(61, 65, "audio", "t-first", "t-copy")
}

// TestWindowMoves: a job that has ended, in any way, leaves its place to the next; no other job does.
func TestWindowMoves(t *testing.T) {
	others := []string{"audio", "t-first", "t-copy"}
	w := planned(t, 12, 2)
	w.wantTurns(0, 4, others...)
	w.run("t-first", pipeline.Result{}) // it had no place
	w.run("audio", pipeline.Result{})
	others = others[2:]
	w.wantTurns(0, 4, others...)
	w.run("t-02", pipeline.Result{})
	w.want("t-00", "t-01", "t-03", "t-04", "t-copy")
	w.fail("t-00", pipeline.CodeEncodeFailed)
	w.want("t-01", "t-03", "t-04", "t-05", "t-copy")

	task, _ := w.tasks.take("t-01")
	started := w.write(pipeline.JobStarted, task, pipeline.JobEvent{Attempt: 1, Owner: 1})
	w.settle()
	w.want("t-03", "t-04", "t-05", "t-copy") // it is with a worker
	w.write(pipeline.JobRetrying, task, retrying())
	w.settle()
	w.want("t-03", "t-04", "t-05", "t-copy") // it will be with a worker again
	w.write(pipeline.JobStarted, task, pipeline.JobEvent{Attempt: 2, Owner: 2})
	w.write(pipeline.JobInterrupted, task, pipeline.JobEvent{Attempt: 1, Token: started.Sequence})
	w.settle()
	w.want("t-03", "t-04", "t-05", "t-copy") // its task was given back
	w.write(pipeline.JobCanceled, task, pipeline.JobEvent{})
	w.settle()
	w.wantTurns(3, 7, others...)
	for i := 3; i < 12; i++ {
		w.run(fmt.Sprintf("t-%02d", i), pipeline.Result{})
	}
	w.want("t-copy") // the package waits for t-00, which failed
	w.run("t-copy", pipeline.Result{})
	if end := w.finish(); end.State != pipeline.StateVideoErrored {
		t.Errorf("the video is %s", end.State)
	}
}

// TestWindowTakesWhatMayRun: a job that waits for others takes no place; later it takes the one of its
// position in the plan.
func TestWindowTakesWhatMayRun(t *testing.T) {
	jobs := []pipeline.Job{{Name: "a"}, {Name: "b", After: []string{"a"}}}
	for i := range 8 {
		jobs = append(jobs, pipeline.Job{Name: fmt.Sprint(i)})
	}
	p := planner{"t": jobs}
	w := newWorld(t, p)
	w.coord.Slots = func(string) int { return 1 }
	w.accept(uploadOf(p.pipeline()))
	w.run("inspect", accepted())
	w.want("t-a", "t-0", "t-1", "t-2")
	w.run("t-0", pipeline.Result{})
	w.want("t-a", "t-1", "t-2", "t-3")
	w.run("t-a", pipeline.Result{})
	w.want("t-b", "t-1", "t-2", "t-3")
	w.run("t-3", pipeline.Result{})
	w.want("t-b", "t-1", "t-2", "t-4")
}

// TestWindowOfPriority: the upload's priority changes how soon a job is served, not whether it waits for its
// turn.
func TestWindowOfPriority(t *testing.T) {
	for _, p := range []pipeline.Priority{pipeline.High, pipeline.Bulk} {
		w := planned(t, 12, 1, func(up *pipeline.Upload) { up.Priority = p })
		w.wantTurns(0, 4, "audio", "t-first", "t-copy")
		if task, _ := w.tasks.take("t-03"); task.Job.Priority != p {
			t.Errorf("a chunk of a video of priority %s is %s", p, task.Job.Priority)
		}
	}
}

// TestWindowAfterARedrive: a job that is tried again waits for its turn like the others.
func TestWindowAfterARedrive(t *testing.T) {
	w := planned(t, 8, 1)
	w.fail("t-01", pipeline.CodeEncodeFailed)
	w.fail("t-02", pipeline.CodeEncodeFailed)
	w.wantTurns(3, 6, "audio", "t-first", "t-copy", "t-00")
	redrive := func(job string) {
		t.Helper()
		if _, err := pipeline.Redrive(t.Context(), w.log, project, video, job); err != nil {
			t.Fatal(err)
		}
		w.settle()
	}
	redrive("t-02")
	w.wantTurns(2, 6, "audio", "t-first", "t-copy", "t-00") // 5 was there before
	w.run("t-00", pipeline.Result{})
	w.wantTurns(2, 6, "audio", "t-first", "t-copy")
	for _, job := range []string{"t-first", "t-copy", "audio", "t-02", "t-03", "t-04", "t-05", "t-06", "t-07",
		"t-package"} {
		w.run(job, pipeline.Result{})
	}
	if end := w.finish(); end.State != pipeline.StateVideoErrored {
		t.Fatalf("the video is %s", end.State)
	}
	w.want("notify")
	redrive("t-01")
	w.want("notify", "t-01")
}

// TestWindowCanceled: jobs that have no turn yet are canceled with the others.
func TestWindowCanceled(t *testing.T) {
	w := planned(t, 12, 1)
	if _, err := pipeline.Cancel(t.Context(), w.log, project, video); err != nil {
		t.Fatal(err)
	}
	w.settle()
	w.want("notify")
	if n := len(w.log.of(pipeline.JobCanceled)); n != 15 { // twelve, two of high priority, and audio
		t.Errorf("%d jobs were canceled", n)
	}
}

// lossy is a queue whose server stops answering after some tasks.
type lossy struct {
	*memTasks
	left int
}

func (q *lossy) Enqueue(ctx context.Context, t pipeline.Task) error {
	if q.left == 0 {
		return errCrash
	}
	q.left--
	return q.memTasks.Enqueue(ctx, t)
}

// TestWindowAfterACrash: whatever was enqueued before, the next evaluation enqueues the rest of the window.
func TestWindowAfterACrash(t *testing.T) {
	for stored := range 5 {
		w := planned(t, 12, 2)
		task, _ := w.tasks.take("t-00")
		w.write(pipeline.JobCompleted, task, pipeline.JobEvent{Attempt: 1, Result: &pipeline.Result{}})
		queue := &lossy{w.tasks, stored}
		w.coord.Tasks = queue
		if err := w.coord.Evaluate(t.Context(), project, video); !errors.Is(err, errCrash) {
			t.Fatal(err)
		}
		queue.left = -1
		w.settle()
		w.wantTurns(1, 5, "audio", "t-first", "t-copy")
	}
}

// TestWhyOfAWindow: a job without a turn is reported as waiting for it, not as lost; a job with a turn may be
// lost.
func TestWhyOfAWindow(t *testing.T) {
	w := planned(t, 12, 1)
	w.run("t-00", pipeline.Result{})
	w.tasks.take("t-03") // it is lost
	tasks, err := pipeline.TasksOf(t.Context(), w.log, project, video)
	if err != nil {
		t.Fatal(err)
	}
	facts := why.Facts{
		Tasks: tasks, Places: map[string]pipeline.Place{}, Workers: map[string]int{"t": 1, "audio": 1},
	}
	var jobs []pipeline.JobView
	for _, e := range w.log.events {
		facts.Add(e)
	}
	v, err := pipeline.Fold(t.Context(), w.log, project, video)
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range v.Plan {
		jobs = append(jobs, pipeline.JobView{
			Name: j.Name, Worker: j.Worker, After: j.After, Status: v.Jobs[j.Name].State, CreatedAt: v.Inspected.Time,
		})
		facts.Places[j.Name] = pipeline.Place{Queued: slices.Contains(w.tasks.names(), j.Name)}
	}
	delete(facts.Places, "t-11") // nobody asked
	view, later := pipeline.VideoView{Status: pipeline.StateVideoProcessing}, v.Inspected.Time.Add(time.Hour)
	got := why.Explain(view, jobs, facts, later)
	for _, j := range got.Jobs {
		reason, detail := why.Queued, "is next of its project in the queue"
		switch {
		case j.Job == "t-03":
			reason, detail = why.Stalled, "neither queued nor scheduled"
		case j.Job == "t-package":
			reason, detail = why.Blocked, "waits for t-00, t-11"
			if len(j.BlockedBy) == 1 {
				detail = "waits for t-11"
			}
		case j.Job == "t-05":
			detail = "t-05 waits for its turn behind 4 earlier jobs of the video"
		case j.Job > "t-05" && j.Job < "t-12":
			detail = "waits for its turn behind"
		}
		if j.Reason != reason || !strings.Contains(j.Detail, detail) {
			t.Errorf("%s: %s, %q; want %s, %q", j.Job, j.Reason, j.Detail, reason, detail)
		}
	}
}
