package pipeline

import (
	"encoding/json"
	"fmt"
	"maps"
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

// MaxWindows is how many windows one answer may have: a day of minutes.
const MaxWindows = 1440

// Stats is what happened in a range of time, window by window.
type Stats struct {
	WindowSeconds int       `json:"window_seconds" doc:"Length of a window"`
	From          time.Time `json:"from" doc:"Start of the first window"`
	To            time.Time `json:"to" doc:"End of the last window"`
	Windows       []Window  `json:"windows" doc:"One after the other, the empty ones too"`
	Total         Window    `json:"total" doc:"The whole range as one window"`
}

// Window is what happened from Start until before End, by the times of the events.
type Window struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end" doc:"The first moment that is not in the window"`
	// Complete is a judgement by the clocks of those who write events: one that is behind can still add.
	Complete bool `json:"complete" doc:"True when events of the window are not to be expected any more"`

	Uploaded       int            `json:"uploaded" doc:"Videos uploaded"`
	Ready          int            `json:"ready" doc:"Videos that became ready"`
	Canceled       int            `json:"canceled" doc:"Videos canceled"`
	Failed         map[string]int `json:"failed" doc:"Videos that ended errored or rejected, by error code"`
	FailedAttempts map[string]int `json:"failed_attempts" doc:"Failed attempts at jobs, by error code"`

	TimeToPlayable *Quantiles           `json:"time_to_playable,omitempty" doc:"Seconds from the upload, of videos that became playable; absent when none did"`
	TimeToReady    *Quantiles           `json:"time_to_ready,omitempty" doc:"Seconds from the upload, of videos that became ready; absent when none did"`
	EncodeSpeed    map[string]Quantiles `json:"encode_speed" doc:"Seconds of media made in a second by one job, by worker type"`
}

// Quantiles describes a set of numbers. Each quantile is one of them, by nearest rank: the smallest that at
// least that share of them does not exceed.
type Quantiles struct {
	Count int     `json:"count" doc:"How many there are"`
	P50   float64 `json:"p50" doc:"The median"`
	P95   float64 `json:"p95" doc:"95% are not greater"`
}

// Windows sorts samples, which stand in any order, into the windows of a width that touch the range from from
// to before to: tumbling windows [k*width, (k+1)*width) since 1970, width in whole microseconds. All samples
// of such a window count, also those just outside the range. There are none when width is not positive, or
// from is not before to. Complete is not set.
func Windows(samples []Sample, width time.Duration, from, to time.Time) []Window {
	if width < time.Microsecond || !from.Before(to) {
		return []Window{}
	}
	t := NewTally(width, from, to)
	for _, s := range samples {
		t.Add(s)
	}
	return t.Stats(time.Time{}).Windows
}

// CountWindows returns how many windows Windows gives for a range; from is before to.
func CountWindows(width time.Duration, from, to time.Time) int64 {
	first, end := edges(width, from, to)
	return end - first
}

// edges returns the numbers of the first window of a range and of the first after it.
func edges(width time.Duration, from, to time.Time) (first, end int64) {
	us := width.Microseconds()
	return floorDiv(from.UnixMicro(), us), floorDiv(to.UnixMicro()-1, us) + 1
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// Tally computes Stats from samples that come one by one, in any order: all that it keeps of one is a number.
type Tally struct {
	width       int64 // microseconds
	first, last int64 // numbers of the first window and of the first after the range
	windows     []bucket
}

// bucket is one window of a Tally.
type bucket struct {
	uploaded, canceled     int
	failed, failedAttempts map[string]int
	playable, ready        []float64
	speeds                 map[string][]float64
}

// NewTally returns the tally of no samples; see Windows and MaxWindows. width is at least a microsecond, from
// before to.
func NewTally(width time.Duration, from, to time.Time) *Tally {
	first, end := edges(width, from, to)
	t := &Tally{width: width.Microseconds(), first: first, last: end, windows: make([]bucket, end-first)}
	for i := range t.windows {
		t.windows[i] = newBucket()
	}
	return t
}

func newBucket() bucket {
	return bucket{failed: map[string]int{}, failedAttempts: map[string]int{}, speeds: map[string][]float64{}}
}

// Range returns the start of the first window and the end of the last.
func (t *Tally) Range() (from, to time.Time) { return t.edge(t.first), t.edge(t.last) }

func (t *Tally) edge(window int64) time.Time { return time.UnixMicro(window * t.width).UTC() }

// Add counts a sample. One outside the windows, or of a metric that is not known, counts for nothing.
func (t *Tally) Add(s Sample) {
	at := floorDiv(s.At.UnixMicro(), t.width)
	if at < t.first || at >= t.last {
		return
	}
	w := &t.windows[at-t.first]
	switch s.Metric {
	case MetricUploaded:
		w.uploaded++
	case MetricCanceled:
		w.canceled++
	case MetricFailed:
		w.failed[s.Label]++
	case MetricAttemptFailed:
		w.failedAttempts[s.Label]++
	case MetricPlayable:
		w.playable = append(w.playable, s.Value)
	case MetricReady:
		w.ready = append(w.ready, s.Value)
	case MetricEncodeSpeed:
		w.speeds[s.Label] = append(w.speeds[s.Label], s.Value)
	}
}

// Stats returns what was counted. Windows that end at or before through are complete.
func (t *Tally) Stats(through time.Time) Stats {
	from, to := t.Range()
	stats := Stats{
		WindowSeconds: int(t.width / time.Second.Microseconds()), From: from, To: to,
		Windows: make([]Window, len(t.windows)),
	}
	all := newBucket()
	for i := range t.windows {
		w, k := &t.windows[i], t.first+int64(i)
		stats.Windows[i] = w.window(t.edge(k), t.edge(k+1), through)
		all.merge(w)
	}
	stats.Total = all.window(from, to, through)
	return stats
}

// merge adds what w has counted: quantiles cannot be merged, so the numbers are.
func (w *bucket) merge(other *bucket) {
	w.uploaded += other.uploaded
	w.canceled += other.canceled
	for code, n := range other.failed {
		w.failed[code] += n
	}
	for code, n := range other.failedAttempts {
		w.failedAttempts[code] += n
	}
	w.playable = append(w.playable, other.playable...)
	w.ready = append(w.ready, other.ready...)
	for worker, speeds := range other.speeds {
		w.speeds[worker] = append(w.speeds[worker], speeds...)
	}
}

func (w *bucket) window(start, end, through time.Time) Window {
	speeds := map[string]Quantiles{}
	for worker, values := range w.speeds {
		speeds[worker] = *quantiles(values)
	}
	return Window{
		Start: start, End: end, Complete: !end.After(through), Uploaded: w.uploaded, Ready: len(w.ready),
		Canceled: w.canceled, Failed: maps.Clone(w.failed), FailedAttempts: maps.Clone(w.failedAttempts),
		TimeToPlayable: quantiles(w.playable), TimeToReady: quantiles(w.ready), EncodeSpeed: speeds,
	}
}

// quantiles returns nil for no numbers. It sorts them.
func quantiles(values []float64) *Quantiles {
	if len(values) == 0 {
		return nil
	}
	slices.Sort(values)
	rank := func(percent int) float64 { return values[(percent*len(values)+99)/100-1] }
	return &Quantiles{Count: len(values), P50: rank(50), P95: rank(95)}
}
