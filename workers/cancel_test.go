package workers_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
	"github.com/reelmill/reelmill/workers"
)

// unhurried makes a loop check by itself only once an hour, so that only Watch can tell it.
func unhurried(c *workers.Config) { c.Heartbeat = time.Hour }

// soon is within what time unwanted work must stop.
const soon = 2 * time.Second

// endings are the ways in which a job becomes unwanted while it runs.
var endings = map[string]func(r *rig, task pipeline.Task, token uint64){
	"its job is canceled": func(r *rig, task pipeline.Task, token uint64) {
		r.append(pipeline.JobCanceled, task, token, pipeline.JobEvent{})
	},
	"its video is canceled": func(r *rig, _ pipeline.Task, _ uint64) { r.cancelVideo() },
	"its video is deleted": func(r *rig, _ pipeline.Task, _ uint64) {
		r.say(pipeline.VideoDeleted, pipeline.DeletedSubject("p", "v"), 0, struct{}{})
	},
}

func (r *rig) cancelVideo() {
	r.t.Helper()
	r.say(pipeline.VideoCanceled, pipeline.FinishedSubject("p", "v"), 0,
		pipeline.Finish{State: pipeline.StateVideoCanceled})
}

// TestUnwantedWorkIsKilled: the worker's context ends long before the next heartbeat, its stored outputs are
// removed, and the job is canceled.
func TestUnwantedWorkIsKilled(t *testing.T) {
	for name, end := range endings {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, patient)
			task := r.enqueue()
			begun := make(chan uint64)
			l, stop := r.loop(working(func(ctx context.Context, j job) (pipeline.Result, error) {
				if _, err := publish(ctx, j); err != nil {
					return pipeline.Result{}, err
				}
				begun <- j.Token
				<-ctx.Done()
				return pipeline.Result{}, ctx.Err()
			}), unhurried)
			token := <-begun
			since := time.Now()
			end(r, task, token)
			r.done("next", "ack")
			pipelinetest.Promptly(t, "the stop", since, soon)
			stop()
			r.last(pipeline.JobCanceled)
			if got := r.keys(); len(got) != 0 {
				t.Errorf("the store has %v", got)
			}
			want := workers.Counts{Started: 1, Canceled: 1}
			if got := l.Stats()["test"]; got != want {
				t.Errorf("counts %+v, want %+v", got, want)
			}
		})
	}
}

// TestUnwantedResult: a worker that finishes an unwanted job completes nothing.
func TestUnwantedResult(t *testing.T) {
	r := newRig(t, patient)
	r.enqueue()
	r.start(working(func(ctx context.Context, j job) (pipeline.Result, error) {
		r.cancelVideo()
		<-ctx.Done()
		return publish(context.WithoutCancel(ctx), j)
	}), unhurried)
	r.done("next", "ack")
	r.last(pipeline.JobCanceled)
	if got := r.keys(); len(got) != 0 {
		t.Errorf("the store has %v", got)
	}
}

// TestWatchFailed: when Watch fails, the heartbeats notice.
func TestWatchFailed(t *testing.T) {
	r := newRig(t, patient)
	r.enqueue()
	r.broken["watch"] = errors.New("no watch")
	r.start(working(func(ctx context.Context, _ job) (pipeline.Result, error) {
		r.cancelVideo()
		<-ctx.Done()
		return pipeline.Result{}, ctx.Err()
	}))
	r.done("next", "ack")
	r.last(pipeline.JobCanceled)
}

// TestUnwantedTaskIsDropped: a task of a canceled or deleted video is not begun, except a webhook that
// reports the cancellation.
func TestUnwantedTaskIsDropped(t *testing.T) {
	for name, test := range map[string]struct {
		step, end string
		works     bool
	}{
		"canceled":               {"s", "its video is canceled", false},
		"deleted":                {"s", "its video is deleted", false},
		"notify of the canceled": {"notify", "its video is canceled", true},
		"notify of the deleted":  {"notify", "its video is deleted", false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, patient)
			task := r.enqueue(func(j *pipeline.Job) { j.Step = test.step })
			endings[test.end](r, task, 0)
			worked := false
			stop := r.start(working(func(context.Context, job) (pipeline.Result, error) {
				worked = true
				return pipeline.Result{}, nil
			}))
			r.done("next", "ack")
			stop()
			if worked != test.works {
				t.Errorf("worked: %v", worked)
			}
			if !test.works {
				r.last("")
			}
		})
	}
}

// lateLog is a log in which something happens just before an attempt begins.
type lateLog struct {
	pipeline.Log
	happens func()
}

func (l *lateLog) Append(ctx context.Context, e pipeline.Event, after uint64) (uint64, error) {
	if e.Type == pipeline.JobStarted {
		l.happens()
	}
	return l.Log.Append(ctx, e, after)
}

// TestCanceledAtTheStart: the video is canceled after the first check and before the attempt gets its token.
// The attempt has begun, but the worker is not called.
func TestCanceledAtTheStart(t *testing.T) {
	r := newRig(t, patient)
	r.enqueue()
	r.start(working(func(context.Context, job) (pipeline.Result, error) {
		t.Error("the worker was called")
		return pipeline.Result{}, nil
	}), unhurried, func(c *workers.Config) { c.Log = &lateLog{c.Log, r.cancelVideo} })
	r.done("next", "ack")
	if _, data := r.last(pipeline.JobCanceled); data.Attempt != 1 || data.Token == 0 {
		t.Errorf("%+v", data)
	}
}

// TestGeneration: a redriven job counts its failures from 0 again, continues to count its attempts, and its
// events have the new generation.
func TestGeneration(t *testing.T) {
	r := newRig(t, patient)
	task := r.enqueue(func(j *pipeline.Job) { j.Retry = []pipeline.Seconds{0.05} }) // of the first generation
	errored := r.append(pipeline.JobErrored, task, 0, pipeline.JobEvent{Attempt: 2, Failed: 2, Owner: 999})
	task.Cause = r.append(pipeline.JobRequeued, task, errored, pipeline.JobEvent{Attempt: 2, Generation: 1})
	var attempts []int
	r.start(working(func(ctx context.Context, j job) (pipeline.Result, error) {
		attempts = append(attempts, j.Number)
		return pipeline.Result{}, errors.New("the network is down")
	}))
	r.done("next", "ack") // stale
	must(t, r.bus.Enqueue(t.Context(), task))
	r.done("next", "ack", "next", "schedule", "ack", "next", "letter", "ack")
	_, data := r.last(pipeline.JobErrored)
	if data.Generation != 1 || data.Failed != 2 || data.Attempt != 4 || !slices.Equal(attempts, []int{3, 4}) {
		t.Errorf("attempts %v, then %+v", attempts, data)
	}
}

// TestStopsSoon: a loop with all slots taken returns its tasks within two seconds. They begin elsewhere at
// once, and the attempts do not count.
func TestStopsSoon(t *testing.T) {
	r := newRig(t, patient)
	names := []string{"a", "b", "c", "d"}
	for _, name := range names {
		r.enqueue(func(j *pipeline.Job) { j.Name = name })
	}
	four := func(c *workers.Config) { c.Slots = map[string]int{"test": len(names)} }
	begun := make(chan struct{}, len(names))
	l, stop := r.loop(working(func(ctx context.Context, j job) (pipeline.Result, error) {
		_, err := publish(ctx, j)
		begun <- struct{}{}
		<-ctx.Done()
		return pipeline.Result{}, errors.Join(err, ctx.Err())
	}), four, unhurried)
	for range names {
		<-begun
	}
	if n := l.Stats()["test"].Running; n != len(names) {
		t.Errorf("%d attempts run", n)
	}
	since := time.Now()
	stop()
	pipelinetest.Promptly(t, "the stop", since, soon)
	for _, name := range names {
		if _, data := r.lastOf(name, pipeline.JobInterrupted); data.Attempt != 0 {
			t.Errorf("%s: %+v", name, data)
		}
	}
	want := workers.Counts{Started: len(names), Interrupted: len(names)}
	if got := l.Stats()["test"]; got != want || len(r.keys()) != 0 {
		t.Errorf("counts %+v, want %+v; the store has %v", got, want, r.keys())
	}
	r.start(working(publish), four, unhurried)
	r.until("all done, before the leases end", func(acts []string) bool { return len(acts) == 4*len(names) })
	for _, name := range names {
		r.lastOf(name, pipeline.JobCompleted)
	}
}
