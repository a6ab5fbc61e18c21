package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Video is the fold of a video's last events. It is all that the coordinator knows of the video, read anew
// for every decision.
type Video struct {
	Project string
	ID      string

	Uploaded  Event
	Upload    Upload
	Fetch     JobFold // of an upload with a Fetch; else zero
	Inspect   JobFold
	Inspected Event
	Plan      []Job
	Verdict   Inspection
	Jobs      map[string]JobFold // the jobs of the plan and of the additions, by name
	Playable  Event
	Opened    Playable // the data of the event Playable
	Finished  Event    // zero until the video ends, and again once it is reopened
	End       Finish   // the data of Finished
	Reopened  Event    // the last video.reopened, until the video ends again
	Notify    JobFold  // the notify job of this generation
	// NotifyPlayable is the fold of the job that reports the video as playable.
	NotifyPlayable JobFold
	Deleted        Event // video.deleted or video.purged
	Changed        Event // the last video.changed; zero before the first
	// Additions are what was added to the video after it was ready, in the order of their numbers.
	Additions []AdditionFold
	// HeldBy is the last video.held or video.released; zero before the first.
	HeldBy Event
	// SourceDeleted is video.source_deleted or video.source_purged; zero while the source is there.
	SourceDeleted Event
	// Last is the sequence of the last event of the video itself, as opposed to those of its jobs.
	Last uint64

	// Generation counts how often the video was reopened.
	Generation int
}

// JobFold is the last event of a job and what it says.
type JobFold struct {
	Last  Event
	Data  JobEvent
	State JobState
}

// Inspected is the data of video.inspected: the finding, and the plan that the video is judged by.
type Inspected struct {
	Inspection
	Plan []Job `json:"plan"`
}

// Finish is the data of video.ready, video.errored, video.rejected and video.canceled.
type Finish struct {
	State    VideoState `json:"state"`
	Problem  *Problem   `json:"problem,omitempty"`  // why it is not ready
	Warnings []Problem  `json:"warnings,omitempty"` // of optional jobs that failed
	Notify   bool       `json:"notify,omitempty"`   // whether a webhook must be sent
	// Generation counts how often the video was reopened before.
	Generation int `json:"generation,omitempty"`
}

// VideoState is the state of a video, drawn once:
//
//	queued -> inspecting -> processing -> ready | errored
//	               \-> rejected | errored             canceled from any state that is not terminal
//
// A video that is ready, errored or canceled is processing again when jobs of it are tried again
// (video.reopened).
type VideoState string

// The states of a video. Ready, errored, rejected and canceled are terminal. The event that brings
// StateVideoReady about is VideoReady, and so on.
const (
	StateVideoQueued     VideoState = "queued"
	StateVideoInspecting VideoState = "inspecting"
	StateVideoProcessing VideoState = "processing"
	StateVideoReady      VideoState = "ready"
	StateVideoErrored    VideoState = "errored"
	StateVideoRejected   VideoState = "rejected"
	StateVideoCanceled   VideoState = "canceled"
)

// VideoStates returns all states, in the order in which a video goes through them.
func VideoStates() []VideoState {
	return []VideoState{
		StateVideoQueued, StateVideoInspecting, StateVideoProcessing, StateVideoReady, StateVideoErrored,
		StateVideoRejected, StateVideoCanceled,
	}
}

// Terminal reports whether a video in this state changes no more.
func (s VideoState) Terminal() bool {
	switch s {
	case StateVideoReady, StateVideoErrored, StateVideoRejected, StateVideoCanceled:
		return true
	}
	return false
}

// finishType is the event that brings a video into a terminal state.
func (s VideoState) finishType() EventType { return EventType("video." + string(s)) }

// Fold reads the last events of a video. A video that was never uploaded folds to one whose Uploaded is zero.
func Fold(ctx context.Context, from Log, project, video string) (*Video, error) {
	log, last, err := fenced(ctx, from, project, video)
	if err != nil {
		return nil, fmt.Errorf("fold video %s: %w", video, err)
	}
	v := &Video{Project: project, ID: video, Jobs: map[string]JobFold{}, Last: last}
	events, err := log.Last(ctx,
		UploadedSubject(project, video), InspectedSubject(project, video), PlayableSubject(project, video),
		FinishedSubject(project, video), DeletedSubject(project, video),
		JobSubject(project, video, InspectStep), JobSubject(project, video, NotifyStep),
		JobSubject(project, video, NotifyPlayable), ChangedSubject(project, video),
		HeldSubject(project, video), SourceDeletedSubject(project, video))
	if err != nil {
		return nil, fmt.Errorf("fold video %s: %w", video, err)
	}
	v.Uploaded, v.Inspected, v.Playable = events[0], events[1], events[2]
	v.Finished, v.Deleted, v.Changed = events[3], events[4], events[8]
	v.HeldBy, v.SourceDeleted = events[9], events[10]
	if v.Uploaded.Sequence == 0 {
		return v, nil
	}
	if err := v.foldEnd(ctx, log, events[6]); err != nil {
		return nil, err
	}
	if err := v.foldPlayable(events[7]); err != nil {
		return nil, err
	}
	if err := v.Uploaded.Decode(&v.Upload); err != nil {
		return nil, err
	}
	if v.Inspect, err = FoldJob(events[5]); err != nil {
		return nil, err
	}
	if err := v.foldFetch(ctx, log); err != nil {
		return nil, err
	}
	if v.Inspected.Sequence == 0 {
		return v, nil
	}
	if err := v.foldPlan(ctx, log); err != nil {
		return nil, err
	}
	return v, v.foldAdditions(ctx, log)
}

// lastReader is the part of a Log that folding needs.
type lastReader interface {
	Last(ctx context.Context, subjects ...string) ([]Event, error)
}

// snapshot reads the state of a video at once, if log can do that; else it returns log.
func snapshot(ctx context.Context, log lastReader, project, video string) (lastReader, error) {
	r, ok := log.(StateReader)
	if !ok {
		return log, nil
	}
	events, err := r.State(ctx, project, video)
	if errors.Is(err, ErrTooMany) {
		return log, nil
	}
	state := make(stateOf, len(events))
	for _, e := range events {
		state[e.Subject] = e
	}
	return state, err
}

// stateOf is the last event of every subject of a video.
type stateOf map[string]Event

// Last returns the event of each subject, as Log.Last does: the zero Event for a subject without one.
func (s stateOf) Last(_ context.Context, subjects ...string) ([]Event, error) {
	events := make([]Event, len(subjects))
	for i, subject := range subjects {
		events[i] = s[subject]
	}
	return events, nil
}

// foldEnd reads how the video ended, and the notify job of that end. first is the last event of the notify
// job of the first end.
func (v *Video) foldEnd(ctx context.Context, log lastReader, first Event) (err error) {
	if v.Finished.Sequence != 0 {
		if err := v.Finished.Decode(&v.End); err != nil {
			return err
		}
		v.Generation = v.End.Generation
	}
	if v.Finished.Type == VideoReopened {
		v.Reopened, v.Finished, v.End = v.Finished, Event{}, Finish{}
		return nil
	}
	if v.Generation > 0 {
		last, err := log.Last(ctx, JobSubject(v.Project, v.ID, notifyName(v.Generation)))
		if err != nil {
			return fmt.Errorf("fold video %s: %w", v.ID, err)
		}
		first = last[0]
	}
	v.Notify, err = FoldJob(first)
	return err
}

// foldFetch reads the fetch job of an upload without a source.
func (v *Video) foldFetch(ctx context.Context, log lastReader) error {
	if v.Upload.Fetch == nil {
		return nil
	}
	last, err := log.Last(ctx, JobSubject(v.Project, v.ID, FetchStep))
	if err != nil {
		return fmt.Errorf("fold video %s: %w", v.ID, err)
	}
	v.Fetch, err = FoldJob(last[0])
	return err
}

// foldPlayable reads how the video became playable. last is the last event of the job that reports it.
func (v *Video) foldPlayable(last Event) (err error) {
	if v.Playable.Sequence == 0 {
		return nil
	}
	if err := v.Playable.Decode(&v.Opened); err != nil {
		return err
	}
	v.NotifyPlayable, err = FoldJob(last)
	return err
}

// foldPlan reads the plan and the last event of each of its jobs.
func (v *Video) foldPlan(ctx context.Context, log lastReader) error {
	var data Inspected
	if err := v.Inspected.Decode(&data); err != nil {
		return err
	}
	v.Plan, v.Verdict = data.Plan, data.Inspection
	subjects := make([]string, len(v.Plan))
	for i, j := range v.Plan {
		subjects[i] = JobSubject(v.Project, v.ID, j.Name)
	}
	if len(subjects) == 0 {
		return nil
	}
	events, err := log.Last(ctx, subjects...)
	if err != nil {
		return fmt.Errorf("fold jobs of %s: %w", v.ID, err)
	}
	return v.foldJobs(v.Plan, events)
}

// foldJobs folds the last event of each job of a plan.
func (v *Video) foldJobs(plan []Job, events []Event) (err error) {
	for i, j := range plan {
		if v.Jobs[j.Name], err = FoldJob(events[i]); err != nil {
			return err
		}
	}
	v.skipBlocked(plan)
	return nil
}

// FoldTask returns the fold of t's job, and whether an attempt at t is still wanted. It is not if the video
// is deleted, nor if the video is canceled and the job is no notify job.
func FoldTask(ctx context.Context, log Log, t Task) (f JobFold, wanted bool, err error) {
	events, err := log.Last(ctx, t.Fences()...)
	if err != nil {
		return JobFold{}, false, err
	}
	f, err = FoldJob(events[0])
	canceled := events[1].Type == VideoCanceled && t.Job.Step != NotifyStep
	return f, events[2].Sequence == 0 && !canceled, err
}

// FoldJob reads the last event of a job; the zero event folds to a pending job.
func FoldJob(last Event) (JobFold, error) {
	f := JobFold{Last: last, State: JobStateOf(last.Type)}
	if last.Sequence == 0 {
		return f, nil
	}
	return f, last.Decode(&f.Data)
}

// skipBlocked marks as skipped the jobs that can never run, because a job that they wait for ended without
// completing. The edges have no cycle, so one pass for each job reaches the end of every chain.
func (v *Video) skipBlocked(plan []Job) {
	for range plan {
		changed := false
		for _, j := range plan {
			f := v.Jobs[j.Name]
			if f.State != StateJobPending || !v.blocked(j) {
				continue
			}
			f.State = StateJobSkipped
			v.Jobs[j.Name] = f
			changed = true
		}
		if !changed {
			return
		}
	}
}

// blocked reports whether a job that j waits for, and does not tolerate, ended without completing.
func (v *Video) blocked(j Job) bool {
	return slices.ContainsFunc(j.After, func(name string) bool {
		s := v.Jobs[name].State
		return s.Terminal() && s != StateJobCompleted && !slices.Contains(j.Tolerates, name)
	})
}

// runnable reports whether every job that j waits for is completed or, where j tolerates it, has ended.
func (v *Video) runnable(j Job) bool {
	return !slices.ContainsFunc(j.After, func(name string) bool {
		s := v.Jobs[name].State
		return s != StateJobCompleted && (!s.Terminal() || !slices.Contains(j.Tolerates, name))
	})
}

// settled reports whether every job of the plan is terminal.
func (v *Video) settled() bool {
	for _, j := range v.Plan {
		if !v.Jobs[j.Name].State.Terminal() {
			return false
		}
	}
	return true
}

// task returns the task of job j for the state that last, the job's last event, left it in. cause is the
// event that made the job due.
func (v *Video) task(j Job, last, cause Event) Task {
	switch {
	case v.Upload.Priority == Bulk, v.Upload.Priority == High && j.priority() == Normal:
		j.Priority = v.Upload.Priority
	}
	if last.Sequence > cause.Sequence {
		cause = last
	}
	source, _ := v.source()
	return Task{
		Cause:   last.Sequence,
		Project: v.Project, Video: v.ID, Job: j, Source: source, Assets: v.Upload.Assets,
		Media: v.Verdict.Media.forTask(), EventID: cause.ID, Trace: cause.TraceParent,
	}
}
