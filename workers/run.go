package workers

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/storage"
)

// errStopping says that the loop is asked to stop.
var errStopping = errors.New("the worker is stopping")

// errTimeout says that the attempt ran past its time.
var errTimeout = errors.New("the attempt ran past its timeout")

// deliver carries one delivered task through the attempt rule. What cannot be written now is left to the next
// delivery: nothing is acknowledged before it is done.
func (l *Loop) deliver(ctx context.Context, d Delivery) {
	err := l.apply(ctx, d)
	if err == nil {
		return
	}
	if ctx.Err() != nil && !errors.Is(err, errTokenLost) {
		l.giveBack(d, 0) // stopped before it was begun, or with its end unwritten: the next one need not wait
		return
	}
	l.recurring.Failed("leave task to its next delivery",
		"video", d.Task().Video, "job", d.Task().Job.Name, "error", err)
}

func (l *Loop) apply(ctx context.Context, d Delivery) error {
	task := d.Task()
	last, wanted, err := pipeline.FoldTask(ctx, l.Log, task)
	if err != nil {
		return err
	}
	if !wanted {
		l.count(task.Job.Worker, func(c *Counts) { c.Canceled++ })
		return d.Ack(ctx)
	}
	switch decide(d.Sequence(), task.Cause, last, l.MaxLost) {
	case drop:
		return d.Ack(ctx)
	case bury:
		return l.bury(ctx, d, last.Last.Sequence, last.Data)
	case rearm:
		return l.rearm(ctx, d, last.Last, last.Data)
	case spend:
		return l.errored(ctx, d, last.Last, l.lostData(d, last))
	case shelve:
		data := l.lostData(d, last)
		return l.retry(ctx, d, last.Last, data, shelfTime(data.Lost))
	default:
		return l.begin(ctx, d, last)
	}
}

// begin holds what an attempt needs while it lasts: room in scratch, and its turn in this process. Without
// room the task comes again later, unspent; when there never will be, the job is given up.
func (l *Loop) begin(ctx context.Context, d Delivery, last pipeline.JobFold) error {
	task := d.Task()
	release, ok, err := l.scratch.hold(task)
	switch {
	case errors.Is(err, storage.ErrFull):
		return l.errored(ctx, d, last.Last, l.unfitData(d, last, err))
	case err != nil:
		return err
	case !ok:
		l.count(task.Job.Worker, func(c *Counts) { c.Waited++ })
		return d.Return(ctx, admitLater)
	}
	defer release()
	leave, err := l.enter(ctx, d, crashed(last.Data.Problem))
	if err != nil {
		return err
	}
	defer leave()
	return l.attempt(ctx, d, last)
}

// last returns the fold of the task's job.
func (l *Loop) last(ctx context.Context, task pipeline.Task) (pipeline.JobFold, error) {
	events, err := l.Log.Last(ctx, task.JobSubject())
	if err != nil {
		return pipeline.JobFold{}, err
	}
	return pipeline.FoldJob(events[0])
}

// attempt wins the token, works, and writes what came of it.
func (l *Loop) attempt(ctx context.Context, d Delivery, last pipeline.JobFold) error {
	task := d.Task()
	data := begun(task, last, d.Sequence(), l.Process)
	cause := pipeline.Event{ID: task.EventID, TraceParent: task.Trace}
	started, err := l.swap(ctx, task, pipeline.JobStarted, cause, data, last.Last.Sequence)
	if err != nil {
		return fmt.Errorf("start attempt: %w", err)
	}
	data.Token = started.Sequence
	l.count(task.Job.Worker, func(c *Counts) { c.Started++; c.Running++ })
	defer l.count(task.Job.Worker, func(c *Counts) { c.Running-- })
	log := l.Logger.With("video", task.Video, "job", task.Job.Name, "attempt", data.Attempt, "trace", task.Trace)
	log.Debug("attempt started")

	result, err := l.work(ctx, d, started, data)

	writes, cancel := lastWrites(ctx)
	defer cancel()
	switch {
	case err == nil:
		err = l.completed(writes, d, started, data, result)
	case errors.Is(err, errUnwanted):
		log.Info("attempt canceled")
		err = l.canceled(writes, d, started, data)
	case errors.Is(err, errTokenLost):
		log.Warn("attempt dropped", "error", err)
	case errors.Is(err, errStopping):
		err = l.interrupted(writes, d, started, data)
	default:
		log.Warn("attempt failed", "error", err)
		err = l.failed(writes, d, started, data, err)
	}
	if errors.Is(err, errTokenLost) || errors.Is(err, pipeline.ErrConflict) {
		return l.overtaken(writes, d, started.Sequence)
	}
	return err
}

func outputPrefix(t pipeline.Task, token uint64) string {
	return pipeline.AttemptPrefix(t.Video, t.Job.Name, token)
}

// work runs the worker in a scratch directory of its own, under a heartbeat, and passes its result through
// the gate. The context that the worker gets ends, with the reason as its cause, when the loop stops, the
// token is lost, nobody wants the job any more or the time is up.
func (l *Loop) work(ctx context.Context, d Delivery, started pipeline.Event, data pipeline.JobEvent) (
	result pipeline.Result, err error,
) {
	task := d.Task()
	dir, remove, err := l.workspace(task, started.Sequence)
	if err != nil {
		return pipeline.Result{}, err
	}
	defer remove()
	timeout := l.Timeout
	if task.Job.Timeout > 0 {
		timeout = task.Job.Timeout.Duration()
	}
	work, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	defer context.AfterFunc(ctx, func() { cancel(errStopping) })()

	bell := l.bell(work, task) // before the look: what happens after it rings
	if err := l.fenced(work, task, started.Sequence); err != nil {
		return pipeline.Result{}, err
	}
	var beat sync.WaitGroup
	defer beat.Wait()
	defer cancel(nil)
	beat.Go(func() { l.watch(work, cancel, d, started.Sequence, bell) })

	defer time.AfterFunc(timeout, func() { cancel(errTimeout) }).Stop()
	result, err = l.call(work, task, started.Sequence, data.Attempt, dir)
	cause := context.Cause(work)
	switch {
	case errors.Is(cause, errUnwanted), errors.Is(cause, errTokenLost):
		return result, cause
	case err != nil && errors.Is(cause, errTimeout):
		return result, pipeline.Fail(pipeline.CodeJobTimeout, "no result within %s", timeout)
	case err != nil && cause != nil:
		return result, cause
	case err != nil:
		return result, err
	}
	last, stop := lastWrites(ctx) // work that is done is not thrown away because the loop stops just now
	defer stop()
	return result, l.gate(last, task, started.Sequence, result)
}

// call runs the registered worker. A panic is an error of class bug.
func (l *Loop) call(ctx context.Context, task pipeline.Task, token uint64, number int, dir string) (
	result pipeline.Result, err error,
) {
	defer func() {
		if p := recover(); p != nil {
			l.Logger.Error("worker panicked", "job", task.Job.Name, "panic", p, "stack", string(debug.Stack()))
			err = pipeline.Fail(pipeline.CodeWorkerPanicked, "panic: %v", p)
		}
	}()
	results, err := l.results(ctx, task)
	if err != nil {
		return pipeline.Result{}, err
	}
	a := NewAttempt(Attempt{
		Task: task, Token: token, Number: number, Results: results, Dir: dir,
		Log: l.Logger.With("video", task.Video, "job", task.Job.Name, "attempt", number),
	}, storeFiles{l.Store, l.scratch, task.Source.Key}, l.teller(ctx, task.Project))
	result, err = l.Registry.Work(ctx, a)
	if err != nil {
		err = made{err}
	}
	return result, err
}

// results returns what the jobs before this one left.
func (l *Loop) results(ctx context.Context, task pipeline.Task) (map[string]pipeline.Result, error) {
	if len(task.Job.After) == 0 {
		return nil, nil
	}
	subjects := make([]string, len(task.Job.After))
	for i, a := range task.Job.After {
		subjects[i] = pipeline.JobSubject(task.Project, task.Video, a)
	}
	events, err := l.Log.Last(ctx, subjects...)
	if err != nil {
		return nil, err
	}
	results := make(map[string]pipeline.Result, len(events))
	for i, e := range events {
		before, err := pipeline.FoldJob(e)
		if err != nil {
			return nil, err
		}
		if before.State != pipeline.StateJobCompleted || before.Data.Result == nil {
			return nil, fmt.Errorf("job %s is not completed", task.Job.After[i])
		}
		results[task.Job.After[i]] = *before.Data.Result
	}
	return results, nil
}
