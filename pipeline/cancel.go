package pipeline

import (
	"context"
	"errors"
	"fmt"
)

// ErrState says that the state of a video or job does not allow the operation.
var ErrState = errors.New("not in this state")

// Cancel appends video.canceled. It stops the video's running jobs, withdraws the waiting ones and deletes
// what they stored. Outputs of completed jobs stay until the video is deleted, and Retry continues with them.
// Canceling again does nothing. ErrState: the video has ended in another way. ErrNotFound: there is no such
// video.
func Cancel(ctx context.Context, log Log, project, video string) (Event, error) {
	for range maxConflicts {
		v, err := Fold(ctx, log, project, video)
		switch {
		case err != nil:
			return Event{}, err
		case v.Uploaded.Sequence == 0, v.Deleted.Sequence != 0:
			return Event{}, ErrNotFound
		case v.Finished.Type == VideoCanceled:
			return v.Finished, nil
		case v.Finished.Sequence != 0:
			return Event{}, fmt.Errorf("the video is %s: %w", v.End.State, ErrState)
		}
		end := Finish{State: StateVideoCanceled, Generation: v.Generation, Notify: v.Upload.Webhook != nil}
		e, err := NewEvent("upload", VideoCanceled, FinishedSubject(project, video), video, v.Uploaded, end)
		if err != nil {
			return Event{}, err
		}
		e, err = Append(ctx, log, e, v.Reopened.Sequence)
		if !errors.Is(err, ErrConflict) {
			return e, err
		}
	}
	return Event{}, ErrConflict
}

// stop cancels the open jobs of a canceled video. It also runs after video.inspected: a plan that was written
// while the video was being canceled must never run.
func (c *Coordinator) stop(ctx context.Context, v *Video) error {
	if v.Finished.Type != VideoCanceled {
		return nil
	}
	return c.cancelJobs(ctx, v, v.Finished, v.openJobs())
}

// openJob is a job that has not ended, and the last event on its subject.
type openJob struct {
	Job
	last Event
	// cause is the event that a notify job reports, or with which the source was there for an inspect job; zero
	// for the others.
	cause Event
}

// openJobs returns the jobs that run or may soon: those that have an event and no end, and those that may
// have been enqueued.
func (v *Video) openJobs() []openJob {
	var open []openJob
	if v.Upload.Fetch != nil && !v.Fetch.State.Terminal() {
		open = append(open, openJob{Job: v.fetchJob(), last: v.Fetch.Last})
	}
	if _, ok := v.source(); ok && !v.Inspect.State.Terminal() {
		open = append(open, openJob{Job: v.inspectJob(), last: v.Inspect.Last, cause: v.sourced()})
	}
	for _, j := range v.Plan {
		f := v.Jobs[j.Name]
		if !f.State.Terminal() && (f.Last.Sequence != 0 || v.runnable(j)) {
			open = append(open, openJob{Job: j, last: f.Last})
		}
	}
	return open
}

// openNotify returns the notify jobs that run or may soon. public is Coordinator.PublicURL.
func (v *Video) openNotify(public string) ([]openJob, error) {
	var open []openJob
	for _, n := range v.news() {
		if n.fold.State.Terminal() {
			continue
		}
		j, err := v.notification(n, public)
		if err != nil {
			return nil, err
		}
		open = append(open, openJob{Job: j, last: n.fold.Last, cause: n.event})
	}
	return open, nil
}

// cancelJobs cancels jobs because of cause, then withdraws their tasks and deletes what they stored.
func (c *Coordinator) cancelJobs(ctx context.Context, v *Video, cause Event, jobs []openJob) error {
	var names, prefixes []string
	var failed error
	for _, j := range jobs {
		f, err := FoldJob(j.last)
		if err != nil {
			return err
		}
		data := JobEvent{
			Job: j.Name, Step: j.Step, Worker: j.Worker, Attempt: f.Data.Attempt, Failed: f.Data.Failed,
			Lost: f.Data.Lost, Generation: f.Data.Generation,
		}
		_, failed = c.append(ctx, v, JobCanceled, JobSubject(v.Project, v.ID, j.Name), cause, data, j.last.Sequence)
		if failed != nil {
			break
		}
		names = append(names, j.Name)
		switch f.State { // what earlier attempts stored was deleted when they ended
		case StateJobProcessing:
			prefixes = append(prefixes, AttemptPrefix(v.ID, j.Name, j.last.Sequence))
		case StateJobCompleted: // of an addition that failed
			prefixes = append(prefixes, AttemptPrefix(v.ID, j.Name, f.Data.Token))
		}
	}
	if len(names) == 0 {
		return failed
	}
	failed = errors.Join(failed, c.Tasks.Withdraw(ctx, v.Project, v.ID, names...))
	for _, prefix := range prefixes {
		failed = errors.Join(failed, c.Objects.DeletePrefix(ctx, prefix))
	}
	return failed
}
