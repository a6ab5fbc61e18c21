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

// The metrics. Each sample comes from one event.
const (
	MetricUploaded Metric = "uploaded" // a video was uploaded; bytes of its source, 0 if it is to be fetched
	MetricFetched  Metric = "fetched"  // its source was fetched; bytes
	// MetricEncoded: its plan, or that of an addition, was made; milliseconds of the source. Negative for an
	// addition that a quota refused: then the same number as before, and the same time.
	MetricEncoded  Metric = "encoded"
	MetricReady    Metric = "ready"    // a video became ready; seconds since its upload
	MetricPlayable Metric = "playable" // a video became playable; seconds since its upload
	MetricFailed   Metric = "failed"   // a video ended errored or rejected; Label is the code of its problem
	MetricCanceled Metric = "canceled" // a video was canceled; no value
	// MetricAttemptFailed: an attempt at a job failed; Label is the code of its problem.
	MetricAttemptFailed Metric = "attempt_failed"
	// MetricEncodeSpeed: a job made media; the value is seconds of media per second of the attempt. Label is the
	// worker type.
	MetricEncodeSpeed Metric = "encode_speed"
)

// UsageMetrics are the metrics that quotas and the usage of a project are counted by.
var UsageMetrics = []Metric{MetricUploaded, MetricFetched, MetricEncoded}

// Sample is one observation for the statistics. It is a function of one video's events up to a certain one,
// so it is the same however often they are read.
type Sample struct {
	Metric Metric    `json:"metric"`
	At     time.Time `json:"at"` // of the event
	Label  string    `json:"label,omitempty"`
	Value  float64   `json:"value,omitempty"` // finite; negative only as MetricEncoded says
}

// SampleOf returns the sample of e, if e counts for anything. video and job are the views after e; job is the
// zero view for an event of the video itself. A reopened video counts at each of its ends. An attempt counts
// if it failed with a problem, in inspect and notify jobs too. An attempt that was lost without an outcome
// does not count, unless its job errored because of it.
func SampleOf(e Event, video VideoView, job JobView) (Sample, bool) {
	s := Sample{At: e.Time}
	since := max(0, e.Time.Sub(video.CreatedAt).Seconds()) // clocks of two machines may differ
	switch e.Type {
	case VideoUploaded:
		s.Metric, s.Value = MetricUploaded, float64(max(0, video.Size))
	case VideoInspected:
		if video.Status == StateVideoProcessing { // it was accepted, and not canceled before
			s.Metric, s.Value = MetricEncoded, float64(video.Media.Milliseconds())
		}
	case VideoOutputsRequested:
		s.Metric, s.Value = MetricEncoded, float64(video.Media.Milliseconds())
	case VideoOutputsFailed:
		if a := video.addition(AdditionOf(e.Subject)); a != nil && a.refused() {
			s.Metric, s.Value, s.At = MetricEncoded, -float64(video.Media.Milliseconds()), a.CreatedAt
		}
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

// jobSample reads the problem from the event, since the job's view keeps that of an earlier attempt.
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
	if data.Step == FetchStep && data.Result != nil && data.Result.Source != nil {
		return Sample{Metric: MetricFetched, At: e.Time, Value: float64(max(0, data.Result.Source.Size))}, true
	}
	s := Sample{Metric: MetricEncodeSpeed, At: e.Time, Label: data.Worker, Value: encodeSpeed(e, data, job)}
	return s, s.Value > 0
}

// madeOf holds the kinds of output whose duration counts as media that a job made.
var madeOf = []OutputKind{KindRendition, KindVideo, KindAudio, KindAudioRendition}

// encodeSpeed returns the length of the longest rendition that a completed job made, divided by the time that
// its attempt took; 0 when it made none.
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

// SamplesOf returns the samples of one video's events, in order, until it is deleted. Like the read model, it
// skips an event that cannot be decoded, so that such an event cannot keep a video from being purged. It
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

// applyHistory updates the view that e is about, and returns the view of e's job; the zero view when e is not
// about a job.
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

// legible reports whether the read model can store e.
func legible(e Event) bool {
	document, err := json.Marshal(e)
	return err == nil && utf8.Valid(document)
}
