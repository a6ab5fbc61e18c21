package pipeline_test

import (
	"encoding/json"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/reelmill/reelmill/pipeline"
)

var midday = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// diary writes the history of one video, one event a second from midday on.
type diary struct{ events []pipeline.Event }

func (d *diary) tell(t pipeline.EventType, subject string, data any) {
	raw, ok := data.(string)
	if !ok {
		b, err := json.Marshal(data)
		if err != nil {
			panic(err)
		}
		raw = string(b)
	}
	n := len(d.events)
	d.events = append(d.events, pipeline.Event{
		Type: t, Subject: subject, Time: midday.Add(time.Duration(n) * time.Second), Data: json.RawMessage(raw),
		Sequence: uint64(n + 1),
	})
}

func (d *diary) uploaded() {
	d.tell(pipeline.VideoUploaded, pipeline.UploadedSubject(project, video), uploadOf(ladder().pipeline()))
}

func (d *diary) job(t pipeline.EventType, name string, data pipeline.JobEvent) {
	data.Job, data.Step, data.Worker = name, name, "w-"+name
	d.tell(t, pipeline.JobSubject(project, video, name), data)
}

func (d *diary) ended(end pipeline.Finish) {
	t := pipeline.EventType("video." + string(end.State))
	d.tell(t, pipeline.FinishedSubject(project, video), end)
}

func (d *diary) samples(t *testing.T) []pipeline.Sample {
	t.Helper()
	samples, err := pipeline.SamplesOf(d.events)
	if err != nil {
		t.Fatal(err)
	}
	return samples
}

func completedWith(outputs ...pipeline.Output) pipeline.JobEvent {
	return pipeline.JobEvent{Result: &pipeline.Result{Outputs: outputs}}
}

func broken(code pipeline.Code) pipeline.JobEvent {
	return pipeline.JobEvent{Problem: pipeline.ProblemOf(pipeline.Fail(code, "x"))}
}

func TestSamplesOf(t *testing.T) {
	var d diary
	rendition := pipeline.Output{Kind: pipeline.KindRendition, Duration: 6}
	poster := pipeline.Output{Kind: pipeline.KindPoster, Duration: 900}
	d.uploaded() // at second 0
	d.job(pipeline.JobStarted, "inspect", pipeline.JobEvent{})
	d.job(pipeline.JobRetrying, "inspect", broken(pipeline.CodeFetchFailed))
	d.job(pipeline.JobStarted, "inspect", pipeline.JobEvent{})
	d.job(pipeline.JobCompleted, "inspect", completedWith())
	d.job(pipeline.JobStarted, "a", pipeline.JobEvent{})
	d.job(pipeline.JobInterrupted, "a", pipeline.JobEvent{})
	d.job(pipeline.JobErrored, "a", pipeline.JobEvent{}) // 7: says nothing
	d.ended(pipeline.Finish{State: pipeline.StateVideoErrored})
	d.job(pipeline.JobRequeued, "a", pipeline.JobEvent{})
	d.tell(pipeline.VideoReopened, pipeline.FinishedSubject(project, video), pipeline.Finish{})
	d.job(pipeline.JobStarted, "a", pipeline.JobEvent{})
	// 12
	d.tell(pipeline.VideoPlayable, pipeline.PlayableSubject(project, video), pipeline.Playable{})
	d.job(pipeline.JobCompleted, "a", completedWith(rendition, poster, pipeline.Output{Name: "x"}))
	d.ended(pipeline.Finish{State: pipeline.StateVideoReady})
	d.job(pipeline.JobStarted, "notify", pipeline.JobEvent{})
	d.job(pipeline.JobErrored, "notify", broken(pipeline.CodeWebhookFailed))
	at := func(second int) time.Time { return midday.Add(time.Duration(second) * time.Second) }
	want := []pipeline.Sample{
		{Metric: pipeline.MetricUploaded, At: at(0)},
		{Metric: pipeline.MetricAttemptFailed, At: at(2), Label: "input_fetch_failed"},
		{Metric: pipeline.MetricFailed, At: at(8), Label: "internal_error"},
		{Metric: pipeline.MetricPlayable, At: at(12), Value: 12},
		{Metric: pipeline.MetricEncodeSpeed, At: at(13), Label: "w-a", Value: 3},
		{Metric: pipeline.MetricReady, At: at(14), Value: 14},
		{Metric: pipeline.MetricAttemptFailed, At: at(16), Label: "webhook_failed"},
	}
	if diff := cmp.Diff(want, d.samples(t)); diff != "" {
		t.Error(diff)
	}
	// What comes after the deletion counts for nothing, as in the read model.
	d.tell(pipeline.VideoDeleted, pipeline.DeletedSubject(project, video), struct{}{})
	d.job(pipeline.JobRetrying, "a", broken(pipeline.CodeInternal))
	d.tell(pipeline.VideoPurged, pipeline.DeletedSubject(project, video), pipeline.Purged{})
	if diff := cmp.Diff(want, d.samples(t)); diff != "" {
		t.Error(diff)
	}
	// They survive the event that they are told by.
	document, err := json.Marshal(pipeline.Purged{Samples: want})
	var back pipeline.Purged
	if err := json.Unmarshal(document, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, back.Samples); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

func TestSamplesOfTheOtherEnds(t *testing.T) {
	reason := pipeline.ProblemOf(pipeline.Fail(pipeline.CodeTooLong, "9 h"))
	for end, want := range map[pipeline.VideoState]pipeline.Sample{
		pipeline.StateVideoRejected: {Metric: pipeline.MetricFailed, Label: "input_too_long"},
		pipeline.StateVideoErrored:  {Metric: pipeline.MetricFailed, Label: "input_too_long"},
		pipeline.StateVideoCanceled: {Metric: pipeline.MetricCanceled},
	} {
		var d diary
		d.uploaded()
		d.ended(pipeline.Finish{State: end, Problem: reason})
		want.At = midday.Add(time.Second)
		all := []pipeline.Sample{{Metric: pipeline.MetricUploaded, At: midday}, want}
		if diff := cmp.Diff(all, d.samples(t)); diff != "" {
			t.Errorf("%s: %s", end, diff)
		}
	}
}

// TestSamplesOfWhatCannotBeRead: such an event is left out, or its video could never be purged.
func TestSamplesOfWhatCannotBeRead(t *testing.T) {
	var d diary
	d.job(pipeline.JobErrored, "a", broken(pipeline.CodeInternal)) // of no video yet
	d.tell(pipeline.VideoUploaded, pipeline.UploadedSubject(project, video), `[]`)
	d.tell(pipeline.VideoReady, pipeline.FinishedSubject(project, video), `{}`)
	d.uploaded()
	d.tell(pipeline.VideoReady, pipeline.FinishedSubject(project, video), `7`)
	d.tell(pipeline.VideoPlayable, pipeline.PlayableSubject(project, video), `{"path":`)
	d.tell(pipeline.VideoPlayable, pipeline.PlayableSubject(project, video), "{\"path\":\"\xff\"}")
	d.tell(pipeline.JobErrored, pipeline.JobSubject(project, video, "a"), `{"attempt":"x"}`)
	d.tell("", pipeline.JobSubject(project, video, "a"), `{}`)
	d.tell("job.admired", pipeline.JobSubject(project, video, "a"), `{}`)
	d.tell(pipeline.VideoReady, "nonsense", `{}`)
	if diff := cmp.Diff([]pipeline.Sample{{Metric: pipeline.MetricUploaded, At: midday.Add(3 * time.Second)}},
		d.samples(t)); diff != "" {
		t.Error(diff)
	}
}

func TestSamplesOfNoHistory(t *testing.T) {
	var d diary
	d.uploaded()
	d.job(pipeline.JobStarted, "a", pipeline.JobEvent{})
	slices.Reverse(d.events)
	if _, err := pipeline.SamplesOf(d.events); err == nil {
		t.Error("a history backwards")
	}
	slices.Reverse(d.events)
	d.tell(pipeline.VideoReady, pipeline.FinishedSubject(project, "vid_else"), `{}`)
	if _, err := pipeline.SamplesOf(d.events); err == nil {
		t.Error("a history of two videos")
	}
	if samples, err := pipeline.SamplesOf(nil); len(samples) != 0 || err != nil {
		t.Error(samples, err)
	}
}

// TestSampleValuesAreNumbers: clocks may be apart and workers may report anything.
func TestSampleValuesAreNumbers(t *testing.T) {
	early := pipeline.VideoView{CreatedAt: midday.Add(time.Minute)}
	ready := pipeline.Event{Type: pipeline.VideoReady, Time: midday}
	s, ok := pipeline.SampleOf(ready, early, pipeline.JobView{})
	if !ok || s.Value != 0 {
		t.Errorf("ready before its upload: %+v", s)
	}
	for name, test := range map[string]struct {
		started  time.Time
		duration float64
	}{
		"in no time": {midday, 5}, "backwards": {midday.Add(1), 5}, "negative": {midday.Add(-1), -5},
		"infinite": {midday.Add(-1), math.MaxFloat64}, "nothing": {midday.Add(-1), 0},
	} {
		var d diary
		made := pipeline.Output{Kind: pipeline.KindVideo, Duration: test.duration}
		d.job(pipeline.JobCompleted, "a", completedWith(made))
		job := pipeline.JobView{ID: "v/a", StartedAt: &test.started}
		if s, ok := pipeline.SampleOf(d.events[0], pipeline.VideoView{}, job); ok {
			t.Errorf("%s: %+v", name, s)
		}
		if s, ok := pipeline.SampleOf(d.events[0], pipeline.VideoView{}, pipeline.JobView{ID: "v/a"}); ok {
			t.Errorf("%s, never started: %+v", name, s)
		}
	}
}

func TestWindows(t *testing.T) {
	sample := func(m pipeline.Metric, at time.Duration, label string, v float64) pipeline.Sample {
		return pipeline.Sample{Metric: m, At: midday.Add(at), Label: label, Value: v}
	}
	got := pipeline.Windows([]pipeline.Sample{
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
	window := func(minute int) pipeline.Window {
		start := midday.Add(time.Duration(minute) * time.Minute)
		return pipeline.Window{
			Start: start, End: start.Add(time.Minute), Failed: map[string]int{}, FailedAttempts: map[string]int{},
			EncodeSpeed: map[string]pipeline.Quantiles{},
		}
	}
	want := []pipeline.Window{window(0), window(1), window(2)}
	want[0].Uploaded = 2
	want[2].Failed["internal_error"], want[2].FailedAttempts["disk_full"] = 1, 2
	want[2].Ready, want[2].Canceled = 2, 1
	want[2].TimeToReady = &pipeline.Quantiles{Count: 2, P50: 3, P95: 8}
	want[2].TimeToPlayable = &pipeline.Quantiles{Count: 1, P50: 0.5, P95: 0.5}
	want[2].EncodeSpeed["transcode"] = pipeline.Quantiles{Count: 1, P50: 4, P95: 4}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestWindowsOfNoRange(t *testing.T) {
	later := midday.Add(time.Second)
	for _, w := range [][]pipeline.Window{
		pipeline.Windows(nil, 0, midday, later), pipeline.Windows(nil, -time.Minute, midday, later),
		pipeline.Windows(nil, time.Minute, midday, midday), pipeline.Windows(nil, time.Minute, later, midday),
	} {
		if len(w) != 0 {
			t.Errorf("%+v", w)
		}
	}
	before := time.Unix(-90, 0)
	w := pipeline.Windows(nil, time.Minute, before, before.Add(time.Second))
	if len(w) != 1 || w[0].Start.Unix() != -120 {
		t.Errorf("before 1970: %+v", w)
	}
}

// TestWindowsLoseNothing: windows follow each other without a gap, and together have what the total has,
// whose quantiles are those of all samples, by the definition of the nearest rank.
func TestWindowsLoseNothing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		width := rapid.SampledFrom([]time.Duration{time.Second, time.Minute, 5 * time.Minute}).Draw(rt, "width")
		from := midday.Add(time.Duration(rapid.Int64Range(-1e9, 1e9).Draw(rt, "from")) * time.Microsecond)
		to := from.Add(time.Duration(rapid.Int64Range(1, 1e9).Draw(rt, "length")) * time.Microsecond)
		tally := pipeline.NewTally(width, from, to)
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
		stats := tally.Stats(midday)
		next, ready := stats.From, 0
		for _, w := range stats.Windows {
			if !w.Start.Equal(next) || w.End.Sub(w.Start) != width || w.Complete == w.End.After(midday) {
				rt.Fatalf("%+v after %v", w, next)
			}
			next, ready = w.End, ready+w.Ready
		}
		if !next.Equal(stats.To) || from.Before(stats.From) || to.After(stats.To) ||
			from.Sub(stats.From) >= width || stats.To.Sub(to) >= width ||
			int64(len(stats.Windows)) != pipeline.CountWindows(width, from, to) {
			rt.Fatalf("%v to %v, asked for %v to %v", stats.From, stats.To, from, to)
		}
		if ready != len(values) || stats.Total.Ready != ready {
			rt.Fatalf("%d in windows, %d in total, %d samples", ready, stats.Total.Ready, len(values))
		}
		if q := stats.Total.TimeToReady; q != nil {
			for _, p := range []struct{ share, got float64 }{{0.50, q.P50}, {0.95, q.P95}} {
				if want := nearestRank(values, p.share); p.got != want {
					rt.Fatalf("quantile %v of %v is %v, want %v", p.share, values, p.got, want)
				}
			}
		}
	})
}

// nearestRank is the definition: the smallest value that at least that share of all do not exceed.
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
	tally := pipeline.NewTally(time.Minute, midday, midday.Add(time.Second))
	got, err := json.Marshal(tally.Stats(midday))
	window := `{"start":"2026-03-01T12:00:00Z","end":"2026-03-01T12:01:00Z","complete":false,"uploaded":0,` +
		`"ready":0,"canceled":0,"failed":{},"failed_attempts":{},"encode_speed":{}}`
	want := `{"window_seconds":60,"from":"2026-03-01T12:00:00Z","to":"2026-03-01T12:01:00Z",` +
		`"windows":[` + window + `],"total":` + window + `}`
	if diff := cmp.Diff(want, string(got)); diff != "" || err != nil {
		t.Error(diff, err)
	}
}
