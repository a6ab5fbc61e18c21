package workers_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers"
	"github.com/reelmill/reelmill/workers/inspect"
	"github.com/reelmill/reelmill/workers/webhook"
)

// TestAdmitRefuses: while Admit refuses, no task is taken, and the refusal is logged once.
func TestAdmitRefuses(t *testing.T) {
	r := newRig(t, patient)
	r.enqueue()
	var log bytes.Buffer
	asked, open := make(chan struct{}, 100), atomic.Bool{}
	stop := r.start(working(publish), func(c *workers.Config) {
		c.Logger = slog.New(slog.NewTextHandler(&log, nil))
		c.Slots = map[string]int{"test": 2}
		c.Admit = func(context.Context) error {
			asked <- struct{}{}
			if open.Load() {
				return nil
			}
			return errors.New("the store is down")
		}
	})
	for range 4 {
		<-asked
	}
	r.done()
	open.Store(true)
	r.done("next", "ack")
	stop()
	r.last(pipeline.JobCompleted)
	for _, line := range []string{"take no tasks", "take tasks again"} {
		if n := strings.Count(log.String(), line); n != 1 {
			t.Errorf("%q was logged %d times:\n%s", line, n, log.String())
		}
	}
}

// TestAdmitIsAskedAgain: a slot returns a task if Admit refused while it waited for one.
func TestAdmitIsAskedAgain(t *testing.T) {
	r := newRig(t, patient)
	var asked atomic.Int32
	r.start(working(publish), func(c *workers.Config) {
		c.Admit = func(context.Context) error {
			if asked.Add(1) == 1 {
				return nil
			}
			return errors.New("the store is down")
		}
	})
	r.enqueue()
	r.done("next", "return")
	r.last("")
}

const gib = 1 << 30

func diskOf(free, total int64) func(*workers.Config) {
	return func(c *workers.Config) {
		c.FreeScratch = func() (int64, int64, error) { return free, total, nil }
	}
}

// TestScratchIsWaitedFor: a task that does not fit beside the running attempts is returned.
func TestScratchIsWaitedFor(t *testing.T) {
	r := newRig(t, patient)
	large := func(name string) func(j *pipeline.Job) {
		return func(j *pipeline.Job) { j.Name, j.Scratch = name, 2*gib }
	}
	r.enqueue(large("a"))
	begun, release := make(chan struct{}, 2), make(chan struct{})
	l, stop := r.loop(working(func(ctx context.Context, j job) (pipeline.Result, error) {
		begun <- struct{}{}
		<-release
		return publish(ctx, j)
	}), diskOf(4*gib, 100*gib), func(c *workers.Config) { c.Slots = map[string]int{"test": 2} })
	<-begun
	r.enqueue(large("b"))
	r.done("next", "next", "return")
	r.lastOf("b", "")
	got, want := l.Stats()["test"], workers.Counts{Running: 1, Started: 1, Waited: 1}
	got.Busy = 0 // the slot that gave b back may hold it for a moment more
	if got != want {
		t.Errorf("counts %+v, want %+v", got, want)
	}
	close(release)
	r.done("next", "next", "return", "ack")
	r.enqueue(large("c")) // the room that a had reserved is free again
	<-begun
	stop()
}

// TestScratchTooLarge: a job that can never fit on a disk of this size is given up at once.
func TestScratchTooLarge(t *testing.T) {
	r := newRig(t, patient)
	r.enqueue(func(j *pipeline.Job) { j.Scratch = 10 * gib })
	r.start(working(publish), diskOf(9*gib, 10*gib))
	r.done("next", "letter", "ack")
	_, data := r.last(pipeline.JobErrored)
	if data.Problem.Code != pipeline.CodeDiskFull || data.Attempt != 0 || data.Failed != 0 {
		t.Errorf("%+v, %+v", data, data.Problem)
	}
}

// suspect marks the task as one whose last attempt may have crashed its process.
func (r *rig) suspect(task pipeline.Task) pipeline.Task {
	task.Cause = r.append(pipeline.JobRetrying, task, 0, pipeline.JobEvent{
		Attempt: 1, Failed: 1, Problem: pipeline.ProblemOf(pipeline.Fail(pipeline.CodeWorkerCrashed, "x")),
	})
	return task
}

// TestSuspectRunsAlone: an attempt at a job that may crash the process waits until no other runs, and keeps
// its lease meanwhile. No other begins beside it.
func TestSuspectRunsAlone(t *testing.T) {
	r := newRig(t, brief)
	suspect := pipeline.Task{Project: "p", Video: "v", Job: pipeline.Job{Name: "s", Worker: "test"}}
	r.enqueue(func(j *pipeline.Job) { j.Name = "a" })
	begun := make(chan string, 3)
	release := map[string]chan struct{}{"a": make(chan struct{}), "s": make(chan struct{}), "b": nil}
	var running atomic.Int32
	r.start(working(func(ctx context.Context, j job) (pipeline.Result, error) {
		n := running.Add(1)
		defer running.Add(-1)
		name := j.Task.Job.Name
		begun <- name
		if gate := release[name]; gate != nil {
			<-gate
		}
		if name == "s" && (n != 1 || running.Load() != 1) || j.Number != 1 && name != "s" {
			t.Errorf("%s: %d run, attempt %d", name, n, j.Number)
		}
		return publish(ctx, j)
	}), func(c *workers.Config) { c.Slots = map[string]int{"test": 3} })
	<-begun
	must(t, r.bus.Enqueue(t.Context(), r.suspect(suspect)))
	r.until("two leases of both", beats(4*beatsOfLease))
	r.enqueue(func(j *pipeline.Job) { j.Name = "b" })
	r.done("next", "next", "next")
	close(release["a"])
	if name := <-begun; name != "s" {
		t.Errorf("%s was begun, want s: an attempt that waits to run alone goes first", name)
	}
	r.until("a lease of both", beats(7*beatsOfLease))
	close(release["s"])
	if name := <-begun; name != "b" {
		t.Errorf("%s was begun", name)
	}
	r.done("next", "next", "next", "ack", "ack", "ack")
	if _, data := r.lastOf("s", pipeline.JobCompleted); data.Attempt != 2 || data.Problem != nil {
		t.Errorf("%+v", data)
	}
}

// beats waits for n heartbeats.
func beats(n int) func(acts []string) bool {
	return func(acts []string) bool {
		return len(slices.DeleteFunc(acts, func(a string) bool { return a != "extend" })) >= n
	}
}

// TestSuspectStopped: a loop that is stopped while an attempt waits for its turn returns the task.
func TestSuspectStopped(t *testing.T) {
	r := newRig(t, patient)
	suspect := pipeline.Task{Project: "p", Video: "v", Job: pipeline.Job{Name: "s", Worker: "test"}}
	r.enqueue()
	begun := make(chan struct{}, 2)
	stop := r.start(working(func(ctx context.Context, _ job) (pipeline.Result, error) {
		begun <- struct{}{}
		<-ctx.Done()
		return pipeline.Result{}, ctx.Err()
	}), func(c *workers.Config) { c.Slots = map[string]int{"test": 2} })
	<-begun
	must(t, r.bus.Enqueue(t.Context(), r.suspect(suspect)))
	r.done("next", "next")
	stop()
	r.done("next", "next", "return", "return")
	r.lastOf("s", pipeline.JobRetrying)
	r.last(pipeline.JobInterrupted)
}

// TestOutOfMemoryRunsAlone: after an attempt that ran out of memory, the next one runs alone, also when others
// had failed before. If it runs out of memory again, the job ends, with a code that says so.
func TestOutOfMemoryRunsAlone(t *testing.T) {
	r := newRig(t, brief)
	hungry := pipeline.Task{Project: "p", Video: "v", Job: pipeline.Job{
		Name: "s", Worker: "test", Retry: []pipeline.Seconds{0.01, 0.01, 0.01, 0.01},
	}}
	r.enqueue(func(j *pipeline.Job) { j.Name = "a" })
	begun, release, waits := make(chan string, 9), make(chan struct{}), make(chan struct{})
	var running atomic.Int32
	r.start(working(func(ctx context.Context, j job) (pipeline.Result, error) {
		running.Add(1)
		defer running.Add(-1)
		begun <- j.Task.Job.Name
		switch {
		case j.Task.Job.Name == "a":
			<-release
			return publish(ctx, j)
		case j.Number == 1:
			return pipeline.Result{}, errors.New("the store is away")
		case j.Number == 2:
			defer close(waits)
		case running.Load() != 1:
			t.Errorf("%d attempts run beside it", running.Load()-1)
		}
		return pipeline.Result{}, pipeline.Fail(pipeline.CodeOutOfMemory, "ffmpeg: killed by killed")
	}), func(c *workers.Config) { c.Slots = map[string]int{"test": 3} })
	<-begun
	must(t, r.bus.Enqueue(t.Context(), hungry))
	<-waits
	r.until("leases of both", beats(4*beatsOfLease))
	close(release)
	r.until("the dead letter", func(acts []string) bool { return slices.Contains(acts, "letter") })
	_, data := r.lastOf("s", pipeline.JobErrored)
	if data.Problem.Code != pipeline.CodeOutOfMemory || data.Attempt != 3 || data.Failed != 3 {
		t.Errorf("%+v, %+v", data, data.Problem)
	}
}

// TestSlotsOfWorkers: workers that mostly wait, or that people wait for, set their own number of slots.
func TestSlotsOfWorkers(t *testing.T) {
	for cores, want := range map[int][2]int{1: {2, 16}, 2: {2, 16}, 16: {8, 16}} {
		got := [2]int{(*inspect.Worker)(nil).Slots(cores), (*webhook.Worker)(nil).Slots(cores)}
		if got != want {
			t.Errorf("%d cores: slots of inspect and webhook %v, want %v", cores, got, want)
		}
	}
	var _, _ workers.Slotter = (*inspect.Worker)(nil), (*webhook.Worker)(nil)
}
