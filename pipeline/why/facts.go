package why

import (
	"slices"
	"strconv"
	"time"

	"github.com/reelmill/reelmill/pipeline"
)

// TimelineLimit is how many events a timeline has at most.
const TimelineLimit = 200

// Facts is what Explain knows besides the read model. Anything may be missing; Explain then says less.
type Facts struct {
	Tasks    []pipeline.Task              // of the jobs that may run, as TasksOf returns them
	Places   map[string]pipeline.Place    // by job; a job that is missing has an unknown place
	Progress map[string]pipeline.Progress // the last report of each job
	Workers  map[string]int               // in how many processes each worker type runs; nil when unknown
	Pauses   map[string]pipeline.Pause    // by worker type: those whose queue is paused

	timeline []Moment
	earlier  int
	last     map[string]lastOfJob
	plan     []pipeline.Job
	// tolerated has, by job, those before it that may fail. Jobs without any are absent.
	tolerated map[string][]string
}

type lastOfJob struct {
	at   time.Time
	kind pipeline.EventType
	data pipeline.JobEvent
}

// Add adds the next event of the video: all its events, in the order of the log. Facts grow with the number
// of jobs, not with that of events.
func (f *Facts) Add(e pipeline.Event) {
	_, _, job, err := pipeline.Address(e.Subject)
	if err != nil {
		return // of no video
	}
	m := Moment{At: e.Time, Event: e.Type, Job: job}
	if job == "" {
		m.Detail = detailOfVideo(e)
		f.addPlan(e)
	} else {
		last := lastOfJob{at: e.Time, kind: e.Type}
		if e.Decode(&last.data) == nil { // an event that cannot be read has no detail
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

// paused reports whether the queue of a worker type is paused.
func (f *Facts) paused(worker string) bool {
	_, paused := f.Pauses[worker]
	return paused
}

func (f *Facts) addPlan(e pipeline.Event) {
	var data struct { // both have it
		Plan []pipeline.Job `json:"plan"`
	}
	switch e.Type {
	case pipeline.VideoInspected, pipeline.VideoOutputsRequested:
	default:
		return
	}
	if e.Decode(&data) != nil {
		return
	}
	if f.tolerated == nil {
		f.tolerated = map[string][]string{}
	}
	f.plan = append(f.plan, data.Plan...)
	for _, j := range data.Plan {
		if len(j.Tolerates) > 0 {
			f.tolerated[j.Name] = j.Tolerates
		}
	}
}

func detailOfVideo(e pipeline.Event) string {
	switch e.Type {
	case pipeline.VideoInspected:
		var data pipeline.Inspected
		switch {
		case e.Decode(&data) != nil:
			return ""
		case data.Verdict == pipeline.VerdictAccept:
			return strconv.Itoa(len(data.Plan)) + " jobs planned"
		case data.Reason != nil:
			return data.Reason.Error()
		}
	case pipeline.VideoOutputsRequested:
		var data pipeline.Addition
		if e.Decode(&data) == nil {
			return "addition " + strconv.Itoa(data.Number) + ": " + strconv.Itoa(len(data.Plan)) + " jobs planned"
		}
	case pipeline.VideoOutputsAdded, pipeline.VideoOutputsFailed, pipeline.VideoOutputsReopened:
		var data pipeline.AdditionEnd
		if e.Decode(&data) == nil {
			detail := "addition " + strconv.Itoa(data.Number) + " is " + string(data.State)
			if data.Problem != nil {
				detail += ": " + data.Problem.Error()
			}
			return detail
		}
	case pipeline.VideoErrored, pipeline.VideoRejected:
		var data pipeline.Finish
		if e.Decode(&data) == nil && data.Problem != nil {
			return data.Problem.Error()
		}
	}
	return ""
}

func detailOfJob(t pipeline.EventType, data pipeline.JobEvent) string {
	attempt := "attempt " + strconv.Itoa(data.Attempt)
	switch t {
	case pipeline.JobStarted:
		return attempt + " on " + data.Process
	case pipeline.JobInterrupted:
		return "given back by " + data.Process
	case pipeline.JobRequeued:
		return "generation " + strconv.Itoa(data.Generation)
	case pipeline.JobRetrying, pipeline.JobErrored:
		if data.Problem != nil {
			return attempt + ": " + data.Problem.Error()
		}
	}
	return ""
}

// notes returns what workers decided about the video when they planned it and when they worked.
func (f Facts) notes() []string {
	notes := []string{}
	for _, j := range f.plan {
		if j.Note != "" {
			notes = append(notes, j.Note)
		}
		if last := f.last[j.Name]; last.kind == pipeline.JobCompleted && last.data.Result != nil {
			if note, ok := last.data.Result.Facts[pipeline.FactNote].(string); ok {
				notes = append(notes, note)
			}
		}
	}
	return notes
}
