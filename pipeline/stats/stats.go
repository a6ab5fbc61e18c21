// Package stats computes statistics of a project: what happened in a range of time, window by window.
//
// A Tally counts samples (pipeline.Sample), which are read from the events of videos. A sample counts for the
// window that its event's time is in; so statistics are the same however often and in whichever order the
// samples are read. A window can still change while events of its time are written.
package stats

import (
	"maps"
	"slices"
	"time"

	"github.com/reelmill/reelmill/pipeline"
)

// MaxWindows is the most windows that one answer may have: a day of minutes.
const MaxWindows = 1440

// Stats is what happened in a range of time, window by window.
type Stats struct {
	WindowSeconds int       `json:"window_seconds" doc:"Length of a window"`
	From          time.Time `json:"from" doc:"Start of the first window"`
	To            time.Time `json:"to" doc:"End of the last window"`
	Windows       []Window  `json:"windows" doc:"One after the other, the empty ones too"`
	Total         Window    `json:"total" doc:"The whole range as one window"`

	Objective *Objective `json:"objective,omitempty" doc:"Whether videos become playable in time; absent when the operator has no objective"`
}

// Window is what happened from Start until before End, by the times of the events.
type Window struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end" doc:"The first moment that is not in the window"`
	// Complete trusts the clocks of those who write events: a writer whose clock is slow can still add to the
	// window.
	Complete bool `json:"complete" doc:"True when no more events of the window are expected"`

	Uploaded       int            `json:"uploaded" doc:"Videos uploaded"`
	Ready          int            `json:"ready" doc:"Videos that became ready"`
	Canceled       int            `json:"canceled" doc:"Videos canceled"`
	Failed         map[string]int `json:"failed" doc:"Videos that ended errored or rejected, by error code"`
	FailedAttempts map[string]int `json:"failed_attempts" doc:"Failed attempts at jobs, by error code"`

	TimeToPlayable *Quantiles           `json:"time_to_playable,omitempty" doc:"Seconds from the upload, of videos that became playable; absent when none did"`
	TimeToReady    *Quantiles           `json:"time_to_ready,omitempty" doc:"Seconds from the upload, of videos that became ready; absent when none did"`
	EncodeSpeed    map[string]Quantiles `json:"encode_speed" doc:"Seconds of media made in a second by one job, by worker type"`
}

// Quantiles describes a set of numbers. Each quantile is one of them, by nearest rank: the smallest that is
// no less than that share of them.
type Quantiles struct {
	Count int     `json:"count" doc:"How many numbers there are"`
	P50   float64 `json:"p50" doc:"The median"`
	P95   float64 `json:"p95" doc:"95% are not greater"`
}

// CountWindows returns how many windows a tally of the range has; from is before to.
func CountWindows(width time.Duration, from, to time.Time) int64 {
	first, end := edges(width, from, to)
	return end - first
}

// edges returns the number of the first window of a range and that of the first window after it.
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

// Tally computes Stats from samples that come one by one, in any order. It keeps at most one number of each.
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

// NewTally returns an empty tally. Its windows are [k*width, (k+1)*width) since 1970: all those that touch
// the range, from from until before to. width is whole microseconds, at least one; from is before to.
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

// Add counts a sample. It ignores a sample outside the windows and one of an unknown metric.
func (t *Tally) Add(s pipeline.Sample) {
	at := floorDiv(s.At.UnixMicro(), t.width)
	if at < t.first || at >= t.last {
		return
	}
	w := &t.windows[at-t.first]
	switch s.Metric {
	case pipeline.MetricUploaded:
		w.uploaded++
	case pipeline.MetricCanceled:
		w.canceled++
	case pipeline.MetricFailed:
		w.failed[s.Label]++
	case pipeline.MetricAttemptFailed:
		w.failedAttempts[s.Label]++
	case pipeline.MetricPlayable:
		w.playable = append(w.playable, s.Value)
	case pipeline.MetricReady:
		w.ready = append(w.ready, s.Value)
	case pipeline.MetricEncodeSpeed:
		w.speeds[s.Label] = append(w.speeds[s.Label], s.Value)
	}
}

// Stats returns the counts. Windows that end at or before through are complete.
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

// merge adds the counts of other, and its values, since quantiles cannot be merged.
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
