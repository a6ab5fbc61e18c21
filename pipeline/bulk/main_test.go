package bulk_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/bulk"
	"github.com/reelmill/reelmill/pipeline/bus"
	"github.com/reelmill/reelmill/pipeline/bus/bustest"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const project = "default"

// rig is a real broker with dead letters.
type rig struct {
	t   *testing.T
	bus *bus.Bus
	bulk.Desk
}

func open(t *testing.T, dir string) *rig {
	t.Helper()
	b, err := bus.Open(pipelinetest.Context(t), bustest.Connect(t, dir), bus.Config{Exclusive: true})
	must(t, err)
	return &rig{t, b, bulk.Desk{Bucket: b, Letters: b}}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// letter makes a video whose inspection has errored, and returns its dead letter.
func (r *rig) letter(video string, code pipeline.Code) pipeline.DeadLetter {
	r.t.Helper()
	ctx := pipelinetest.Context(r.t)
	_, _, err := pipeline.Accept(ctx, r.bus, project, video, pipeline.Upload{
		Source: pipeline.Object{Key: "videos/" + video + "/source/original.mp4"}, Pipeline: pipeline.Default(),
	}, "")
	must(r.t, err)
	return r.fail(video, code, 0)
}

// fail appends the failure of a video's inspection after a sequence, and returns its dead letter.
func (r *rig) fail(video string, code pipeline.Code, after uint64) pipeline.DeadLetter {
	r.t.Helper()
	ctx := pipelinetest.Context(r.t)
	tasks, err := pipeline.TasksOf(ctx, r.bus, project, video)
	must(r.t, err)
	problem := pipeline.ProblemOf(&pipeline.Error{Code: code, Detail: "no"})
	subject := pipeline.JobSubject(project, video, tasks[0].Job.Name)
	var last pipeline.Event
	for _, kind := range []pipeline.EventType{pipeline.JobStarted, pipeline.JobErrored} {
		data := pipeline.JobEvent{
			Job: tasks[0].Job.Name, Step: tasks[0].Job.Step, Worker: tasks[0].Job.Worker, Process: "test", Attempt: 1,
		}
		if kind == pipeline.JobErrored {
			data.Failed, data.Problem = 1, problem
		}
		e, err := pipeline.NewEvent("test", kind, subject, video, last, data)
		must(r.t, err)
		last, err = pipeline.Append(ctx, r.bus, e, after)
		must(r.t, err)
		after = last.Sequence
	}
	d := pipeline.DeadLetter{
		Task: tasks[0], Subject: tasks[0].Subject(), Problem: *problem, Attempts: 1, Token: last.Sequence,
		Time: time.Now().UTC(),
	}
	must(r.t, r.bus.DeadLetter(ctx, d))
	return d
}

// requeued returns the job.requeued events of a video.
func (r *rig) requeued(video string) (events []pipeline.Event) {
	r.t.Helper()
	history, err := r.bus.History(pipelinetest.Context(r.t), project, video)
	must(r.t, err)
	for _, e := range history {
		if e.Type == pipeline.JobRequeued {
			events = append(events, e)
		}
	}
	return events
}

// left returns the ids of the videos that have letters.
func (r *rig) left() (videos []string) {
	r.t.Helper()
	letters, _, err := r.bus.DeadLetters(pipelinetest.Context(r.t), project, "", 1000)
	must(r.t, err)
	for _, d := range letters {
		videos = append(videos, d.Task.Video)
	}
	return videos
}

// config is that of a runner on the rig, which finds no load.
func (r *rig) config(name string) bulk.Config {
	return bulk.Config{
		Bucket: r.bus, Letters: r.bus, Log: r.bus, Process: name, Every: 10 * time.Millisecond,
		Load: func(context.Context, string) (int, error) { return 0, nil },
	}
}

// runs runs a runner until the test ends, or stop is called.
func (r *rig) runs(c bulk.Config) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	w := bulk.New(c)
	go func() { done <- w.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			r.t.Error(err)
		}
	}
	r.t.Cleanup(stop)
	return stop
}

// starts begins a run of the letters that f selects.
func (r *rig) starts(a bulk.Action, f bulk.LetterFilter) bulk.Run {
	r.t.Helper()
	ctx := pipeline.WithActor(pipelinetest.Context(r.t), "key:k1")
	run, _, err := r.Start(ctx, bulk.Run{Project: project, Action: a, Filter: f, Reason: "a new encoder"})
	must(r.t, err)
	return run
}

// until waits until the run is as ok says, and returns it.
func (r *rig) until(id, what string, ok func(bulk.Run) bool) (run bulk.Run) {
	r.t.Helper()
	pipelinetest.Until(r.t, what, func() bool {
		var err error
		run, err = r.Run(pipelinetest.Context(r.t), project, id)
		must(r.t, err)
		return ok(run)
	})
	return run
}

func ended(run bulk.Run) bool { return run.Status.Ended() }

func counts(run bulk.Run) string {
	return fmt.Sprintf("%s: %d of %d done, %d failed, %d skipped, %d remain", run.Status, run.Done, run.Total, run.Failed,
		run.Skipped, run.Remaining())
}
