package pipeline

import (
	"encoding/json"
	"slices"
	"time"
)

// Priority orders the tasks of one worker type.
type Priority string

// The priorities. High is for what somebody waits for: inspection, thumbnails, packaging.
const (
	High   Priority = "high"
	Normal Priority = "normal"
	Bulk   Priority = "bulk"
)

// Priorities lists them in the order in which they are served.
var Priorities = []Priority{High, Normal, Bulk}

// Job is one unit of work for one worker type, as a worker's Plan returns it and the plan of a video holds
// it.
type Job struct {
	// Name is unique in the plan and derived, so planning twice gives the same names: the step's name, or the
	// step's name, a hyphen and the part (transcode-0003). A worker's Plan returns the part alone, or nothing.
	Name   string `json:"name"`
	Step   string `json:"step"`   // the pipeline's step that planned it
	Worker string `json:"worker"` // the worker type that runs it

	// Params are the step's parameters, as the pipeline and the upload gave them.
	Params json.RawMessage `json:"params,omitempty"`
	// Part is what Plan tells Work about this one job; nobody else looks inside.
	Part json.RawMessage `json:"part,omitempty"`

	// After names the jobs that must be completed first: in a frozen plan by name, in what a worker's Plan
	// returns by part, jobs of the same step alone.
	After []string `json:"after,omitempty"`
	// Tolerates names those of After that may fail: the job waits until they have ended, completed or not. They
	// are the optional jobs that make what it Needs. NewPlan sets it.
	Tolerates []string `json:"tolerates,omitempty"`
	// Makes holds the kinds of output that the job makes for jobs of other steps. Needs holds the kinds that it
	// reads: it waits for every job of the plan that makes one of them, whatever its step, and for nothing when
	// no job does. NewPlan turns Needs into After, so that a frozen plan has neither.
	Makes []OutputKind `json:"-"`
	Needs []OutputKind `json:"-"`
	// Renditions are the folders of the renditions of which the job makes segments, such as 720p. A worker's
	// Plan returns them. NewPlan turns them into Expects, so that a frozen plan has none.
	Renditions []string `json:"-"`
	// Expects are the folders, sorted, of the renditions that the job must find: all that other jobs make of the
	// kinds it Needs. NewPlan sets it. Empty: unknown, as in plans of earlier versions.
	Expects []string `json:"expects,omitempty"`
	// Folder is the folder below the video that the paths of the job's outputs begin with. NewPlan sets it for a
	// step if an earlier step has its worker type or makes one of its renditions. Empty: the video's own folder.
	Folder string `json:"folder,omitempty"`

	Priority Priority `json:"priority,omitempty"` // Normal when empty
	// Optional jobs that fail leave a warning, and the video can be ready. The jobs that tolerate that run
	// without their outputs. The others after them are skipped, and if one of those is required, the video is
	// errored.
	Optional bool `json:"optional,omitempty"`
	// Opener marks a job that playback waits for: the video is playable once all openers of its plan are
	// completed and one has made a rendition, or at the latest when a manifest is published.
	Opener  bool    `json:"opener,omitempty"`
	Weight  int     `json:"weight,omitempty"`  // its share of the planned work, for progress; 1 when 0
	Timeout Seconds `json:"timeout,omitempty"` // of one attempt; 0: the worker loop's default
	// Note is what Plan decided about the video, in words for its owner; GET /v1/videos/{id}/why shows it.
	Note string `json:"note,omitempty"`
	// Retry holds the delays before the second, third, ... attempt, and so limits their number; empty: the
	// worker loop's default.
	Retry []Seconds `json:"retry,omitempty"`
	// Scratch is how many bytes an attempt may need on the scratch disk, besides a copy of its source; 0:
	// unknown. The attempt waits until the disk has room for them.
	Scratch int64 `json:"scratch,omitempty"`
}

// required returns those of After that must be completed.
func (j Job) required() []string {
	return slices.DeleteFunc(slices.Clone(j.After), func(name string) bool {
		return slices.Contains(j.Tolerates, name)
	})
}

func (j Job) priority() Priority {
	if j.Priority == "" {
		return Normal
	}
	return j.Priority
}

// Seconds is a duration that is a number of seconds in JSON.
type Seconds float64

// Duration returns s as a time.Duration.
func (s Seconds) Duration() time.Duration { return time.Duration(float64(s) * float64(time.Second)) }

// JobState is the state of a job, drawn once:
//
//	pending -> processing -> completed
//	              |  ^  \--> errored
//	              v  |
//	           retrying
//
// Canceled comes from any state that is not terminal, skipped from pending when a job before it failed.
// A requeued job is pending again: its next generation.
type JobState string

// The states of a job. Completed, errored, canceled and skipped are terminal.
const (
	StateJobPending    JobState = "pending"
	StateJobProcessing JobState = "processing"
	StateJobRetrying   JobState = "retrying"
	StateJobCompleted  JobState = "completed"
	StateJobErrored    JobState = "errored"
	StateJobCanceled   JobState = "canceled"
	StateJobSkipped    JobState = "skipped"
)

// Terminal reports whether a job in this state changes no more.
func (s JobState) Terminal() bool {
	switch s {
	case StateJobCompleted, StateJobErrored, StateJobCanceled, StateJobSkipped:
		return true
	}
	return false
}

// JobStateOf returns the state that the last event of a job leaves it in; empty for a type that is not a
// job's.
func JobStateOf(t EventType) JobState {
	switch t {
	case "", JobInterrupted, JobRequeued:
		return StateJobPending
	case JobStarted:
		return StateJobProcessing
	case JobRetrying:
		return StateJobRetrying
	case JobCompleted:
		return StateJobCompleted
	case JobErrored:
		return StateJobErrored
	case JobCanceled:
		return StateJobCanceled
	}
	return ""
}

// FactNote is the key of a fact: a sentence on what a completed job decided about the video.
const FactNote = "note"

// JobEvent is the data of every job.* event.
type JobEvent struct {
	Job     string `json:"job"`
	Step    string `json:"step"`
	Worker  string `json:"worker"`  // the worker type
	Process string `json:"process"` // the process that wrote the event

	Attempt int    `json:"attempt"`          // from 1; counts every start that was not given back
	Failed  int    `json:"failed,omitempty"` // attempts that ended in an error
	Lost    int    `json:"lost,omitempty"`   // attempts that ended without an outcome
	Owner   uint64 `json:"owner,omitempty"`  // stream sequence of the task message that the attempt belongs to
	Token   uint64 `json:"token,omitempty"`  // sequence of the attempt's job.started; 0 in job.started itself
	// Generation counts how often the job was requeued after it had errored or was canceled. Attempt counts on,
	// Failed and Lost begin anew.
	Generation int `json:"generation,omitempty"`
	// Reason is why somebody requeued the job, in job.requeued; empty when they did not say.
	Reason string `json:"reason,omitempty"`

	// Failure is the code and detail of the last failed attempt, if its outputs were wrong and the machine was
	// not at fault. An attempt that fails in the same way is the last.
	Failure string `json:"failure,omitempty"`

	Result  *Result    `json:"result,omitempty"`   // of job.completed
	Problem *Problem   `json:"problem,omitempty"`  // of job.retrying and job.errored
	RetryAt *time.Time `json:"retry_at,omitempty"` // of job.retrying
}

// Result is what a completed job leaves behind.
type Result struct {
	Outputs []Output `json:"outputs,omitempty"`
	// Inspection is the finding of an inspect job, and of no other.
	Inspection *Inspection `json:"inspection,omitempty"`
	// Source is what a fetch job stored, and no other: the source of the video. It is no output, so it is not
	// played. Its key is below the prefix of the attempt, as that of an output.
	Source *Object `json:"source,omitempty"`
	// Decision is what the job decided for the jobs after it; nil when it decided nothing.
	Decision *Decision `json:"decision,omitempty"`
	// Facts are numbers and words that are shown to people with the job; no job reads them. What the job decided
	// about the video is in FactNote.
	Facts map[string]any `json:"facts,omitempty"`
}

// Decision is what a job decided about the outputs of its result. Jobs that make more of the same outputs,
// such as the later segments of a rendition, follow it.
type Decision struct {
	// Copied says that the outputs hold the source's own video or audio, not encoded again.
	Copied bool `json:"copied"`
}
