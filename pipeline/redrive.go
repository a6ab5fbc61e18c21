package pipeline

import (
	"context"
	"errors"
	"fmt"
)

// Redrive gives an errored job another generation of attempts: it appends job.requeued, and the coordinator
// reopens the video and enqueues the job. A job that is requeued already is left as it is. ErrState: the job
// has not errored, or its video was canceled or rejected. ErrNotFound: there is no such job.
func Redrive(ctx context.Context, log Log, project, video, job string) (Event, error) {
	for range maxConflicts {
		v, err := Fold(ctx, log, project, video)
		if err != nil {
			return Event{}, err
		}
		if v.Uploaded.Sequence == 0 || v.Deleted.Sequence != 0 {
			return Event{}, ErrNotFound
		}
		f, err := v.foldNamed(ctx, log, job)
		if err != nil {
			return Event{}, err
		}
		isNotify := f.Data.Step == notifyJob
		switch {
		case isNotify && (v.Finished.Sequence == 0 || f.Data.Job != notifyName(v.Generation)):
			return Event{}, fmt.Errorf("the video was reopened, and its next end is told anew: %w", ErrState)
		case f.Last.Type == JobRequeued:
			return f.Last, nil
		case f.State != JobStateErrored:
			return Event{}, fmt.Errorf("the job is %s: %w", f.State, ErrState)
		case !isNotify && (v.Finished.Type == VideoCanceled || v.Finished.Type == VideoRejected):
			return Event{}, fmt.Errorf("the video is %s: %w", v.End.State, ErrState)
		}
		data := JobEvent{
			Job: f.Data.Job, Step: f.Data.Step, Worker: f.Data.Worker, Attempt: f.Data.Attempt,
			Generation: f.Data.Generation + 1,
		}
		e, err := NewEvent("upload", JobRequeued, f.Last.Subject, video, f.Last, data)
		if err != nil {
			return Event{}, err
		}
		e.Sequence, err = log.Append(ctx, e, f.Last.Sequence)
		if !errors.Is(err, ErrConflict) {
			return e, err
		}
	}
	return Event{}, ErrConflict
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

// reopen takes back the end of a video of which a job was requeued.
func (c *Coordinator) reopen(ctx context.Context, v *Video) error {
	if v.Finished.Type != VideoErrored && v.Finished.Type != VideoReady || !v.requeued() {
		return nil
	}
	data := Finish{State: VideoProcessing, Generation: v.Generation + 1}
	subject := FinishedSubject(v.Project, v.ID)
	e, err := c.append(ctx, v, VideoReopened, subject, v.Finished, data, v.Finished.Sequence)
	if err != nil {
		return err
	}
	v.Reopened, v.Generation = e, data.Generation
	v.Finished, v.End, v.Notify = Event{}, Finish{}, JobFold{}
	return nil
}

// requeued reports whether a job of the video, other than its notify job, was requeued and has not begun.
func (v *Video) requeued() bool {
	if v.Inspect.Last.Type == JobRequeued {
		return true
	}
	for _, f := range v.Jobs {
		if f.Last.Type == JobRequeued {
			return true
		}
	}
	return false
}
