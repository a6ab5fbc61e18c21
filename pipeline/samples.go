package pipeline

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"
	"unicode/utf8"
)

// Metric is what a Sample measures.
type Metric string

// The metrics. Each sample is one event's.
const (
	MetricUploaded Metric = "uploaded" // a video was uploaded; no value
	MetricReady    Metric = "ready"    // a video became ready; seconds since its upload
	MetricPlayable Metric = "playable" // a video became playable; seconds since its upload
	MetricFailed   Metric = "failed"   // a video ended errored or rejected; Label is the code of its problem
	MetricCanceled Metric = "canceled" // a video was canceled; no value
	// MetricAttemptFailed: an attempt at a job failed; Label is the code of its problem.
	MetricAttemptFailed Metric = "attempt_failed"
	// MetricEncodeSpeed: a job made media; seconds of it per second of the attempt. Label is the worker type.
	MetricEncodeSpeed Metric = "encode_speed"
)

// Sample is one observation that the statistics are computed from. It is a function of one video's events up
// to one of them, so it is the same however often they are read.
type Sample struct {
	Metric Metric    `json:"metric"`
	At     time.Time `json:"at"` // of the event
	Label  string    `json:"label,omitempty"`
	Value  float64   `json:"value,omitempty"` // finite, never negative
}

// SampleOf returns what e counts for, if anything. video and job are the views after e; job is the zero view
// for an event of the video itself. A video counts at each of its ends, should it be reopened. Attempts count
// that failed with a problem, those of inspect and notify jobs too; one that was lost without a word does
// not, unless its job errored of it.
func SampleOf(e Event, video VideoView, job JobView) (Sample, bool) {
	s := Sample{At: e.Time}
	since := max(0, e.Time.Sub(video.CreatedAt).Seconds()) // clocks of two machines may differ
	switch e.Type {
	case VideoUploaded:
		s.Metric = MetricUploaded
	case VideoReady:
		s.Metric, s.Value = MetricReady, since
	case VideoPlayable:
		s.Metric, s.Value = MetricPlayable, since
	case VideoErrored, VideoRejected:
		s.Metric, s.Label = MetricFailed, string(CodeInternal)
		if video.Problem != nil {
			s.Label = string(video.Problem.Code)
		}
	case VideoCanceled:
		s.Metric = MetricCanceled
	case JobRetrying, JobErrored, JobCompleted:
		return jobSample(e, job)
	}
	return s, s.Metric != ""
}

// jobSample takes from the event what it says itself: a job's view keeps the problem of an attempt before.
func jobSample(e Event, job JobView) (Sample, bool) {
	var data JobEvent
	if job.ID == "" || e.Decode(&data) != nil {
		return Sample{}, false
	}
	if e.Type != JobCompleted {
		if data.Problem == nil {
			return Sample{}, false
		}
		return Sample{Metric: MetricAttemptFailed, At: e.Time, Label: string(data.Problem.Code)}, true
	}
	s := Sample{Metric: MetricEncodeSpeed, At: e.Time, Label: data.Worker, Value: encodeSpeed(e, data, job)}
	return s, s.Value > 0
}

// madeOf are the kinds of output whose duration is how much media a job made.
var madeOf = []OutputKind{KindRendition, KindVideo, KindAudio, KindAudioRendition}

// encodeSpeed is the length of the longest rendition that a completed job made, by the time its attempt took;
// 0 when it made none.
func encodeSpeed(e Event, data JobEvent, job JobView) float64 {
	if job.StartedAt == nil || data.Result == nil {
		return 0
	}
	made, took := 0.0, e.Time.Sub(*job.StartedAt).Seconds()
	for _, o := range data.Result.Outputs {
		if slices.Contains(madeOf, o.Kind) {
			made = max(made, o.Duration)
		}
	}
	if speed := made / took; took > 0 && !math.IsInf(speed, 1) {
		return speed
	}
	return 0
}

// SamplesOf returns what the events of one video, in order, count for until it is deleted. As in the read
// model, an event that cannot be decoded is left out, so that it cannot keep a video from being purged. It
// fails when the events are not of one video, or not in order.
func SamplesOf(history []Event) ([]Sample, error) {
	var video VideoView
	jobs := map[string]*JobView{}
	var samples []Sample
	var of string
	for i, e := range history {
		_, id, name, err := Address(e.Subject)
		if err != nil || !legible(e) {
			continue
		}
		if of == "" {
			of = id
		}
		if id != of || i > 0 && e.Sequence < history[i-1].Sequence {
			return nil, fmt.Errorf("sample %s %d: not the next event of video %s", e.Type, e.Sequence, of)
		}
		if video.ID == "" && e.Type != VideoUploaded {
			continue
		}
		job, err := applyHistory(e, name, &video, jobs)
		if err != nil {
			continue
		}
		if video.Deleted {
			break
		}
		if s, ok := SampleOf(e, video, job); ok {
			samples = append(samples, s)
		}
	}
	return samples, nil
}

// applyHistory brings the view that e is about up to it, and returns that of its job, the zero view for none.
func applyHistory(e Event, name string, video *VideoView, jobs map[string]*JobView) (JobView, error) {
	switch {
	case name == "":
		return JobView{}, video.Apply(e)
	case e.Type == "" || JobStateOf(e.Type) == "":
		return JobView{}, nil
	case jobs[name] == nil:
		jobs[name] = &JobView{}
	}
	_, err := jobs[name].Apply(e)
	return *jobs[name], err
}

// legible reports whether the read model can keep e.
func legible(e Event) bool {
	document, err := json.Marshal(e)
	return err == nil && utf8.Valid(document)
}
