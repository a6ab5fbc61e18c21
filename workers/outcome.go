package workers

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/storage"
)

// swap writes the next event of the task's job, if its last one has sequence after.
func (l *Loop) swap(ctx context.Context, task pipeline.Task, t pipeline.EventType, cause pipeline.Event,
	data pipeline.JobEvent, after uint64,
) (pipeline.Event, error) {
	e, err := pipeline.NewEvent("worker", t, task.JobSubject(), task.Video, cause, data)
	if err != nil {
		return pipeline.Event{}, err
	}
	e.Sequence, err = l.Log.Append(ctx, e, after)
	return e, err
}

// completed publishes the result: from now on the outputs of this token are the job's. Those of earlier
// attempts go.
func (l *Loop) completed(ctx context.Context, d Delivery, started pipeline.Event, data pipeline.JobEvent,
	r pipeline.Result,
) error {
	data.Result, data.Problem = &r, nil
	if _, err := l.swap(ctx, d.Task(), pipeline.JobCompleted, started, data, started.Sequence); err != nil {
		return err
	}
	l.count(d.Task().Job.Worker, func(c *Counts) { c.Completed++ })
	l.observe(d.Task().Job.Worker, "", started)
	if data.Attempt > 1 {
		l.removeLosers(ctx, d.Task(), started.Sequence)
	}
	return d.Ack(ctx)
}

// removeLosers deletes what attempts other than the winner left in the store. What stays is waste, not harm:
// nothing refers to it, and deleting the video takes it along.
func (l *Loop) removeLosers(ctx context.Context, task pipeline.Task, winner uint64) {
	keep := outputPrefix(task, winner)
	for info, err := range l.Store.List(ctx, pipeline.JobPrefix(task.Video, task.Job.Name)) {
		if err == nil && len(info.Key) >= len(keep) && info.Key[:len(keep)] == keep {
			continue
		}
		if err == nil {
			err = l.Store.Delete(ctx, info.Key)
		}
		if err != nil {
			l.Logger.Warn("remove outputs of lost attempts", "job", task.Job.Name, "error", err)
			return
		}
	}
}

// interrupted gives the attempt back, unspent.
func (l *Loop) interrupted(ctx context.Context, d Delivery, started pipeline.Event,
	data pipeline.JobEvent,
) error {
	data.Attempt--
	if _, err := l.swap(ctx, d.Task(), pipeline.JobInterrupted, started, data, started.Sequence); err != nil {
		return err
	}
	l.count(d.Task().Job.Worker, func(c *Counts) { c.Interrupted++ })
	l.dropOutput(ctx, d.Task(), started.Sequence)
	return d.Return(ctx, 0)
}

// canceled ends a job that nobody wants any more. The event has the coordinator look at the video again.
func (l *Loop) canceled(ctx context.Context, d Delivery, started pipeline.Event,
	data pipeline.JobEvent,
) error {
	data.Problem = nil
	if _, err := l.swap(ctx, d.Task(), pipeline.JobCanceled, started, data, started.Sequence); err != nil {
		return err
	}
	l.count(d.Task().Job.Worker, func(c *Counts) { c.Canceled++ })
	l.dropOutput(ctx, d.Task(), started.Sequence)
	return d.Ack(ctx)
}

// overtaken throws away what an attempt made whose job has moved on without it. The message is acknowledged
// when the job is canceled; else it may be the one that another attempt holds, and is left alone.
func (l *Loop) overtaken(ctx context.Context, d Delivery, token uint64) error {
	task := d.Task()
	_, dropped := storage.DeletePrefix(ctx, l.Store, outputPrefix(task, token))
	last, wanted, err := pipeline.FoldTask(ctx, l.Log, task)
	if err == nil && (!wanted || last.State == pipeline.StateJobCanceled) {
		l.count(task.Job.Worker, func(c *Counts) { c.Canceled++ })
		return errors.Join(dropped, d.Ack(ctx))
	}
	l.count(task.Job.Worker, func(c *Counts) { c.Dropped++ })
	return errors.Join(errTokenLost, dropped, err)
}

// failed schedules another attempt, or ends the job. An attempt that ran alone because of a crash, and
// crashed again, is the last, whatever failed before; so is one that made the same mistake as the one before.
func (l *Loop) failed(ctx context.Context, d Delivery, started pipeline.Event, data pipeline.JobEvent,
	cause error,
) error {
	task := d.Task()
	alone := crashed(data.Problem)
	data.Failed++
	data.Problem = l.problem(task, data.Attempt, cause)
	same := failure(cause, data.Problem)
	if same != "" && same == data.Failure {
		again(data.Problem)
	}
	data.Failure = same
	delay, more := nextTry(task.Job, data.Problem, data.Failed)
	if !more || alone && crashed(data.Problem) {
		return l.errored(ctx, d, started, data)
	}
	return l.retry(ctx, d, started, data, delay)
}

// lostData is the data of the event that follows when the attempt that last began has ended without a word.
func (l *Loop) lostData(d Delivery, last pipeline.JobFold) pipeline.JobEvent {
	return l.unfitData(d, last, pipeline.Fail(pipeline.CodeWorkerLost,
		"%d attempts ended without a word", attemptsLost(last)))
}

// unfitData is the data of the event that follows when no attempt can be begun, because of err.
func (l *Loop) unfitData(d Delivery, last pipeline.JobFold, err error) pipeline.JobEvent {
	data := begun(d.Task(), last, d.Sequence(), l.Process)
	data.Attempt, data.Token = last.Data.Attempt, last.Last.Sequence
	data.Problem = l.problem(d.Task(), data.Attempt, err)
	return data
}

// retry has the job tried again after delay, instead of the attempt that started began.
func (l *Loop) retry(ctx context.Context, d Delivery, started pipeline.Event, data pipeline.JobEvent,
	delay time.Duration,
) error {
	at := time.Now().Add(delay).UTC()
	data.RetryAt = &at
	retrying, err := l.swap(ctx, d.Task(), pipeline.JobRetrying, started, data, started.Sequence)
	if err != nil {
		return err
	}
	l.count(d.Task().Job.Worker, func(c *Counts) { c.Retried++ })
	l.observe(d.Task().Job.Worker, codeOf(data.Problem), started)
	l.dropOutput(ctx, d.Task(), started.Sequence)
	return l.rearm(ctx, d, retrying, data)
}

// rearm stores the timer that a job.retrying event announces; it is the same however often it is stored.
func (l *Loop) rearm(ctx context.Context, d Delivery, retrying pipeline.Event, data pipeline.JobEvent) error {
	task := d.Task()
	task.Cause, task.EventID, task.Trace = retrying.Sequence, retrying.ID, retrying.TraceParent
	at := time.Now()
	if data.RetryAt != nil {
		at = *data.RetryAt
	}
	if err := l.Tasks.Schedule(ctx, task, at); err != nil {
		return err
	}
	return d.Ack(ctx)
}

// errored ends the job: the event first, then the dead letter, then the acknowledgement. Each can be
// repeated.
func (l *Loop) errored(ctx context.Context, d Delivery, last pipeline.Event, data pipeline.JobEvent) error {
	e, err := l.swap(ctx, d.Task(), pipeline.JobErrored, last, data, last.Sequence)
	if err != nil {
		return err
	}
	l.count(d.Task().Job.Worker, func(c *Counts) { c.Errored++ })
	l.observe(d.Task().Job.Worker, codeOf(data.Problem), last)
	l.removeLosers(ctx, d.Task(), e.Sequence) // which has no outputs: all of them go
	return l.bury(ctx, d, e.Sequence, data)
}

// bury keeps the dead letter of an errored job, then acknowledges.
func (l *Loop) bury(ctx context.Context, d Delivery, errored uint64, data pipeline.JobEvent) error {
	task := d.Task()
	letter := pipeline.DeadLetter{
		Task: task, Subject: task.Subject(), Attempts: data.Attempt, Token: errored, Time: time.Now().UTC(),
	}
	if data.Problem != nil {
		letter.Problem = *data.Problem
	}
	if err := l.Tasks.DeadLetter(ctx, letter); err != nil {
		return err
	}
	return d.Ack(ctx)
}

// dropOutput deletes what an attempt stored that ended without completing. What stays is removed with the
// losers.
func (l *Loop) dropOutput(ctx context.Context, task pipeline.Task, token uint64) {
	if _, err := storage.DeletePrefix(ctx, l.Store, outputPrefix(task, token)); err != nil {
		l.Logger.Warn("remove outputs of an attempt", "job", task.Job.Name, "token", token, "error", err)
	}
}

// problem is err as the world sees it, placed in its job.
func (l *Loop) problem(task pipeline.Task, attempt int, err error) *pipeline.Problem {
	if errors.Is(err, storage.ErrFull) || errors.Is(err, unix.ENOSPC) {
		err = pipeline.Fail(pipeline.CodeDiskFull, "%w", err)
	}
	p := pipeline.ProblemOf(err)
	p.Step, p.Job, p.Attempt = task.Job.Step, task.Job.Name, attempt
	return p
}
