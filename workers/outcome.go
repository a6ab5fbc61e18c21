package workers

import (
	"context"
	"errors"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/storage"
)

// write appends the job's next event, unless another event came after the last one that the attempt knows.
func (a *attempt) write(ctx context.Context, t pipeline.EventType, cause pipeline.Event) error {
	e, err := pipeline.NewEvent("worker", t, a.task.JobSubject(), a.task.Video, cause, a.data)
	if err != nil {
		return err
	}
	e.Actor = pipeline.WorkerActor(a.task.Job.Worker)
	if e.Sequence, err = a.loop.Log.Append(ctx, e, a.last.Sequence); err != nil {
		return err
	}
	a.last = e
	return nil
}

// finish writes the outcome of the work, and then settles the message.
func (a *attempt) finish(ctx context.Context, result pipeline.Result, err error) error {
	switch {
	case err == nil:
		return a.completed(ctx, result)
	case errors.Is(err, errUnwanted):
		a.log.Info("attempt canceled")
		return a.canceled(ctx)
	case errors.Is(err, errTokenLost):
		a.log.Warn("attempt dropped", "error", err)
		return err
	case errors.Is(err, errStopping):
		return a.interrupted(ctx)
	}
	a.log.Warn("attempt failed", "error", err)
	return a.failed(ctx, err)
}

// completed publishes the result: from now on the job's outputs are those of this token. It removes the
// outputs of earlier attempts.
func (a *attempt) completed(ctx context.Context, r pipeline.Result) error {
	a.data.Result, a.data.Problem = &r, nil
	if err := a.write(ctx, pipeline.JobCompleted, a.last); err != nil {
		return err
	}
	a.count(func(c *Counts) { c.Completed++ })
	a.observe("")
	if a.data.Attempt > 1 {
		a.removeOthers(ctx, a.data.Token)
	}
	return a.delivery.Ack(ctx)
}

// interrupted returns the task; the attempt does not count.
func (a *attempt) interrupted(ctx context.Context) error {
	a.data.Attempt--
	if err := a.write(ctx, pipeline.JobInterrupted, a.last); err != nil {
		return err
	}
	a.count(func(c *Counts) { c.Interrupted++ })
	a.removeOutputs(ctx)
	return a.delivery.Return(ctx, 0)
}

// canceled ends a job that nobody wants any more. The event makes the coordinator look at the video again.
func (a *attempt) canceled(ctx context.Context) error {
	a.data.Problem = nil
	if err := a.write(ctx, pipeline.JobCanceled, a.last); err != nil {
		return err
	}
	a.count(func(c *Counts) { c.Canceled++ })
	a.removeOutputs(ctx)
	return a.delivery.Ack(ctx)
}

// unwanted drops a task that nobody wants any more, before an attempt is begun.
func (a *attempt) unwanted(ctx context.Context) error {
	a.count(func(c *Counts) { c.Canceled++ })
	return a.delivery.Ack(ctx)
}

// overtaken removes the outputs of an attempt whose job has moved on without it. It acknowledges the message
// only when nobody wants the job any more: otherwise another attempt may hold that very message.
func (a *attempt) overtaken(ctx context.Context) error {
	_, removed := storage.DeletePrefix(ctx, a.loop.Store, a.prefix())
	job, wanted, err := pipeline.FoldTask(ctx, a.loop.Log, a.task)
	if err == nil && (!wanted || job.State == pipeline.StateJobCanceled) {
		return errors.Join(removed, a.unwanted(ctx))
	}
	a.count(func(c *Counts) { c.Dropped++ })
	return errors.Join(errTokenLost, removed, err)
}

// failed schedules another attempt, or ends the job. An attempt is the last if it ran alone, because of a
// crash or a lack of memory, and ended like that again, however few failed before; or if it failed in the
// same way as the previous one.
func (a *attempt) failed(ctx context.Context, cause error) error {
	ran := alone(a.data.Problem)
	a.data.Failed++
	a.data.Problem = a.problem(cause)
	same := failure(cause, a.data.Problem)
	if same != "" && same == a.data.Failure {
		again(a.data.Problem)
	}
	a.data.Failure = same
	delay, more := nextTry(a.task.Job, a.data.Problem, a.data.Failed)
	if !more || ran && alone(a.data.Problem) {
		return a.errored(ctx)
	}
	return a.retry(ctx, delay)
}

// lost makes the next event say that the last attempt ended without an outcome.
func (a *attempt) lost() {
	lost := attemptsLost(a.found)
	a.unfit(pipeline.Fail(pipeline.CodeWorkerLost, "%d attempts ended without an outcome", lost))
}

// unfit makes the next event say that no attempt can begin, because of err.
func (a *attempt) unfit(err error) {
	a.data = begun(a.task, a.found, a.delivery.Sequence(), a.loop.Process)
	a.data.Attempt, a.data.Token = a.found.Data.Attempt, a.found.Last.Sequence
	a.data.Problem = a.problem(err)
}

// retry schedules another attempt after delay.
func (a *attempt) retry(ctx context.Context, delay time.Duration) error {
	at := time.Now().Add(delay).UTC()
	a.data.RetryAt = &at
	if err := a.write(ctx, pipeline.JobRetrying, a.last); err != nil {
		return err
	}
	a.count(func(c *Counts) { c.Retried++ })
	a.observe(codeOf(a.data.Problem))
	a.removeOutputs(ctx)
	return a.rearm(ctx)
}

// rearm stores the timer that the job's last event, job.retrying, announces. It is the same timer however
// often it is stored.
func (a *attempt) rearm(ctx context.Context) error {
	task := a.task
	task.Cause, task.EventID, task.Trace = a.last.Sequence, a.last.ID, a.last.TraceParent
	at := time.Now()
	if a.data.RetryAt != nil {
		at = *a.data.RetryAt
	}
	if err := a.loop.Tasks.Schedule(ctx, task, at); err != nil {
		return err
	}
	return a.delivery.Ack(ctx)
}

// errored ends the job: it writes the event, then the dead letter, then acknowledges. Each step can be
// repeated.
func (a *attempt) errored(ctx context.Context) error {
	if err := a.write(ctx, pipeline.JobErrored, a.last); err != nil {
		return err
	}
	a.count(func(c *Counts) { c.Errored++ })
	a.observe(codeOf(a.data.Problem))
	a.removeOthers(ctx, a.last.Sequence) // no attempt has this token, so all outputs go
	return a.deadLetter(ctx)
}

// deadLetter stores the dead letter that belongs to the job's last event, job.errored, and acknowledges.
func (a *attempt) deadLetter(ctx context.Context) error {
	letter := pipeline.DeadLetter{
		Task: a.task, Subject: a.task.Subject(), Attempts: a.data.Attempt, Token: a.last.Sequence,
		Time: time.Now().UTC(),
	}
	if a.data.Problem != nil {
		letter.Problem = *a.data.Problem
	}
	if err := a.loop.Tasks.DeadLetter(ctx, letter); err != nil {
		return err
	}
	return a.delivery.Ack(ctx)
}

// prefix is where the outputs of this attempt are in the store.
func (a *attempt) prefix() string {
	return pipeline.AttemptPrefix(a.task.Video, a.task.Job.Name, a.data.Token)
}

// removeOutputs deletes the outputs that this attempt stored. Those that it cannot delete are deleted with
// the outputs of the other attempts, once the job ends.
func (a *attempt) removeOutputs(ctx context.Context) {
	if _, err := storage.DeletePrefix(ctx, a.loop.Store, a.prefix()); err != nil {
		a.log.Warn("remove outputs of an attempt", "token", a.data.Token, "error", err)
	}
}

// removeOthers deletes the outputs of all attempts at the job except the one with the token keep. Those that
// it cannot delete only waste space: nothing refers to them, and they are deleted with the video.
func (a *attempt) removeOthers(ctx context.Context, keep uint64) {
	kept := pipeline.AttemptPrefix(a.task.Video, a.task.Job.Name, keep)
	for info, err := range a.loop.Store.List(ctx, pipeline.JobPrefix(a.task.Video, a.task.Job.Name)) {
		if err == nil && strings.HasPrefix(info.Key, kept) {
			continue
		}
		if err == nil {
			err = a.loop.Store.Delete(ctx, info.Key)
		}
		if err != nil {
			a.log.Warn("remove outputs of lost attempts", "error", err)
			return
		}
	}
}

// problem returns err as people see it, with its job and attempt.
func (a *attempt) problem(err error) *pipeline.Problem {
	if errors.Is(err, storage.ErrFull) || errors.Is(err, unix.ENOSPC) {
		err = pipeline.Fail(pipeline.CodeDiskFull, "%w", err)
	}
	if errors.Is(err, unix.EROFS) {
		err = pipeline.Fail(pipeline.CodeDiskReadOnly, "%w", err)
	}
	p := pipeline.ProblemOf(err)
	p.Step, p.Job, p.Attempt = a.task.Job.Step, a.task.Job.Name, a.data.Attempt
	return p
}
