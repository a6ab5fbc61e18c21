package pipeline_test

import (
	"encoding/json"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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
		{Metric: pipeline.MetricUploaded, At: at(0), Value: 7},
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
	// Events after the deletion do not count, as in the read model.
	d.tell(pipeline.VideoDeleted, pipeline.DeletedSubject(project, video), struct{}{})
	d.job(pipeline.JobRetrying, "a", broken(pipeline.CodeInternal))
	d.tell(pipeline.VideoPurged, pipeline.DeletedSubject(project, video), pipeline.Purged{})
	if diff := cmp.Diff(want, d.samples(t)); diff != "" {
		t.Error(diff)
	}
	// The event that carries the samples keeps them unchanged.
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
		all := []pipeline.Sample{{Metric: pipeline.MetricUploaded, At: midday, Value: 7}, want}
		if diff := cmp.Diff(all, d.samples(t)); diff != "" {
			t.Errorf("%s: %s", end, diff)
		}
	}
}

// TestSamplesOfWhatCannotBeRead: events that cannot be read are skipped; otherwise their video could never be
// purged.
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
	if diff := cmp.Diff([]pipeline.Sample{
		{Metric: pipeline.MetricUploaded, At: midday.Add(3 * time.Second), Value: 7},
	}, d.samples(t)); diff != "" {
		t.Error(diff)
	}
}

func TestSamplesOfNoHistory(t *testing.T) {
	var d diary
	d.uploaded()
	d.job(pipeline.JobStarted, "a", pipeline.JobEvent{})
	slices.Reverse(d.events)
	if _, err := pipeline.SamplesOf(d.events); err == nil {
		t.Error("a history in the wrong order is accepted")
	}
	slices.Reverse(d.events)
	d.tell(pipeline.VideoReady, pipeline.FinishedSubject(project, "vid_else"), `{}`)
	if _, err := pipeline.SamplesOf(d.events); err == nil {
		t.Error("a history of two videos is accepted")
	}
	if samples, err := pipeline.SamplesOf(nil); len(samples) != 0 || err != nil {
		t.Error(samples, err)
	}
}

// TestSampleValuesAreNumbers: clocks may differ, and workers may report anything.
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
