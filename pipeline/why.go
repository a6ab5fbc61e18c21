package pipeline

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// WaitReason says why a job has not ended.
type WaitReason string

// The reasons, the most telling first: the summary of a video is that of its most telling job.
const (
	WaitWorkerMissing WaitReason = "worker_missing" // nobody runs its worker type
	WaitStalled       WaitReason = "stalled"        // neither queued nor scheduled
	WaitRetrying      WaitReason = "retrying"       // an attempt failed, and another is scheduled
	WaitRunning       WaitReason = "running"
	WaitQueued        WaitReason = "queued"
	WaitBlocked       WaitReason = "blocked" // other jobs must be completed first
)

var waitReasons = []WaitReason{
	WaitWorkerMissing, WaitStalled, WaitRetrying, WaitRunning, WaitQueued, WaitBlocked,
}

// Why says what a video waits for, and how it came there.
type Why struct {
	Video   string       `json:"video_id"`
	Status  VideoState   `json:"status" enum:"queued,inspecting,processing,ready,errored,rejected,canceled"`
	Summary string       `json:"summary" doc:"What it waits for, in one sentence for people"`
	Jobs    []WaitingJob `json:"jobs" nullable:"false" doc:"The jobs that have not ended"`
	// Notes are in the order of the plan, then those of webhooks that were given up.
	Notes []string `json:"notes" nullable:"false" doc:"What was decided of the video, and why; and which webhook was given up"`
	// Timeline has the last TimelineLimit events.
	Timeline []Moment `json:"timeline" nullable:"false" doc:"The last 200 events, oldest first"`
	Earlier  int      `json:"earlier_events" doc:"How many events before the timeline are left out"`
}

// WaitingJob is a job that has not ended. What is not known is null.
type WaitingJob struct {
	Job       string     `json:"job"`
	Worker    string     `json:"worker" doc:"Worker type"`
	Status    JobState   `json:"status" enum:"pending,processing,retrying"`
	Reason    WaitReason `json:"reason" enum:"queued,running,retrying,blocked,worker_missing,stalled"`
	Detail    string     `json:"detail" doc:"The reason in words"`
	BlockedBy []string   `json:"blocked_by" nullable:"false" doc:"Jobs that must be completed first"`
	Attempt   int        `json:"attempt" doc:"Attempts so far"`
	Position  *int       `json:"position" doc:"Place in the queue of its worker type and priority; 1 is next"`
	Progress  *int       `json:"progress" doc:"Percent of the attempt that is done"`
	Speed     *float64   `json:"speed" doc:"Seconds of video made in a second"`
	Process   *string    `json:"process" doc:"The process that runs it, or ran it last"`
	Since     time.Time  `json:"since" doc:"When it came into this state"`
	RetryAt   *time.Time `json:"retry_at" doc:"When the next attempt is due"`
	Problem   *Problem   `json:"error" doc:"Of the last failed attempt"`
}

// Moment is one event of a timeline.
type Moment struct {
	At     time.Time `json:"at"`
	Event  EventType `json:"event" doc:"The type of the event"`
	Job    string    `json:"job" doc:"Empty for an event of the video itself"`
	Detail string    `json:"detail" doc:"In words; empty when the event says it all"`
}

// TimelineLimit is how many events a timeline has at most.
const TimelineLimit = 200

// WhyFacts is what Explain knows beside the read model. Anything may be missing; then less is said.
type WhyFacts struct {
	Tasks    []Task              // of the jobs that may run, as TasksOf returns them
	Places   map[string]Place    // by job; a job that is missing has an unknown place
	Progress map[string]Progress // the last report of each job
	Workers  map[string]int      // worker types that are there, and in how many processes; nil when unknown

	timeline []Moment
	earlier  int
	last     map[string]lastOfJob
	plan     []Job
}

type lastOfJob struct {
	at   time.Time
	kind EventType
	data JobEvent
}

// Add tells the facts of the next event of the video: all its events are added in the order of the log.
// What is kept does not grow with their number, but with that of its jobs.
func (f *WhyFacts) Add(e Event) {
	_, _, job, err := Address(e.Subject)
	if err != nil {
		return // of no video
	}
	m := Moment{At: e.Time, Event: e.Type, Job: job}
	if job == "" {
		m.Detail = detailOfVideo(e)
		f.addPlan(e)
	} else {
		last := lastOfJob{at: e.Time, kind: e.Type}
		if e.Decode(&last.data) == nil { // one that is not read has no detail
			m.Detail = detailOfJob(e.Type, last.data)
		}
		if f.last == nil {
			f.last = map[string]lastOfJob{}
		}
		f.last[job] = last
	}
	if len(f.timeline) == TimelineLimit {
		f.timeline = slices.Delete(f.timeline, 0, 1)
		f.earlier++
	}
	f.timeline = append(f.timeline, m)
}

func (f *WhyFacts) addPlan(e Event) {
	var data Inspected
	if e.Type == VideoInspected && e.Decode(&data) == nil {
		f.plan = data.Plan
	}
}

func detailOfVideo(e Event) string {
	switch e.Type {
	case VideoInspected:
		var data Inspected
		switch {
		case e.Decode(&data) != nil:
			return ""
		case data.Verdict == VerdictAccept:
			return strconv.Itoa(len(data.Plan)) + " jobs planned"
		case data.Reason != nil:
			return data.Reason.Error()
		}
	case VideoErrored, VideoRejected:
		var data Finish
		if e.Decode(&data) == nil && data.Problem != nil {
			return data.Problem.Error()
		}
	}
	return ""
}

func detailOfJob(t EventType, data JobEvent) string {
	attempt := "attempt " + strconv.Itoa(data.Attempt)
	switch t {
	case JobStarted:
		return attempt + " on " + data.Process
	case JobInterrupted:
		return "given back by " + data.Process
	case JobRequeued:
		return "generation " + strconv.Itoa(data.Generation)
	case JobRetrying, JobErrored:
		if data.Problem != nil {
			return attempt + ": " + data.Problem.Error()
		}
	}
	return ""
}

// TasksOf returns the tasks of those jobs of a video that may be on their way to a worker, or with one, as
// they were enqueued; but the cause is that of the job's last event, and URLs in a webhook are paths. Those
// that only wait for their turn (fanout.go) are among them. None for a video that is not there.
func TasksOf(ctx context.Context, log Log, project, video string) ([]Task, error) {
	v, err := Fold(ctx, log, project, video)
	if err != nil {
		return nil, err
	}
	return v.due("")
}

// Explain says what a video waits for, from its view, those of its jobs, and facts. It is pure: the facts may
// be of slightly different moments, so what has just changed may be told as it was.
func Explain(view VideoView, jobs []JobView, facts WhyFacts, now time.Time) Why {
	x := explainer{view: view, jobs: map[string]JobView{}, facts: facts, now: now}
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
		if !j.Status.Terminal() && (!view.Status.Terminal() || j.Step == notifyJob) {
			w.Jobs = append(w.Jobs, x.explain(j))
		}
	}
	w.Summary, w.Notes = x.summary(w.Jobs), append(facts.notes(), givenUp(jobs)...)
	return w
}

// givenUp says of each webhook that is tried no more how often it was, and what its receiver answered last.
func givenUp(jobs []JobView) []string {
	var notes []string
	for _, j := range jobs {
		if j.Step == notifyJob && j.Status == JobStateErrored && j.Problem != nil {
			notes = append(notes, fmt.Sprintf(
				"%s is tried no more, after %s (%s): `reelmill jobs retry %s` tries again",
				j.Name, attempts(j.Attempt), j.Problem.Error(), j.ID))
		}
	}
	return notes
}

func attempts(n int) string {
	if n == 1 {
		return "1 attempt"
	}
	return strconv.Itoa(n) + " attempts"
}

// notes are what workers decided of the video when its plan was made, and when they worked.
func (f WhyFacts) notes() []string {
	notes := []string{}
	for _, j := range f.plan {
		if j.Note != "" {
			notes = append(notes, j.Note)
		}
		if last := f.last[j.Name]; last.kind == JobCompleted && last.data.Result != nil {
			if note, ok := last.data.Result.Facts[FactNote].(string); ok {
				notes = append(notes, note)
			}
		}
	}
	return notes
}

type explainer struct {
	view  VideoView
	jobs  map[string]JobView // by name
	facts WhyFacts
	now   time.Time
}

func (x *explainer) unbegun(j Job) JobView {
	at := x.view.CreatedAt
	switch {
	case j.Name == notifyPlayable && x.view.PlayableAt != nil:
		at = *x.view.PlayableAt
	case x.view.FinishedAt != nil:
		at = *x.view.FinishedAt
	}
	return JobView{
		ID: x.view.ID + "/" + j.Name, Video: x.view.ID, Name: j.Name, Step: j.Step, Worker: j.Worker,
		Status: JobPending, After: j.After, CreatedAt: at,
	}
}

// enqueueTime is how long a job may be on its way into the queue before it counts as stalled.
const enqueueTime = 5 * time.Second

func (x *explainer) explain(j JobView) WaitingJob {
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
	lost := known && absent && ahead < leastWindow && x.now.Sub(w.Since) >= enqueueTime
	switch {
	case len(w.BlockedBy) > 0:
		w.Reason = WaitBlocked
	case x.facts.Workers != nil && x.facts.Workers[j.Worker] == 0:
		w.Reason = WaitWorkerMissing
	case lost:
		w.Reason = WaitStalled
	case j.Status == JobProcessing:
		w.Reason = WaitRunning
		x.addProgress(&w)
	case w.RetryAt != nil && (place.DueAt != nil || x.now.Before(*w.RetryAt)):
		w.Reason = WaitRetrying
	default:
		w.Reason = WaitQueued
	}
	w.Detail = x.detail(w, place, known)
	if w.Reason == WaitQueued && ahead >= leastWindow {
		w.Detail = fmt.Sprintf("%s waits for its turn behind %d earlier jobs of the video", w.Job, ahead)
	}
	return w
}

// ahead returns how many jobs of the video have their turn before a job that was not begun (fanout.go); 0 for
// one that needs no turn. With leastWindow of them or more it may well have no task yet.
func (x *explainer) ahead(j JobView) (n int) {
	last, begun := x.facts.last[j.Name]
	if j.Status != JobPending || begun && last.kind != JobRequeued {
		return 0
	}
	for _, p := range x.facts.plan {
		before := x.jobs[p.Name]
		switch {
		case p.Name == j.Name && p.priority() == High:
			return 0
		case p.Name == j.Name:
			return n
		case p.Worker != j.Worker, p.priority() == High, before.Name == "", before.Status.Terminal():
		case len(x.blockers(before)) == 0:
			n++
		}
	}
	return 0 // of no plan that is known
}

// blockers returns the jobs that must be completed before a pending job, and are not.
func (x *explainer) blockers(j JobView) []string {
	blockers := []string{}
	for _, a := range j.After {
		if j.Status == JobPending && x.jobs[a].Status != JobStateCompleted {
			blockers = append(blockers, a)
		}
	}
	return blockers
}

// since returns when the job came to be as it is: its last event, or the end of the last job before it.
func (x *explainer) since(j JobView) time.Time {
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

// detail is the reason in words.
func (x *explainer) detail(w WaitingJob, place Place, known bool) string {
	switch w.Reason {
	case WaitBlocked:
		return w.Job + " waits for " + enumerate(w.BlockedBy)
	case WaitWorkerMissing:
		return "nobody runs the worker type " + w.Worker + ": start a worker that has it"
	case WaitStalled:
		return w.Job + " is neither queued nor scheduled: the sweeper will enqueue it within two minutes"
	case WaitRunning:
		text := w.Job + " has run for " + span(x.now.Sub(w.Since))
		if w.Process != nil {
			text += " on " + *w.Process
		}
		if w.Progress != nil {
			text += ", " + strconv.Itoa(*w.Progress) + " %"
		}
		return text
	case WaitRetrying:
		text := w.Job + " failed"
		if w.Problem != nil {
			text += " (" + w.Problem.Error() + ")"
		}
		return text + " and is tried again in " + span(w.RetryAt.Sub(x.now)) + ", " + x.nextAttempt(w)
	}
	switch {
	case w.Position != nil && *w.Position == 1:
		return w.Job + " is next in the queue of " + w.Worker
	case w.Position != nil:
		return w.Job + " is the " + ordinal(*w.Position) + " in the queue of " + w.Worker
	case x.facts.last[w.Job].kind == JobInterrupted:
		return w.Job + " was given back unfinished, and is soon taken again"
	case place.Taken:
		return w.Job + " is with a worker of " + w.Worker + ", which is about to begin"
	case known:
		return w.Job + " is about to be queued"
	}
	return w.Job + " waits for a worker of " + w.Worker
}

// nextAttempt is "attempt 3 of 5"; how many there are is known when the job itself says so.
func (x *explainer) nextAttempt(w WaitingJob) string {
	text := "attempt " + strconv.Itoa(w.Attempt+1)
	i := slices.IndexFunc(x.facts.Tasks, func(t Task) bool { return t.Job.Name == w.Job })
	last, ok := x.facts.last[w.Job]
	if i < 0 || !ok || len(x.facts.Tasks[i].Job.Retry) == 0 {
		return text
	}
	left := len(x.facts.Tasks[i].Job.Retry) + 1 - last.data.Failed
	return text + " of " + strconv.Itoa(w.Attempt+max(1, left))
}

// summary is the most telling of the jobs, or the end of the video; and what its webhooks wait for, which
// hold nothing up.
func (x *explainer) summary(all []WaitingJob) string {
	var jobs, webhooks []WaitingJob
	for _, j := range all {
		if x.jobs[j.Job].Step == notifyJob {
			webhooks = append(webhooks, j)
		} else {
			jobs = append(jobs, j)
		}
	}
	text := x.standing(jobs)
	for _, j := range webhooks {
		text += "; " + j.Detail
	}
	return text
}

// standing is the summary without webhooks.
func (x *explainer) standing(jobs []WaitingJob) string {
	if x.view.Status.Terminal() {
		text := "it is " + string(x.view.Status)
		if x.view.FinishedAt != nil {
			text = "it has been " + string(x.view.Status) + " since " + x.view.FinishedAt.UTC().Format(time.RFC3339)
		}
		if x.view.Problem != nil {
			text += " (" + x.view.Problem.Error() + ")"
		}
		return text
	}
	if len(jobs) == 0 {
		return "every job that is planned has ended: the next step is about to follow"
	}
	first := slices.MinFunc(jobs, func(a, b WaitingJob) int {
		return slices.Index(waitReasons, a.Reason) - slices.Index(waitReasons, b.Reason)
	})
	switch others := len(jobs) - 1; others {
	case 0:
		return first.Detail
	case 1:
		return first.Detail + "; 1 other job has not ended"
	default:
		return fmt.Sprintf("%s; %d other jobs have not ended", first.Detail, others)
	}
}

// enumerated is how many names are written out.
const enumerated = 3

func enumerate(names []string) string {
	if len(names) <= enumerated {
		return strings.Join(names, ", ")
	}
	return strings.Join(names[:enumerated], ", ") + fmt.Sprintf(" and %d more", len(names)-enumerated)
}

// ordinal is 2nd, 3rd, 11th.
func ordinal(n int) string {
	suffix := "th"
	if n/10%10 != 1 {
		switch n % 10 {
		case 1:
			suffix = "st"
		case 2:
			suffix = "nd"
		case 3:
			suffix = "rd"
		}
	}
	return strconv.Itoa(n) + suffix
}

// span is a duration for people: 58 s, 3 min 5 s, 2 h 10 min.
func span(d time.Duration) string {
	s := int(max(0, d.Round(time.Second)) / time.Second)
	switch {
	case s < 60:
		return fmt.Sprintf("%d s", s)
	case s < 3600:
		return fmt.Sprintf("%d min %d s", s/60, s%60)
	}
	return fmt.Sprintf("%d h %d min", s/3600, s/60%60)
}
