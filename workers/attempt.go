package workers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/storage"
)

// errStopping says that the loop was told to stop.
var errStopping = errors.New("the worker is stopping")

// errTimeout says that the attempt ran past its timeout.
var errTimeout = errors.New("the attempt ran past its timeout")

// attempt is what the loop knows about one attempt, from the delivery of its task to the event that ends it.
// The worker's view of it is Attempt.
//
// It also stands for a delivery that begins no attempt; then last, data and began are of the previous
// attempt.
type attempt struct {
	loop     *Loop
	delivery Delivery
	task     pipeline.Task
	found    pipeline.JobFold // the job as this delivery found it

	last  pipeline.Event    // the job's last event; the next one follows it
	data  pipeline.JobEvent // of the next event; its Token is the attempt's
	began time.Time         // when the attempt started; zero when it did not
	log   *slog.Logger
}

func newAttempt(l *Loop, d Delivery, found pipeline.JobFold) *attempt {
	task := d.Task()
	a := &attempt{
		loop: l, delivery: d, task: task, found: found, last: found.Last, data: found.Data,
		log: l.Logger.With("video", task.Video, "job", task.Job.Name),
	}
	if found.Last.Type == pipeline.JobStarted {
		a.began = found.Last.Time
	}
	return a
}

// begin reserves what the attempt needs, room in scratch and its turn in this process, and runs it. Without
// room it returns the task for later, and the attempt does not count; when the disk is too small for it, it
// ends the job.
func (a *attempt) begin(ctx context.Context) error {
	release, ok, err := a.loop.scratch.hold(a.task)
	switch {
	case errors.Is(err, storage.ErrFull):
		a.unfit(err)
		return a.errored(ctx)
	case err != nil:
		return err
	case !ok:
		a.count(func(c *Counts) { c.Waited++ })
		return a.delivery.Return(ctx, admitLater)
	}
	defer release()
	leave, err := a.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	return a.run(ctx)
}

// run wins the token, works, and writes the outcome.
func (a *attempt) run(ctx context.Context) error {
	if err := a.start(ctx); err != nil {
		return fmt.Errorf("start attempt: %w", err)
	}
	a.count(func(c *Counts) { c.Started++; c.Running++ })
	defer a.count(func(c *Counts) { c.Running-- })

	result, err := a.work(ctx)

	writes, cancel := lastWrites(ctx)
	defer cancel()
	err = a.finish(writes, result, err)
	if errors.Is(err, errTokenLost) || errors.Is(err, pipeline.ErrConflict) {
		return a.overtaken(writes)
	}
	return err
}

// start writes job.started, whose sequence is the attempt's token.
func (a *attempt) start(ctx context.Context) error {
	a.data = begun(a.task, a.found, a.delivery.Sequence(), a.loop.Process)
	cause := pipeline.Event{ID: a.task.EventID, TraceParent: a.task.Trace}
	if err := a.write(ctx, pipeline.JobStarted, cause); err != nil {
		return err
	}
	a.data.Token, a.began = a.last.Sequence, a.last.Time
	a.log = a.log.With("attempt", a.data.Attempt, "trace", a.task.Trace)
	a.log.Debug("attempt started")
	return nil
}

// work runs the worker in its own scratch directory, renews the lease meanwhile, and passes the result
// through the gate. The worker's context ends when the loop stops, the token is lost, nobody wants the job
// any more or the time is up; its cause says which.
func (a *attempt) work(ctx context.Context) (result pipeline.Result, err error) {
	dir, remove, err := a.workspace()
	if err != nil {
		return pipeline.Result{}, err
	}
	defer remove()
	work, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	defer context.AfterFunc(ctx, func() { cancel(errStopping) })()

	changed := a.changes(work) // before the first check, so that nothing in between is missed
	if err := a.fenced(work); err != nil {
		return pipeline.Result{}, err
	}
	var beat sync.WaitGroup
	defer beat.Wait()
	defer cancel(nil)
	beat.Go(func() { a.watch(work, cancel, changed) })

	timeout := a.timeout()
	defer time.AfterFunc(timeout, func() { cancel(errTimeout) }).Stop()
	result, err = a.call(work, dir)
	if err := verdict(err, context.Cause(work), timeout); err != nil {
		return result, err
	}
	last, stop := lastWrites(ctx) // finished work is kept even if the loop stops just now
	defer stop()
	return result, a.gate(last, result)
}

func (a *attempt) timeout() time.Duration {
	if t := a.task.Job.Timeout; t > 0 {
		return t.Duration()
	}
	return a.loop.Timeout
}

// verdict returns why the work failed; nil if it did not. err is the worker's error, and cause the reason why
// its context ended, if it did. A result counts even if the context has ended, unless the attempt had lost
// its token or nobody wanted the job any more.
func verdict(err, cause error, timeout time.Duration) error {
	switch {
	case errors.Is(cause, errUnwanted), errors.Is(cause, errTokenLost):
		return cause
	case err == nil:
		return nil
	case errors.Is(cause, errTimeout):
		return pipeline.Fail(pipeline.CodeJobTimeout, "no result within %s", timeout)
	case cause != nil:
		return cause
	}
	return err
}

// call runs the registered worker in dir. A panic is an error of class bug.
func (a *attempt) call(ctx context.Context, dir string) (result pipeline.Result, err error) {
	defer func() {
		if p := recover(); p != nil {
			a.log.Error("worker panicked", "panic", p, "stack", string(debug.Stack()))
			err = pipeline.Fail(pipeline.CodeWorkerPanicked, "panic: %v", p)
		}
	}()
	results, err := a.results(ctx)
	if err != nil {
		return pipeline.Result{}, err
	}
	check := newSourceCheck(ctx, a.loop.scratch, a.task.Source)
	defer func() { err = check.end(err) }()
	view := NewAttempt(Attempt{
		Task: a.task, Token: a.data.Token, Number: a.data.Attempt, Results: results, Dir: dir, Log: a.log,
	}, storeFiles{a.loop.Store, a.loop.scratch, a.task.Source, a.task.Assets, check}, a.reporter(ctx))
	result, err = a.loop.Registry.Work(ctx, view)
	if err != nil {
		err = made{err}
	}
	return result, err
}

// results returns the results of the jobs that this one comes after. It leaves out a tolerated job that ended
// without completing. One that is tried again has not ended: then the attempt fails, and is retried.
func (a *attempt) results(ctx context.Context) (map[string]pipeline.Result, error) {
	after, tolerated := a.task.Job.After, a.task.Job.Tolerates
	if len(after) == 0 {
		return nil, nil
	}
	subjects := make([]string, len(after))
	for i, name := range after {
		subjects[i] = pipeline.JobSubject(a.task.Project, a.task.Video, name)
	}
	events, err := a.loop.Log.Last(ctx, subjects...)
	if err != nil {
		return nil, err
	}
	results := make(map[string]pipeline.Result, len(events))
	for i, e := range events {
		job, err := pipeline.FoldJob(e)
		if err != nil {
			return nil, err
		}
		completed := job.State == pipeline.StateJobCompleted && job.Data.Result != nil
		ended := e.Sequence == 0 || job.State.Terminal() // skipped jobs have no event
		if !completed && ended && slices.Contains(tolerated, after[i]) {
			continue
		}
		if !completed {
			return nil, fmt.Errorf("job %s is not completed", after[i])
		}
		results[after[i]] = *job.Data.Result
	}
	return results, nil
}
