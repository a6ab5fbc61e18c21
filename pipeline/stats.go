package pipeline

import (
	"fmt"
	"slices"
	"time"
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
	Value  float64   `json:"value,omitempty"`
}

// SampleOf returns what e counts for, if anything. video and job are the views after e; job is the zero view
// for an event of the video itself.
func SampleOf(e Event, video VideoView, job JobView) (Sample, bool) {
	s := Sample{At: e.Time}
	since := e.Time.Sub(video.CreatedAt).Seconds()
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
	case JobRetrying, JobErrored:
		if job.Problem == nil {
			return Sample{}, false
		}
		s.Metric, s.Label = MetricAttemptFailed, string(job.Problem.Code)
	case JobCompleted:
		s.Metric, s.Label = MetricEncodeSpeed, job.Worker
		s.Value = encodeSpeed(e, job)
	}
	return s, s.Metric != "" && (s.Metric != MetricEncodeSpeed || s.Value > 0)
}

// encodeSpeed is the length of the longest rendition that a completed job made, by the time its attempt took;
// 0 when it made none.
func encodeSpeed(e Event, job JobView) float64 {
	var data JobEvent
	if job.StartedAt == nil || e.Decode(&data) != nil || data.Result == nil {
		return 0
	}
	made := 0.0
	for _, o := range data.Result.Outputs {
		if slices.Contains([]OutputKind{KindRendition, KindVideo, KindAudio, KindAudioRendition}, o.Kind) {
			made = max(made, o.Duration)
		}
	}
	took := e.Time.Sub(*job.StartedAt).Seconds()
	if took <= 0 {
		return 0
	}
	return made / took
}

// SamplesOf returns what the events of one video, in order, count for.
func SamplesOf(history []Event) ([]Sample, error) {
	var video VideoView
	jobs := map[string]*JobView{}
	var samples []Sample
	for _, e := range history {
		if video.ID == "" && e.Type != VideoUploaded {
			continue
		}
		_, _, name, err := Address(e.Subject)
		if err != nil {
			return nil, err
		}
		job := &JobView{}
		if name == "" {
			err = video.Apply(e)
		} else if JobStateOf(e.Type) != "" {
			if jobs[name] == nil {
				jobs[name] = job
			}
			job = jobs[name]
			_, err = job.Apply(e)
		}
		if err != nil {
			return nil, fmt.Errorf("sample %s %d: %w", e.Type, e.Sequence, err)
		}
		if s, ok := SampleOf(e, video, *job); ok {
			samples = append(samples, s)
		}
	}
	return samples, nil
}
