package stats_test

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/stats"
)

var midday = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestWindows(t *testing.T) {
	sample := func(m pipeline.Metric, at time.Duration, label string, v float64) pipeline.Sample {
		return pipeline.Sample{Metric: m, At: midday.Add(at), Label: label, Value: v}
	}
	got := windows([]pipeline.Sample{
		sample(pipeline.MetricUploaded, -time.Microsecond, "", 0), // before
		sample(pipeline.MetricUploaded, 0, "", 0),                 // the first moment
		sample(pipeline.MetricUploaded, time.Minute-time.Microsecond, "", 0),
		sample(pipeline.MetricFailed, 2*time.Minute, "internal_error", 0),
		sample(pipeline.MetricAttemptFailed, 2*time.Minute, "disk_full", 0),
		sample(pipeline.MetricAttemptFailed, 3*time.Minute-1, "disk_full", 0),
		sample(pipeline.MetricReady, 2*time.Minute, "", 8),
		sample(pipeline.MetricReady, 2*time.Minute, "", 3),
		sample(pipeline.MetricPlayable, 2*time.Minute, "", 0.5),
		sample(pipeline.MetricEncodeSpeed, 2*time.Minute, "transcode", 4),
		sample(pipeline.MetricCanceled, 2*time.Minute, "", 0),
		sample("invented", 2*time.Minute, "", 0),
		sample(pipeline.MetricCanceled, 3*time.Minute, "", 0), // the first moment after
	}, time.Minute, midday.Add(30*time.Second), midday.Add(2*time.Minute+time.Microsecond))
	window := func(minute int) stats.Window {
		start := midday.Add(time.Duration(minute) * time.Minute)
		return stats.Window{
			Start: start, End: start.Add(time.Minute), Failed: map[string]int{}, FailedAttempts: map[string]int{},
			EncodeSpeed: map[string]stats.Quantiles{},
		}
	}
	want := []stats.Window{window(0), window(1), window(2)}
	want[0].Uploaded = 2
	want[2].Failed["internal_error"], want[2].FailedAttempts["disk_full"] = 1, 2
	want[2].Ready, want[2].Canceled = 2, 1
	want[2].TimeToReady = &stats.Quantiles{Count: 2, P50: 3, P95: 8}
	want[2].TimeToPlayable = &stats.Quantiles{Count: 1, P50: 0.5, P95: 0.5}
	want[2].EncodeSpeed["transcode"] = stats.Quantiles{Count: 1, P50: 4, P95: 4}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestWindowsBefore1970(t *testing.T) {
	before := time.Unix(-90, 0)
	w := windows(nil, time.Minute, before, before.Add(time.Second))
	if len(w) != 1 || w[0].Start.Unix() != -120 {
		t.Errorf("before 1970: %+v", w)
	}
}

// windows returns the windows of a range, none of them complete.
func windows(samples []pipeline.Sample, width time.Duration, from, to time.Time) []stats.Window {
	tally := stats.NewTally(width, from, to)
	for _, s := range samples {
		tally.Add(s)
	}
	return tally.Stats(time.Time{}).Windows
}

// TestWindowsLoseNothing: windows follow each other without a gap, and together hold what the total holds.
// The total's quantiles are those of all samples, by the definition of the nearest rank.
func TestWindowsLoseNothing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		width := rapid.SampledFrom([]time.Duration{time.Second, time.Minute, 5 * time.Minute}).Draw(rt, "width")
		from := midday.Add(time.Duration(rapid.Int64Range(-1e9, 1e9).Draw(rt, "from")) * time.Microsecond)
		to := from.Add(time.Duration(rapid.Int64Range(1, 1e9).Draw(rt, "length")) * time.Microsecond)
		tally := stats.NewTally(width, from, to)
		first, last := tally.Range()
		var values []float64
		for range rapid.IntRange(0, 60).Draw(rt, "samples") {
			at := first.Add(time.Duration(rapid.Int64Range(-1e8, 11e8).Draw(rt, "at")) * time.Microsecond)
			v := float64(rapid.IntRange(0, 30).Draw(rt, "value"))
			tally.Add(pipeline.Sample{Metric: pipeline.MetricReady, At: at, Value: v})
			if !at.Before(first) && at.Before(last) {
				values = append(values, v)
			}
		}
		got := tally.Stats(midday)
		next, ready := got.From, 0
		for _, w := range got.Windows {
			if !w.Start.Equal(next) || w.End.Sub(w.Start) != width || w.Complete == w.End.After(midday) {
				rt.Fatalf("%+v after %v", w, next)
			}
			next, ready = w.End, ready+w.Ready
		}
		if !next.Equal(got.To) || from.Before(got.From) || to.After(got.To) ||
			from.Sub(got.From) >= width || got.To.Sub(to) >= width ||
			int64(len(got.Windows)) != stats.CountWindows(width, from, to) {
			rt.Fatalf("%v to %v, asked for %v to %v", got.From, got.To, from, to)
		}
		if ready != len(values) || got.Total.Ready != ready {
			rt.Fatalf("%d in windows, %d in total, %d samples", ready, got.Total.Ready, len(values))
		}
		if q := got.Total.TimeToReady; q != nil {
			for _, p := range []struct{ share, got float64 }{{0.50, q.P50}, {0.95, q.P95}} {
				if want := nearestRank(values, p.share); p.got != want {
					rt.Fatalf("quantile %v of %v is %v, want %v", p.share, values, p.got, want)
				}
			}
		}
	})
}

// nearestRank follows the definition: the smallest value that is no less than that share of all values.
func nearestRank(values []float64, share float64) float64 {
	best := math.Inf(1)
	for _, v := range values {
		n := 0
		for _, other := range values {
			if other <= v {
				n++
			}
		}
		if float64(n) >= share*float64(len(values))-1e-9 {
			best = min(best, v)
		}
	}
	return best
}

func TestStatsInJSON(t *testing.T) {
	tally := stats.NewTally(time.Minute, midday, midday.Add(time.Second))
	got, err := json.Marshal(tally.Stats(midday))
	window := `{"start":"2026-03-01T12:00:00Z","end":"2026-03-01T12:01:00Z","complete":false,"uploaded":0,` +
		`"ready":0,"canceled":0,"failed":{},"failed_attempts":{},"encode_speed":{}}`
	want := `{"window_seconds":60,"from":"2026-03-01T12:00:00Z","to":"2026-03-01T12:01:00Z",` +
		`"windows":[` + window + `],"total":` + window + `}`
	if diff := cmp.Diff(want, string(got)); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

// TestObjectiveCountsVideosThatAreLate: when nothing gets done, the times of what was done before say nothing.
func TestObjectiveCountsVideosThatAreLate(t *testing.T) {
	at := time.Date(2026, 11, 28, 12, 0, 30, 0, time.UTC)
	for _, c := range []struct {
		fast, slow, late int
		met              bool
	}{
		{0, 0, 0, true}, {19, 1, 0, true}, {18, 2, 0, false}, {19, 0, 1, true}, {18, 1, 1, false}, {0, 0, 1, false},
	} {
		tally := stats.NewTally(time.Minute, at, at.Add(time.Minute))
		for i := range c.fast + c.slow {
			took := 10.0 // just in time
			if i >= c.fast {
				took = 10.1
			}
			tally.Add(pipeline.Sample{Metric: pipeline.MetricPlayable, At: at.Add(time.Duration(i) * time.Second), Value: took})
		}
		o := tally.Objective(10*time.Second, c.late)
		if o.Met != c.met || o.Playable != c.fast+c.slow || o.Within != c.fast || o.Late != c.late || o.Seconds != 10 {
			t.Errorf("%+v: %+v", c, o)
		}
	}
}
