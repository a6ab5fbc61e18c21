package pipeline

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"strconv"
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

	// After names what must be completed first: jobs of the same step by part, or other steps by name, meaning
	// all their jobs. A step that the plan does not hold is no obstacle. In a frozen plan only job names are
	// left.
	After []string `json:"after,omitempty"`

	Priority Priority `json:"priority,omitempty"` // Normal when empty
	Optional bool     `json:"optional,omitempty"` // its failure leaves a warning, and the video can be ready
	// Opener marks a job that playback waits for: the video is playable once all openers of its plan are
	// completed, at the latest when a manifest is out.
	Opener  bool    `json:"opener,omitempty"`
	Weight  int     `json:"weight,omitempty"`  // its share of the planned work, for progress; 1 when 0
	Timeout Seconds `json:"timeout,omitempty"` // of one attempt; 0: the worker loop's default
	// Note is what Plan decided of the video, in words for its owner; GET /v1/videos/{id}/why tells it.
	Note string `json:"note,omitempty"`
	// Retry holds the delays before the second, third, ... attempt, and so how many there are; empty: the worker
	// loop's default.
	Retry []Seconds `json:"retry,omitempty"`
	// Scratch is how many bytes an attempt may need on the scratch disk, besides a copy of its source; 0:
	// unknown. An attempt is not begun before the disk has them.
	Scratch int64 `json:"scratch,omitempty"`
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

// FactNote is the fact of a completed job that holds a sentence on what it decided of the video.
const FactNote = "note"

// JobEvent is the data of every job.* event.
type JobEvent struct {
	Job     string `json:"job"`
	Step    string `json:"step"`
	Worker  string `json:"worker"`  // the worker type
	Process string `json:"process"` // the process that wrote the event

	Attempt int    `json:"attempt"`          // from 1; counts every start that was not given back
	Failed  int    `json:"failed,omitempty"` // attempts that ended in an error
	Lost    int    `json:"lost,omitempty"`   // attempts that ended without a word
	Owner   uint64 `json:"owner,omitempty"`  // stream sequence of the task message that the attempt belongs to
	Token   uint64 `json:"token,omitempty"`  // sequence of the attempt's job.started; 0 in job.started itself
	// Generation counts how often the job was requeued after it had errored. Attempt counts on, Failed and Lost
	// begin anew.
	Generation int `json:"generation,omitempty"`

	// Failure is the code and detail of the last failed attempt, where its outputs were wrong and not the
	// machine: an attempt that fails in the same way is the last.
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
	// Facts are for people: numbers and words that a worker wants shown with its job. What it decided of the
	// video stands in FactNote.
	Facts map[string]any `json:"facts,omitempty"`
}

// OutputKind says what an output is for.
type OutputKind string

// The kinds of output. A worker type may add its own.
const (
	KindManifest       OutputKind = "manifest"        // what a player opens: master.m3u8
	KindPlaylist       OutputKind = "playlist"        // an HLS media playlist
	KindRendition      OutputKind = "rendition"       // the video segments of one rung
	KindAudioRendition OutputKind = "audio_rendition" // the audio segments of one track
	KindInit           OutputKind = "init"            // a CMAF header (EXT-X-MAP)
	KindIndex          OutputKind = "index"           // what a worker wrote for a later job
	KindAudio          OutputKind = "audio"           // a progressive audio file
	KindVideo          OutputKind = "video"           // a progressive video file
	KindPoster         OutputKind = "poster"
	KindStoryboard     OutputKind = "storyboard"
)

// Output is one thing in the store that a completed job stands for. It was verified before the job was
// completed.
type Output struct {
	Name string     `json:"name"` // for people, and to tell outputs of a kind apart: 720p, poster, audio-eng
	Kind OutputKind `json:"kind"`
	// Path is where the output is played from, below the video: master.m3u8, 720p/init.mp4. With Segments it
	// holds the verb of SegmentName, as 720p/seg_%05d.m4s.
	Path string `json:"path"`
	// Key is the object's key, with the same verb where Path has one.
	Key         string    `json:"key"`
	ContentType string    `json:"content_type"`
	Size        int64     `json:"size"`               // bytes, of all segments together
	SHA256      string    `json:"sha256,omitempty"`   // hex; of the one object, empty with Segments
	Segments    *Segments `json:"segments,omitempty"` // set when the output is a run of numbered objects

	Duration         float64 `json:"duration,omitempty"` // seconds
	Width            int     `json:"width,omitempty"`
	Height           int     `json:"height,omitempty"`
	FrameRate        float64 `json:"frame_rate,omitempty"`
	Codecs           string  `json:"codecs,omitempty"`            // RFC 6381
	Bandwidth        int64   `json:"bandwidth,omitempty"`         // bits/s, peak over segments
	AverageBandwidth int64   `json:"average_bandwidth,omitempty"` // bits/s
	Language         string  `json:"language,omitempty"`          // BCP 47 or ISO 639, und when unknown
	Channels         int     `json:"channels,omitempty"`
}

// Segments is a run of numbered objects. Several jobs may each make a run of one rendition: their outputs
// have the same Path, and runs that do not overlap.
type Segments struct {
	First int `json:"first"`
	Count int `json:"count"`
	// Durations are those of the segments, in seconds, one for each; empty where nothing is listed before the
	// whole is.
	Durations []float64 `json:"durations,omitempty"`
	Last      bool      `json:"last,omitempty"` // the run ends the rendition
	// Longest is how long a segment of the rendition is at most, in seconds, in whatever run: playlists say so
	// from their first text on. 0: as long as those that are known.
	Longest float64 `json:"longest,omitempty"`
	// Header names what a decoder is set up with: runs of a rendition play with one init section when it is
	// equal.
	Header string `json:"header,omitempty"`
}

// SegmentVerb is the one verb of a path or key with Segments.
const SegmentVerb = "%05d"

// Task is the message that brings a job to a worker. It holds what the attempt needs to know, so that a
// worker in any language can do without the log's history.
type Task struct {
	Project string `json:"project"`
	Video   string `json:"video"`
	Job     Job    `json:"job"`
	// Cause is the sequence of the job event that the task was made for: 0 for the first, later the
	// job.retrying or job.requeued. A task is valid only for the state it was made for.
	Cause   uint64            `json:"cause"`
	Source  Object            `json:"source"`
	Assets  map[string]Object `json:"assets,omitempty"` // further objects of the upload, by name: watermark
	Media   *Media            `json:"media,omitempty"`  // nil for the inspect job
	EventID string            `json:"event_id"`         // of the event that led to the task
	Trace   string            `json:"traceparent"`
}

// Subject is where the task stands: task.<type>.<priority>.<lane>.<project>.<video>.<job>.
func (t Task) Subject() string {
	return "task." + t.Job.Worker + "." + string(t.Job.priority()) + "." + Lane(t.Project) + "." +
		t.Project + "." + t.Video + "." + t.Job.Name
}

// Fences returns the subjects whose next event may end an attempt at the task: those of its job, and of the
// end and the deletion of its video.
func (t Task) Fences() []string {
	return []string{t.JobSubject(), FinishedSubject(t.Project, t.Video), DeletedSubject(t.Project, t.Video)}
}

// JobSubject is the subject of the task's job in the log.
func (t Task) JobSubject() string { return JobSubject(t.Project, t.Video, t.Job.Name) }

// Lanes is how many lanes the tasks of one priority are spread over.
const Lanes = 8

// Lane returns the lane of a project: a project fills at most its own.
func Lane(project string) string {
	h := fnv.New32a()
	h.Write([]byte(project))
	return strconv.Itoa(int(h.Sum32() % Lanes))
}

func (j Job) priority() Priority {
	if j.Priority == "" {
		return Normal
	}
	return j.Priority
}

// DeadLetter is a task that nobody will try again by itself, with all that is needed to see why and to
// redrive it.
type DeadLetter struct {
	// ID names the letter to those who redrive or discard it; set by the queue when it is read.
	ID       string            `json:"id,omitempty"`
	Task     Task              `json:"task"`
	Subject  string            `json:"subject"` // of the task message
	Headers  map[string]string `json:"headers,omitempty"`
	Problem  Problem           `json:"problem"`
	Attempts int               `json:"attempts"`
	Token    uint64            `json:"token"` // the sequence of the job.errored event
	Time     time.Time         `json:"time"`
	// Raw holds a message that was no task, as it was; Task is zero then, and nothing can redrive it.
	Raw []byte `json:"raw,omitempty"`
}

// Subject is where the dead letter stands: once per generation of the job, which is its cause.
func (d DeadLetter) DeadSubject() string {
	t := d.Task
	return fmt.Sprintf("dead.%s.%s.%s.%s.%d", t.Job.Worker, t.Project, t.Video, t.Job.Name, d.Token)
}

// Place is where the queue has a job.
type Place struct {
	Queued bool // a task waits, or is held by the worker that took it
	Taken  bool // a worker has it; false while it waits
	// Ahead is how many tasks of the same worker type, priority and lane wait before this one; 0 when Taken.
	Ahead int
	DueAt *time.Time // when its retry becomes a task; nil when none is scheduled
}

// Progress is how far an attempt is. It is told live, at most twice a second, and never kept.
type Progress struct {
	Video    string  `json:"video"`
	Job      string  `json:"job"`
	Attempt  int     `json:"attempt"`
	Fraction float64 `json:"fraction"`        // 0 to 1; never falls within an attempt
	Speed    float64 `json:"speed,omitempty"` // seconds of video per second
	Note     string  `json:"note,omitempty"`
}
