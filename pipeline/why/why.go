// Package why explains in words what a video waits for and how it got there. It makes no requests: Explain
// works from the read model and from Facts, which the caller collects.
//
//  1. Facts.Add reads every event of the video in the order of the log. It keeps the end of the timeline and
//     the last event of each job.
//  2. Explain finds the Reason why each job has not ended.
//  3. The summary is the most telling of these reasons, and then what the webhooks wait for.
//
// Facts of different moments may be mixed: a change that has just happened may be missing.
package why

import (
	"fmt"
	"slices"
	"time"

	"github.com/reelmill/reelmill/pipeline"
)

// Reason is why a job has not ended.
type Reason string

// The reasons, the most telling first: the summary of a video is that of its most telling job.
const (
	WorkerMissing Reason = "worker_missing" // nobody runs its worker type
	Stalled       Reason = "stalled"        // neither queued nor scheduled
	Paused        Reason = "paused"         // somebody paused the queue of its worker type
	Retrying      Reason = "retrying"       // an attempt failed, and another is scheduled
	Running       Reason = "running"
	Limited       Reason = "limited" // as many jobs of the project run as may run at once
	Queued        Reason = "queued"
	Blocked       Reason = "blocked" // other jobs must be completed first
)

var reasons = []Reason{
	WorkerMissing, Stalled, Paused, Retrying, Running, Limited, Queued, Blocked,
}

// Why says what a video waits for, and how it came there.
type Why struct {
	Video   string              `json:"video_id"`
	Status  pipeline.VideoState `json:"status" enum:"queued,inspecting,processing,ready,errored,rejected,canceled"`
	Summary string              `json:"summary" doc:"What it waits for, in one sentence for people"`
	Jobs    []WaitingJob        `json:"jobs" nullable:"false" doc:"The jobs that have not ended"`
	// Notes are in the order of the plan, then those of webhooks that were given up.
	Notes []string `json:"notes" nullable:"false" doc:"What was decided about the video, and why; and which webhooks were given up"`
	// Timeline has the last TimelineLimit events.
	Timeline []Moment `json:"timeline" nullable:"false" doc:"The last 200 events, oldest first"`
	Earlier  int      `json:"earlier_events" doc:"How many events before the timeline are left out"`
}

// WaitingJob is a job that has not ended. What is not known is null.
type WaitingJob struct {
	Job       string            `json:"job"`
	Worker    string            `json:"worker" doc:"Worker type"`
	Status    pipeline.JobState `json:"status" enum:"pending,processing,retrying"`
	Reason    Reason            `json:"reason" enum:"queued,running,limited,retrying,blocked,worker_missing,stalled,paused"`
	Detail    string            `json:"detail" doc:"The reason in words"`
	BlockedBy []string          `json:"blocked_by" nullable:"false" doc:"Jobs that must be completed first"`
	Attempt   int               `json:"attempt" doc:"Attempts so far"`
	Position  *int              `json:"position" doc:"Place among the jobs of the project that wait for its worker type and priority; 1 is next. Projects take turns"`
	Progress  *int              `json:"progress" doc:"Percent of the attempt that is done"`
	Speed     *float64          `json:"speed" doc:"Seconds of video made in a second"`
	Process   *string           `json:"process" doc:"The process that runs it, or ran it last"`
	Since     time.Time         `json:"since" doc:"When it came into this state"`
	RetryAt   *time.Time        `json:"retry_at" doc:"When the next attempt is due"`
	Problem   *pipeline.Problem `json:"error" doc:"Of the last failed attempt"`
}

// Moment is one event of a timeline.
type Moment struct {
	At     time.Time          `json:"at"`
	Event  pipeline.EventType `json:"event" doc:"The type of the event"`
	Job    string             `json:"job" doc:"Empty for an event of the video itself"`
	Detail string             `json:"detail" doc:"In words; empty when the event says it all"`
}

// Explain says what a video waits for, from its view, those of its jobs, and facts.
func Explain(view pipeline.VideoView, jobs []pipeline.JobView, facts Facts, now time.Time) Why {
	x := explainer{view: view, jobs: map[string]pipeline.JobView{}, facts: facts, now: now}
	w := Why{
		Video: view.ID, Status: view.Status, Jobs: []WaitingJob{}, Earlier: facts.earlier,
		Timeline: append([]Moment{}, facts.timeline...),
	}
	for _, j := range jobs {
		x.jobs[j.Name] = j
	}
	for _, t := range facts.Tasks { // inspect and notify have no view before they begin
		if _, ok := x.jobs[t.Job.Name]; !ok {
			v := x.unbegun(t.Job)
			x.jobs[v.Name] = v
			jobs = append(jobs[:len(jobs):len(jobs)], v)
		}
	}
	for _, j := range jobs {
		if !j.Status.Terminal() && (!view.Status.Terminal() || j.Step == pipeline.NotifyStep || x.adds(j)) {
			w.Jobs = append(w.Jobs, x.explain(j))
		}
	}
	w.Summary, w.Notes = x.summary(w.Jobs), append(facts.notes(), givenUp(jobs)...)
	return w
}

// adds reports whether a job is of an addition that has not ended.
func (x *explainer) adds(j pipeline.JobView) bool {
	return slices.ContainsFunc(x.view.Additions, func(a pipeline.AdditionView) bool {
		return a.Number == j.Addition && !a.Status.Terminal()
	})
}

type explainer struct {
	view  pipeline.VideoView
	jobs  map[string]pipeline.JobView // by name
	facts Facts
	now   time.Time
}

func (x *explainer) unbegun(j pipeline.Job) pipeline.JobView {
	at := x.view.CreatedAt
	switch {
	case j.Name == pipeline.NotifyPlayable && x.view.PlayableAt != nil:
		at = *x.view.PlayableAt
	case x.view.FinishedAt != nil:
		at = *x.view.FinishedAt
	}
	return pipeline.JobView{
		ID: x.view.ID + "/" + j.Name, Video: x.view.ID, Name: j.Name, Step: j.Step, Worker: j.Worker,
		Status: pipeline.StateJobPending, After: j.After, CreatedAt: at,
	}
}

// enqueueTime is how long a job may be on its way into the queue before it counts as stalled.
const enqueueTime = 5 * time.Second

func (x *explainer) explain(j pipeline.JobView) WaitingJob {
	w := WaitingJob{
		Job: j.Name, Worker: j.Worker, Status: j.Status, BlockedBy: x.blockers(j), Attempt: j.Attempt,
		Since: x.since(j), RetryAt: j.RetryAt, Problem: j.Problem,
	}
	if last, ok := x.facts.last[j.Name]; ok && last.data.Process != "" && j.Attempt > 0 {
		w.Process = &last.data.Process
	}
	place, known := x.facts.Places[j.Name]
	if place.Queued && !place.Taken {
		w.Position = new(place.Ahead + 1)
	}
	if place.DueAt != nil {
		w.RetryAt = place.DueAt
	}
	ahead := 0
	absent := !place.Queued && place.DueAt == nil
	if absent {
		ahead = x.ahead(j)
	}
	lost := known && absent && ahead < pipeline.LeastWindow && x.now.Sub(w.Since) >= enqueueTime
	switch {
	case len(w.BlockedBy) > 0:
		w.Reason = Blocked
	case x.facts.Workers != nil && x.facts.Workers[j.Worker] == 0:
		w.Reason = WorkerMissing
	case lost:
		w.Reason = Stalled
	case j.Status == pipeline.StateJobProcessing:
		w.Reason = Running
		x.addProgress(&w)
	case x.facts.paused(j.Worker) && place.Queued && !place.Taken:
		w.Reason = Paused
	case w.RetryAt != nil && (place.DueAt != nil || x.now.Before(*w.RetryAt)):
		w.Reason = Retrying
	case place.Queued && !place.Taken && place.Limit > 0:
		w.Reason = Limited
	default:
		w.Reason = Queued
	}
	w.Detail = x.detail(w, place, known)
	if w.Reason == Queued && ahead >= pipeline.LeastWindow {
		w.Detail = fmt.Sprintf("%s waits for its turn behind %d earlier jobs of the video", w.Job, ahead)
	}
	return w
}

// ahead returns how many jobs of the video have their turn before a job that has not begun (fanout.go); 0 for
// a job that needs no turn. With LeastWindow or more jobs ahead, it may well have no task yet.
func (x *explainer) ahead(j pipeline.JobView) (n int) {
	last, begun := x.facts.last[j.Name]
	if j.Status != pipeline.StateJobPending || begun && last.kind != pipeline.JobRequeued {
		return 0
	}
	for _, p := range x.facts.plan {
		before := x.jobs[p.Name]
		switch {
		case p.Name == j.Name && p.Priority == pipeline.High:
			return 0
		case p.Name == j.Name:
			return n
		case p.Worker != j.Worker, p.Priority == pipeline.High, before.Name == "", before.Status.Terminal():
		case len(x.blockers(before)) == 0:
			n++
		}
	}
	return 0 // the plan is not known
}

// blockers returns the jobs that a pending job waits for: those before it that are not completed and, where
// it tolerates their failure, have not ended.
func (x *explainer) blockers(j pipeline.JobView) []string {
	blockers := []string{}
	tolerated := x.facts.tolerated[j.Name]
	for _, a := range j.After {
		before := x.jobs[a]
		ended := before.Status == pipeline.StateJobCompleted || slices.Contains(tolerated, a) && x.over(before)
		if j.Status == pipeline.StateJobPending && !ended {
			blockers = append(blockers, a)
		}
	}
	return blockers
}

// over reports whether a job runs no more: it has ended, or it is pending behind a job that ended without
// completing. The read model calls the latter skipped once the video has ended.
func (x *explainer) over(j pipeline.JobView) bool {
	if j.Status != pipeline.StateJobPending {
		return j.Status.Terminal()
	}
	tolerated := x.facts.tolerated[j.Name]
	return slices.ContainsFunc(j.After, func(a string) bool {
		before := x.jobs[a]
		return before.Status != pipeline.StateJobCompleted && !slices.Contains(tolerated, a) && x.over(before)
	})
}

// since returns when the job got into its present state: its last event, or the end of the last job before
// it.
func (x *explainer) since(j pipeline.JobView) time.Time {
	if last, ok := x.facts.last[j.Name]; ok {
		return last.at
	}
	at := j.CreatedAt
	if j.StartedAt != nil {
		at = *j.StartedAt
	}
	for _, a := range j.After {
		if end := x.jobs[a].FinishedAt; end != nil && end.After(at) {
			at = *end
		}
	}
	return at
}

func (x *explainer) addProgress(w *WaitingJob) {
	p, ok := x.facts.Progress[w.Job]
	if !ok || p.Attempt != w.Attempt {
		return
	}
	w.Progress = new(int(100 * min(max(p.Fraction, 0), 1)))
	if p.Speed > 0 {
		w.Speed = &p.Speed
	}
}
