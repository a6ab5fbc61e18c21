package pipeline

import (
	"context"
	"slices"
	"strconv"
	"time"
)

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
