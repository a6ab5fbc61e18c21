package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
)

// Redrive gives an errored job another generation of attempts: it appends job.requeued, and the coordinator
// reopens the video and enqueues the job. It does nothing for a job that is already requeued. ErrState: the
// job has not errored, or its video was canceled or rejected. ErrSourceGone: the source is deleted, and the
// job is no webhook. ErrNotFound: there is no such job.
func Redrive(ctx context.Context, log Log, project, video, job string) (Event, error) {
	e, _, err := redrive(ctx, log, project, video, job, order{})
	return e, err
}

// RedriveLetter redrives the job of a dead letter, as Redrive does, if the letter is about the job's last
// event. Otherwise it only returns that event. requeued reports whether it appended job.requeued, which has
// the reason.
func RedriveLetter(ctx context.Context, log Log, project string, d DeadLetter, reason string) (
	e Event, requeued bool, err error,
) {
	return redrive(ctx, log, project, d.Task.Video, d.Task.Job.Name, order{token: d.Token, reason: reason})
}

// order says what is redriven, and why.
type order struct {
	token  uint64 // sequence of the job.errored that it is about; 0 for any
	reason string // for people; may be empty
}

func redrive(ctx context.Context, log Log, project, video, job string, o order) (Event, bool, error) {
	for range maxConflicts {
		v, err := Fold(ctx, log, project, video)
		if err != nil {
			return Event{}, false, err
		}
		if v.Uploaded.Sequence == 0 || v.Deleted.Sequence != 0 {
			return Event{}, false, ErrNotFound
		}
		f, err := v.foldNamed(ctx, log, job)
		if err != nil {
			return Event{}, false, err
		}
		isNotify := f.Data.Step == NotifyStep
		switch {
		case o.token != 0 && (f.Last.Type != JobErrored || f.Last.Sequence != o.token):
			return f.Last, false, nil
		case isNotify && !v.tells(f.Data.Job):
			return Event{}, false, fmt.Errorf(
				"the video was reopened; its next end gets a webhook of its own: %w", ErrState)
		case f.Last.Type == JobRequeued:
			return f.Last, false, nil
		case f.State != StateJobErrored:
			return Event{}, false, fmt.Errorf("the job is %s: %w", f.State, ErrState)
		case v.superseded(job):
			return Event{}, false, stateError("another addition to the video has made what this one was to make")
		case !isNotify && (v.Finished.Type == VideoCanceled || v.Finished.Type == VideoRejected):
			return Event{}, false, fmt.Errorf("the video is %s: %w", v.End.State, ErrState)
		}
		if err := v.CheckSource(); err != nil && !isNotify {
			return Event{}, false, err
		}
		e, err := requeue(ctx, log, v, f, o.reason)
		if !errors.Is(err, ErrConflict) {
			return e, err == nil, err
		}
	}
	return Event{}, false, ErrConflict
}

// Retry resumes a video that was errored or canceled. Each job that was errored or canceled gets another
// generation of attempts, as by Redrive; completed jobs stay. Retrying again before the video ends does
// nothing. It returns video.reopened. ErrState: the video is ready, was rejected, was refused by a
// quota, or has not ended yet. ErrSourceGone: its source is deleted. ErrNotFound: there is no such video.
func Retry(ctx context.Context, log Log, project, video string) (Event, error) {
	for range maxConflicts {
		e, err := retry(ctx, log, project, video)
		if !errors.Is(err, ErrConflict) {
			return e, err
		}
	}
	return Event{}, ErrConflict
}

func retry(ctx context.Context, log Log, project, video string) (Event, error) {
	v, err := Fold(ctx, log, project, video)
	switch {
	case err != nil:
		return Event{}, err
	case v.Uploaded.Sequence == 0 || v.Deleted.Sequence != 0:
		return Event{}, ErrNotFound
	case v.Reopened.Sequence != 0:
		return v.Reopened, nil
	case v.Finished.Type != VideoErrored && v.Finished.Type != VideoCanceled:
		return Event{}, fmt.Errorf("the video is %s: %w", cmp.Or(v.End.State, StateVideoProcessing), ErrState)
	case v.End.Problem != nil && v.End.Problem.Code == CodeQuotaExceeded:
		return Event{}, fmt.Errorf("a quota refused the video before any job of it was tried; upload it again: %w",
			ErrState)
	}
	if err := v.CheckSource(); err != nil {
		return Event{}, err
	}
	for _, f := range v.stopped() {
		if _, err := requeue(ctx, log, v, f, ""); err != nil {
			return Event{}, err
		}
	}
	return reopen(ctx, log, "upload", v)
}

// stopped returns the folds of the jobs that were errored or canceled, in the order of the plan.
func (v *Video) stopped() []JobFold {
	var all []JobFold
	add := func(f JobFold) {
		if f.State == StateJobErrored || f.State == StateJobCanceled {
			all = append(all, f)
		}
	}
	add(v.Fetch)
	add(v.Inspect)
	for _, j := range v.Plan {
		add(v.Jobs[j.Name])
	}
	return all
}

// requeue appends job.requeued, with a reason that may be empty.
func requeue(ctx context.Context, log Log, v *Video, f JobFold, reason string) (Event, error) {
	data := JobEvent{
		Job: f.Data.Job, Step: f.Data.Step, Worker: f.Data.Worker, Attempt: f.Data.Attempt,
		Generation: f.Data.Generation + 1, Reason: reason,
	}
	e, err := NewEvent("upload", JobRequeued, f.Last.Subject, v.ID, f.Last, data)
	if err != nil {
		return Event{}, err
	}
	return Append(ctx, log, e, f.Last.Sequence)
}

// foldNamed returns the fold of a job of the video, notify jobs of earlier generations included.
func (v *Video) foldNamed(ctx context.Context, log Log, job string) (JobFold, error) {
	if !ValidName(job) {
		return JobFold{}, ErrNotFound
	}
	if f, ok := v.Jobs[job]; ok {
		return f, nil
	}
	last, err := log.Last(ctx, JobSubject(v.Project, v.ID, job))
	if err != nil {
		return JobFold{}, err
	}
	if last[0].Sequence == 0 {
		return JobFold{}, ErrNotFound
	}
	return FoldJob(last[0])
}

// tells reports whether a notify job reports something that still holds for the video.
func (v *Video) tells(job string) bool {
	return slices.ContainsFunc(v.news(), func(n news) bool { return n.job == job })
}

// reopen reopens an ended video when one of its jobs was requeued. If the source was deleted at the same
// moment, it ends these jobs instead.
func (c *Coordinator) reopen(ctx context.Context, v *Video) error {
	switch v.Finished.Type {
	case VideoErrored, VideoReady, VideoCanceled:
	default:
		return nil
	}
	if !v.requeued() {
		return nil
	}
	if gone := v.CheckSource(); gone != nil {
		return c.refuseRequeued(ctx, v, gone)
	}
	e, err := reopen(ctx, c.Log, "coordinator", v)
	if err != nil {
		return err
	}
	v.Reopened, v.Generation, v.Last = e, v.Generation+1, e.Sequence
	v.Finished, v.End, v.Notify = Event{}, Finish{}, JobFold{}
	return nil
}

// reopen appends video.reopened, which cancels the end of v, if nothing else has happened to v itself.
func reopen(ctx context.Context, log Log, role string, v *Video) (Event, error) {
	data := Finish{State: StateVideoProcessing, Generation: v.Generation + 1}
	e, err := NewEvent(role, VideoReopened, FinishedSubject(v.Project, v.ID), v.ID, v.Finished, data)
	if err != nil {
		return Event{}, err
	}
	return appendFenced(ctx, log, e, v.Last, v.Finished.Sequence)
}

// requeued reports whether a job of the video, other than its notify job and those of additions, was requeued
// after its end and has not begun.
func (v *Video) requeued() bool {
	since := func(f JobFold) bool {
		return f.Last.Type == JobRequeued && f.Last.Sequence > v.Finished.Sequence
	}
	if since(v.Fetch) || since(v.Inspect) {
		return true
	}
	return slices.ContainsFunc(v.Plan, func(j Job) bool { return since(v.Jobs[j.Name]) })
}

// superseded reports whether the job is of an addition that failed, and whose renditions the video has now.
func (v *Video) superseded(job string) bool {
	n := additionOfJob(job)
	if n < 1 || n > len(v.Additions) {
		return false
	}
	a := &v.Additions[n-1]
	return a.failed() && len(v.renditionsAmong(a.Renditions, nil)) > 0
}

// stateError returns an error that wraps ErrState.
func stateError(format string, args ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), ErrState)
}
