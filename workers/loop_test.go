package workers_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
	"github.com/reelmill/reelmill/storage"
	"github.com/reelmill/reelmill/workers"
)

type job = workers.Job[params]

// working returns a worker that calls f.
func working(f func(ctx context.Context, j job) (pipeline.Result, error)) worker {
	return worker{work: f}
}

func TestCompleted(t *testing.T) {
	r := newRig(t, patient)
	task := r.enqueue()
	r.start(working(func(ctx context.Context, j job) (pipeline.Result, error) {
		if j.Number != 1 || j.Token == 0 || j.Task.Trace != task.Trace {
			t.Errorf("attempt %d, token %d, task %+v", j.Number, j.Token, j.Task)
		}
		j.Progress(0.5, 2)
		return publish(ctx, j)
	}))
	r.done("next", "ack")
	e, data := r.last(pipeline.JobCompleted)
	if data.Attempt != 1 || data.Lost != 0 || data.Failed != 0 || data.Step != "s" || data.Worker != "test" ||
		data.Process != "rig" || len(data.Result.Outputs) != 1 {
		t.Errorf("%+v", data)
	}
	if e.TraceParent[:35] != task.Trace[:35] || e.CorrelationID != "v" || e.CausationID == "" ||
		e.Actor != "worker:test" {
		t.Errorf("%+v", e)
	}
	key := pipeline.AttemptPrefix("v", "j", data.Token) + "film.mp4"
	if got := r.keys(); !slices.Equal(got, []string{key}) || data.Result.Outputs[0].Key != key {
		t.Errorf("the store has %v, the event %+v", got, data.Result.Outputs)
	}
	if r.queued() {
		t.Error("the task is still there")
	}
}

func TestTransientIsTriedAgain(t *testing.T) {
	r := newRig(t, patient)
	r.enqueue()
	// The first belongs to an attempt that died. The second belongs to a job with a similar name, and must stay.
	for _, key := range []string{"videos/v/j/999/part", "videos/v/j-2/3/film.mp4"} {
		if _, err := r.store.Put(t.Context(), key, strings.NewReader("part"), storage.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	r.start(working(func(ctx context.Context, j job) (pipeline.Result, error) {
		result, err := publish(ctx, j)
		if j.Number == 1 {
			return result, errors.Join(err, errors.New("the network is down"))
		}
		return result, err
	}))
	r.done("next", "schedule", "ack", "next", "ack")
	_, data := r.last(pipeline.JobCompleted)
	if data.Attempt != 2 || data.Failed != 1 || data.Lost != 0 {
		t.Errorf("%+v", data)
	}
	want := []string{"videos/v/j-2/3/film.mp4", pipeline.AttemptPrefix("v", "j", data.Token) + "film.mp4"}
	if got := r.keys(); !slices.Equal(got, want) {
		t.Errorf("the store has %v, want %v: losers are removed", got, want)
	}
}

func TestRetriesEnd(t *testing.T) {
	r := newRig(t, patient)
	r.enqueue(func(j *pipeline.Job) { j.Retry = []pipeline.Seconds{0.05} })
	l, stop := r.loop(working(func(ctx context.Context, j job) (pipeline.Result, error) {
		_, err := publish(ctx, j)
		return pipeline.Result{}, errors.Join(err, errors.New("the network is down"))
	}))
	r.done("next", "schedule", "ack", "next", "letter", "ack")
	stop()
	if got, want := l.Stats()["test"], (workers.Counts{Started: 2, Retried: 1, Errored: 1}); got != want {
		t.Errorf("counts %+v, want %+v", got, want)
	}
	_, data := r.last(pipeline.JobErrored)
	if data.Attempt != 2 || data.Failed != 2 || data.Problem.Code != pipeline.CodeInternal ||
		data.Problem.Attempt != 2 {
		t.Errorf("%+v %+v", data, data.Problem)
	}
	if got := r.keys(); len(got) != 0 {
		t.Errorf("the store has %v", got)
	}
}

// TestSameFailureTwiceIsTheLast: if an output fails verification twice in a row in the same way at the same
// place, the job is given up. Different failures, faults of the machine and errors without a code are
// retried.
func TestSameFailureTwiceIsTheLast(t *testing.T) {
	for name, test := range map[string]struct {
		fail     func(attempt int) error
		attempts int
		class    pipeline.Class
	}{
		"the same": {func(n int) error {
			return pipeline.Fail(pipeline.CodeVerification, "/scratch/j-%d/720p: 10.006 s, want 8.000 s", n)
		}, 2, pipeline.Bug},
		"at another place": {func(n int) error {
			return pipeline.Fail(pipeline.CodeVerification, "segment %d: 5 frames, want 6", n)
		}, 4, pipeline.Transient},
		"the store": {func(int) error { return pipeline.Fail(pipeline.CodeStorageFailed, "no answer") }, 4, pipeline.Transient},
		"the disk":  {func(int) error { return pipeline.Fail(pipeline.CodeDiskFull, "no room") }, 4, pipeline.Resource},
		"the time":  {func(int) error { return pipeline.Fail(pipeline.CodeJobTimeout, "no result") }, 4, pipeline.Transient},
		"no code":   {func(int) error { return errors.New("the network is down") }, 4, pipeline.Transient},
		"in turns": {func(n int) error {
			return pipeline.Fail(pipeline.CodeVerification, "segment %d", n%2)
		}, 4, pipeline.Transient},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, patient)
			r.enqueue(func(j *pipeline.Job) { j.Retry = []pipeline.Seconds{0.01, 0.01, 0.01} })
			r.start(working(func(_ context.Context, j job) (pipeline.Result, error) {
				return pipeline.Result{}, fmt.Errorf("work: %w", test.fail(j.Number))
			}))
			acts := []string{}
			for range test.attempts - 1 {
				acts = append(acts, "next", "schedule", "ack")
			}
			r.done(append(acts, "next", "letter", "ack")...)
			_, data := r.last(pipeline.JobErrored)
			if data.Attempt != test.attempts || data.Problem.Class != test.class || data.Problem.Retryable != (test.class != pipeline.Bug) {
				t.Errorf("%+v %+v", data, data.Problem)
			}
		})
	}
}

// TestGivenUp: if no further attempt can help, the job ends at once, with a dead letter.
func TestGivenUp(t *testing.T) {
	for name, test := range map[string]struct {
		work func(ctx context.Context, j job) (pipeline.Result, error)
		code pipeline.Code
	}{
		"permanent": {func(context.Context, job) (pipeline.Result, error) {
			e := pipeline.Fail(pipeline.CodeEncodeFailed, "exit status 1")
			e.Stderr = "Conversion failed!"
			return pipeline.Result{}, fmt.Errorf("encode: %w", e)
		}, pipeline.CodeEncodeFailed},
		"panic": {func(context.Context, job) (pipeline.Result, error) { panic("oh") }, pipeline.CodeWorkerPanicked},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, patient)
			r.enqueue()
			r.start(working(func(ctx context.Context, j job) (pipeline.Result, error) {
				if _, err := publish(ctx, j); err != nil {
					return pipeline.Result{}, err
				}
				return test.work(ctx, j)
			}))
			r.done("next", "letter", "ack")
			e, data := r.last(pipeline.JobErrored)
			if data.Problem.Code != test.code || data.Problem.Job != "j" || data.Attempt != 1 || data.Token == 0 {
				t.Errorf("%+v", data)
			}
			letter := r.letters[0]
			if letter.Token != e.Sequence || letter.Problem != *data.Problem || letter.Task.Job.Name != "j" ||
				letter.Attempts != 1 || letter.Subject != letter.Task.Subject() {
				t.Errorf("letter %+v", letter)
			}
			if got := r.keys(); len(got) != 0 || r.queued() {
				t.Errorf("the store has %v, queued %v", got, r.queued())
			}
		})
	}
}

func TestParametersAreChecked(t *testing.T) {
	r := newRig(t, patient)
	r.enqueue(func(j *pipeline.Job) { j.Params = []byte(`{"height":"tall"}`) })
	r.start(working(func(context.Context, job) (pipeline.Result, error) {
		t.Error("the worker was called")
		return pipeline.Result{}, nil
	}))
	r.done("next", "letter", "ack")
	if _, data := r.last(pipeline.JobErrored); data.Problem.Code != pipeline.CodeParameters {
		t.Errorf("%+v", data.Problem)
	}
}

func TestTimeout(t *testing.T) {
	r := newRig(t, patient)
	r.enqueue(func(j *pipeline.Job) { j.Timeout, j.Retry = 0.5, []pipeline.Seconds{0.05} })
	r.start(working(func(ctx context.Context, j job) (pipeline.Result, error) {
		if j.Number == 2 {
			return publish(ctx, j)
		}
		<-ctx.Done()
		return pipeline.Result{}, ctx.Err()
	}))
	r.until("a retry", func(acts []string) bool { return slices.Contains(acts, "schedule") })
	r.done("next", "schedule", "ack", "next", "ack")
	if _, data := r.last(pipeline.JobCompleted); data.Failed != 1 || data.Attempt != 2 {
		t.Errorf("%+v", data)
	}
}

func TestTimeoutIsTheProblem(t *testing.T) {
	r := newRig(t, patient)
	r.enqueue(func(j *pipeline.Job) { j.Retry = []pipeline.Seconds{3600} })
	r.start(working(func(ctx context.Context, _ job) (pipeline.Result, error) {
		<-ctx.Done()
		return pipeline.Result{}, ctx.Err()
	}), func(c *workers.Config) { c.Timeout = 50 * time.Millisecond })
	r.done("next", "schedule", "ack")
	_, data := r.last(pipeline.JobRetrying)
	if data.Problem.Code != pipeline.CodeJobTimeout || data.RetryAt == nil ||
		time.Until(*data.RetryAt) < 40*time.Minute {
		t.Errorf("%+v at %v", data.Problem, data.RetryAt)
	}
}

// TestGateRefuses: if a result names an output that is not in the store, the attempt has failed.
func TestGateRefuses(t *testing.T) {
	r := newRig(t, patient)
	r.enqueue(func(j *pipeline.Job) { j.Retry = []pipeline.Seconds{3600} })
	r.start(working(func(ctx context.Context, j job) (pipeline.Result, error) {
		result, err := publish(ctx, j)
		result.Outputs[0].Size++
		return result, err
	}))
	r.done("next", "schedule", "ack")
	if _, data := r.last(pipeline.JobRetrying); data.Problem.Code != pipeline.CodeVerification {
		t.Errorf("%+v", data.Problem)
	}
	if got := r.keys(); len(got) != 0 {
		t.Errorf("the store has %v", got)
	}
}

func TestStopGivesBack(t *testing.T) {
	r := newRig(t, patient)
	r.enqueue()
	begun := make(chan struct{})
	stop := r.start(working(func(ctx context.Context, j job) (pipeline.Result, error) {
		if _, err := publish(ctx, j); err != nil {
			return pipeline.Result{}, err
		}
		close(begun)
		<-ctx.Done()
		return pipeline.Result{}, ctx.Err()
	}))
	<-begun
	stop()
	r.done("next", "return")
	if _, data := r.last(pipeline.JobInterrupted); data.Attempt != 0 || data.Lost != 0 || data.Failed != 0 {
		t.Errorf("%+v", data)
	}
	if got := r.keys(); len(got) != 0 {
		t.Errorf("the store has %v", got)
	}
	r.start(working(func(ctx context.Context, j job) (pipeline.Result, error) {
		if j.Number != 1 {
			t.Errorf("attempt %d: the first was not spent", j.Number)
		}
		return publish(ctx, j)
	}))
	r.done("next", "return", "next", "ack")
	if _, data := r.last(pipeline.JobCompleted); data.Attempt != 1 || data.Lost != 0 {
		t.Errorf("%+v", data)
	}
}

// TestDoneWhileStopping: finished work is kept even if the loop stops at that moment.
func TestDoneWhileStopping(t *testing.T) {
	r := newRig(t, patient)
	r.enqueue()
	begun := make(chan struct{})
	stop := r.start(working(func(ctx context.Context, j job) (pipeline.Result, error) {
		result, err := publish(ctx, j)
		close(begun)
		<-ctx.Done()
		return result, err
	}))
	<-begun
	stop()
	r.done("next", "ack")
	r.last(pipeline.JobCompleted)
}

// TestTokenLost: work stops if another process writes the job's next event.
func TestTokenLost(t *testing.T) {
	r := newRig(t, brief)
	task := r.enqueue()
	begun, ended := make(chan uint64), make(chan error)
	r.start(working(func(ctx context.Context, j job) (pipeline.Result, error) {
		if _, err := publish(ctx, j); err != nil {
			return pipeline.Result{}, err
		}
		begun <- j.Token
		<-ctx.Done()
		ended <- context.Cause(ctx)
		return pipeline.Result{}, ctx.Err()
	}))
	r.append(pipeline.JobStarted, task, <-begun, pipeline.JobEvent{Owner: 999})
	if err := pipelinetest.Receive(t, "the attempt is stopped", ended); err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("the worker's context says %v", err)
	}
	r.done("next", "next", "ack") // not acknowledged; at its next delivery the job belongs to another message
	r.last(pipeline.JobStarted)
	if got := r.keys(); len(got) != 0 {
		t.Errorf("the store has %v", got)
	}
}

// TestTokenLostUnseen: if no heartbeat notices that the token is lost, the result is still refused, and the
// message is not acknowledged.
func TestTokenLostUnseen(t *testing.T) {
	r := newRig(t, brief)
	task := r.enqueue()
	r.broken["watch"] = errors.New("no watch")
	r.start(working(func(ctx context.Context, j job) (pipeline.Result, error) {
		result, err := publish(ctx, j)
		r.append(pipeline.JobStarted, task, j.Token, pipeline.JobEvent{Owner: 999})
		return result, err
	}), func(c *workers.Config) { c.Heartbeat = time.Hour })
	r.done("next", "next", "ack")
	r.last(pipeline.JobStarted)
	if got := r.keys(); len(got) != 0 {
		t.Errorf("the store has %v", got)
	}
}

func TestStaleDuplicateIsDropped(t *testing.T) {
	r := newRig(t, patient)
	task := r.enqueue(func(j *pipeline.Job) { j.Retry = []pipeline.Seconds{3600} })
	r.start(working(func(context.Context, job) (pipeline.Result, error) {
		return pipeline.Result{}, errors.New("later")
	}))
	r.done("next", "schedule", "ack")
	before, _ := r.last(pipeline.JobRetrying)
	must(t, r.bus.Enqueue(t.Context(), task)) // a coordinator with an old fold
	r.done("next", "schedule", "ack", "next", "ack")
	if after, _ := r.last(pipeline.JobRetrying); after.Sequence != before.Sequence {
		t.Errorf("the job moved from %d to %d", before.Sequence, after.Sequence)
	}
	if !r.queued() {
		t.Error("the schedule is gone")
	}
}

// TestLostAck: after a lost acknowledgement, the job ends in the same way, whatever was written.
func TestLostAck(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		acts []string
		end  pipeline.EventType
	}{
		"completed": {nil, []string{"next", "ack", "next", "ack"}, pipeline.JobCompleted},
		"retrying": {errors.New("x"),
			[]string{"next", "schedule", "ack", "next", "schedule", "ack"}, pipeline.JobRetrying},
		"errored": {pipeline.Fail(pipeline.CodeMalformed, "x"),
			[]string{"next", "letter", "ack", "next", "letter", "ack"}, pipeline.JobErrored},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, brief)
			r.enqueue(func(j *pipeline.Job) { j.Retry = []pipeline.Seconds{3600} })
			r.broken["ack"] = errors.New("lost")
			r.start(working(func(context.Context, job) (pipeline.Result, error) {
				return pipeline.Result{},
					test.err
			}))
			r.done(test.acts...)
			if _, data := r.last(test.end); data.Attempt != 1 {
				t.Errorf("%+v", data)
			}
			for _, l := range r.letters {
				if l.DeadSubject() != r.letters[0].DeadSubject() {
					t.Errorf("letters on %s and %s", l.DeadSubject(), r.letters[0].DeadSubject())
				}
			}
		})
	}
}

// TestDeadLetterFailed: if storing the dead letter fails, the job is errored, and the next delivery stores
// the letter.
func TestDeadLetterFailed(t *testing.T) {
	r := newRig(t, brief)
	r.enqueue()
	r.broken["letter"] = errors.New("lost")
	r.start(working(func(context.Context, job) (pipeline.Result, error) {
		return pipeline.Result{}, pipeline.Fail(pipeline.CodeMalformed, "x")
	}))
	r.done("next", "letter", "next", "letter", "ack")
	if _, data := r.last(pipeline.JobErrored); r.letters[1].Problem.Code != data.Problem.Code {
		t.Errorf("letter %+v", r.letters[1])
	}
}

// die does what a process does that takes the task and then dies: it starts the attempt and stores a part of
// the output.
func (r *rig) die(after uint64, lost int) uint64 {
	r.t.Helper()
	d, err := r.bus.NextAtLeast(r.t.Context(), "test", pipeline.Bulk)
	must(r.t, err)
	token := r.append(pipeline.JobStarted, d.Task(), after, pipeline.JobEvent{
		Attempt: lost + 1, Lost: lost, Owner: d.Sequence(), Process: "dead",
	})
	_, err = r.store.Put(r.t.Context(), pipeline.AttemptPrefix("v", "j", token)+"part", strings.NewReader("part"),
		storage.PutOptions{})
	must(r.t, err)
	return token
}

func TestLeaseLost(t *testing.T) {
	r := newRig(t, brief)
	r.enqueue()
	r.die(0, 0)
	r.start(working(publish))
	r.done("next", "ack")
	_, data := r.last(pipeline.JobCompleted)
	if data.Attempt != 2 || data.Lost != 1 || data.Failed != 0 {
		t.Errorf("%+v", data)
	}
	if got := r.keys(); len(got) != 1 || got[0] != data.Result.Outputs[0].Key {
		t.Errorf("the store has %v", got)
	}
}

func TestLostTooOften(t *testing.T) {
	r := newRig(t, brief)
	r.enqueue()
	first := r.die(0, 0)
	second := r.die(first, 1)
	r.start(working(func(context.Context, job) (pipeline.Result, error) {
		t.Error("an input that kills processes is tried again")
		return pipeline.Result{}, nil
	}), func(c *workers.Config) { c.MaxLost = 2 })
	r.done("next", "letter", "ack")
	_, data := r.last(pipeline.JobErrored)
	if data.Problem.Code != pipeline.CodeWorkerLost || data.Lost != 2 || data.Attempt != 2 ||
		data.Token != second {
		t.Errorf("%+v %+v", data, data.Problem)
	}
	if got := r.keys(); len(got) != 0 || r.letters[0].Attempts != 2 {
		t.Errorf("the store has %v, the letter %+v", got, r.letters[0])
	}
}

// TestHeartbeatKeepsTheLease: work that takes longer than the lease is delivered only once, even if a slot is
// free.
func TestHeartbeatKeepsTheLease(t *testing.T) {
	r := newRig(t, brief)
	r.enqueue()
	begun := time.Now()
	r.start(working(func(ctx context.Context, j job) (pipeline.Result, error) {
		r.until("heartbeats for three leases", func(acts []string) bool {
			beats := 0
			for _, a := range acts {
				if a == "extend" {
					beats++
				}
			}
			return beats >= 3*beatsOfLease
		})
		return publish(ctx, j)
	}), func(c *workers.Config) { c.Slots = map[string]int{"test": 2} })
	r.done("next", "ack")
	if took := time.Since(begun); took < 2*r.lease {
		t.Errorf("took %s, too short to test the lease", took)
	}
	if _, data := r.last(pipeline.JobCompleted); data.Attempt != 1 || data.Lost != 0 {
		t.Errorf("%+v", data)
	}
}

// TestResultsOfEarlierJobs: a job gets the results of the jobs before it, and does not run without them.
func TestResultsOfEarlierJobs(t *testing.T) {
	r := newRig(t, patient)
	before := pipeline.Task{Project: "p", Video: "v", Job: pipeline.Job{Name: "a"}}
	r.enqueue(func(j *pipeline.Job) { j.After = []string{"a"} })
	started := r.append(pipeline.JobStarted, before, 0, pipeline.JobEvent{Attempt: 1})
	r.start(working(func(_ context.Context, j job) (pipeline.Result, error) {
		if o := j.Results["a"].Outputs; len(o) != 1 || o[0].Name != "index" {
			t.Errorf("results %+v", j.Results)
		}
		return pipeline.Result{}, nil
	}))
	r.until("a retry", func(acts []string) bool { return slices.Contains(acts, "ack") })
	r.append(pipeline.JobCompleted, before, started, pipeline.JobEvent{Attempt: 1, Result: &pipeline.Result{
		Outputs: []pipeline.Output{{Name: "index", Kind: pipeline.KindIndex}},
	}})
	r.until("the end", func(acts []string) bool {
		e, err := r.bus.Last(t.Context(), pipeline.JobSubject("p", "v", "j"))
		return err == nil && e[0].Type == pipeline.JobCompleted && acts[len(acts)-1] == "ack"
	})
}

// TestResultsOfToleratedJobs: a job runs without the result of a job that it tolerates and that failed.
func TestResultsOfToleratedJobs(t *testing.T) {
	r := newRig(t, brief)
	r.enqueue(func(j *pipeline.Job) { j.After, j.Tolerates = []string{"a", "b"}, []string{"a"} })
	failed := pipeline.Task{Project: "p", Video: "v", Job: pipeline.Job{Name: "a"}}
	r.append(pipeline.JobErrored, failed, r.append(pipeline.JobStarted, failed, 0, pipeline.JobEvent{Attempt: 1}),
		pipeline.JobEvent{Attempt: 1})
	completed := pipeline.Task{Project: "p", Video: "v", Job: pipeline.Job{Name: "b"}}
	r.append(pipeline.JobCompleted, completed, r.append(pipeline.JobStarted, completed, 0, pipeline.JobEvent{Attempt: 1}),
		pipeline.JobEvent{Attempt: 1, Result: &pipeline.Result{}})
	r.start(working(func(_ context.Context, j job) (pipeline.Result, error) {
		if _, ok := j.Results["b"]; !ok || len(j.Results) != 1 {
			t.Errorf("results %+v", j.Results)
		}
		return pipeline.Result{}, nil
	}))
	r.done("next", "ack")
	if e, data := r.last(pipeline.JobCompleted); data.Attempt != 1 {
		t.Errorf("%+v, %+v", e, data)
	}
}

// TestToleratedJobThatIsTriedAgain: a job does not run without the result of one that it tolerates and that may
// still complete.
func TestToleratedJobThatIsTriedAgain(t *testing.T) {
	r := newRig(t, brief)
	r.enqueue(func(j *pipeline.Job) { j.After, j.Tolerates = []string{"a"}, []string{"a"} })
	again := pipeline.Task{Project: "p", Video: "v", Job: pipeline.Job{Name: "a"}}
	r.append(pipeline.JobStarted, again, 0, pipeline.JobEvent{Attempt: 1})
	r.start(working(func(context.Context, job) (pipeline.Result, error) {
		t.Error("the job ran")
		return pipeline.Result{}, nil
	}))
	r.done("next", "schedule", "ack")
	if _, data := r.last(pipeline.JobRetrying); data.Problem == nil || !strings.Contains(data.Problem.Detail, "job a is not completed") {
		t.Errorf("%+v", data)
	}
}

// TestStartRaced: two deliveries of one message lead to one attempt.
func TestStartRaced(t *testing.T) {
	r := newRig(t, brief)
	task := r.enqueue()
	r.start(working(func(context.Context, job) (pipeline.Result, error) { return pipeline.Result{}, nil }),
		func(c *workers.Config) { c.Log = &racedLog{Log: c.Log, rig: r, task: task} })
	r.done("next", "next", "ack")
	if _, data := r.last(pipeline.JobCompleted); data.Process != "other" {
		t.Errorf("%+v", data)
	}
}

// racedLog is a log in which another process starts and completes the job just before this one starts it.
type racedLog struct {
	pipeline.Log
	rig  *rig
	task pipeline.Task
	done bool
}

func (l *racedLog) Append(ctx context.Context, e pipeline.Event, after uint64) (uint64, error) {
	if !l.done {
		l.done = true
		other := pipeline.JobEvent{Attempt: 1, Process: "other", Result: &pipeline.Result{}}
		l.rig.append(pipeline.JobCompleted, l.task, l.rig.append(pipeline.JobStarted, l.task, 0, other), other)
	}
	return l.Log.Append(ctx, e, after)
}

// TestRunStopsIdle: a loop without work stops when told to, with or without slots.
func TestRunStopsIdle(t *testing.T) {
	r := newRig(t, patient)
	r.start(working(publish))()
	r.start(working(publish), func(c *workers.Config) { c.Slots = map[string]int{"test": 0} })()
	r.done()
}
