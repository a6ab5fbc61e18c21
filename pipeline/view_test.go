package pipeline_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
)

// views is a read model in memory, of one video.
type views struct {
	video pipeline.VideoView
	jobs  map[string]*pipeline.JobView
	outs  int
}

// apply does what a projector does with an event.
func (m *views) apply(t *testing.T, e pipeline.Event) {
	t.Helper()
	_, _, job, err := pipeline.Address(e.Subject)
	if err != nil {
		t.Fatal(err)
	}
	if job != "" {
		if m.jobs[job] == nil {
			m.jobs[job] = &pipeline.JobView{}
		}
		outputs, err := m.jobs[job].Apply(e)
		if err != nil {
			t.Fatal(err)
		}
		m.outs += len(outputs)
		m.video.ApplyJob(e, *m.jobs[job])
		return
	}
	if err := m.video.Apply(e); err != nil {
		t.Fatal(err)
	}
	switch {
	case e.Type == pipeline.VideoInspected:
		planned, err := pipeline.PlannedJobs(e)
		if err != nil {
			t.Fatal(err)
		}
		for _, j := range planned {
			m.jobs[j.Name] = &j
		}
	case m.video.Status.Terminal():
		for _, j := range m.jobs {
			j.Settle(e)
		}
	}
}

func TestViewToReady(t *testing.T) {
	p := planner{"a": {{Name: "0", Weight: 5}, {Name: "1", Weight: 4}}, "b": {{Optional: true}}}
	w := newWorld(t, p)
	m := &views{jobs: map[string]*pipeline.JobView{}}
	told, progress := 0, 0
	follow := func(status pipeline.VideoState, percent int) {
		t.Helper()
		for ; told < len(w.log.events); told++ {
			m.apply(t, w.log.events[told])
			if m.video.Progress < progress {
				t.Fatalf("progress fell from %d to %d", progress, m.video.Progress)
			}
			progress = m.video.Progress
			if (progress == 100) != (m.video.Status == pipeline.StateVideoReady) {
				t.Fatalf("%d%% while %s", progress, m.video.Status)
			}
		}
		if m.video.Status != status || m.video.Progress != percent {
			t.Fatalf("%s at %d%%, want %s at %d%%", m.video.Status, m.video.Progress, status, percent)
		}
	}
	e := w.accept(uploadOf(p.pipeline()))
	follow(pipeline.StateVideoQueued, 0)
	if v := m.video; v.ID != video || v.Project != project || v.Size != 7 || v.TraceID != e.TraceParent[3:35] ||
		v.Metadata["title"] != "A" || v.Warnings == nil || !v.CreatedAt.Equal(e.Time) {
		t.Errorf("uploaded: %+v", v)
	}
	w.run("inspect", accepted())
	follow(pipeline.StateVideoProcessing, 0)
	w.run("a-0", manifest("m.m3u8"))
	follow(pipeline.StateVideoProcessing, 50)
	if !m.video.Playable || m.video.Manifest != "m.m3u8" || m.video.PlayableAt == nil || m.outs != 1 {
		t.Errorf("playable: %+v", m.video)
	}
	w.run("a-1", pipeline.Result{})
	follow(pipeline.StateVideoProcessing, 90)
	w.fail("b", pipeline.CodeEncodeFailed)
	follow(pipeline.StateVideoReady, 100)
	if v := m.video; v.ReadyAt == nil || v.FinishedAt == nil || len(v.Warnings) != 1 || v.Problem != nil {
		t.Errorf("ready: %+v", v)
	}
	w.run("notify", pipeline.Result{})
	follow(pipeline.StateVideoReady, 100)
}

func TestViewOfRejected(t *testing.T) {
	w := newWorld(t, ladder())
	m := &views{jobs: map[string]*pipeline.JobView{}}
	w.accept(uploadOf(ladder().pipeline()))
	reason := pipeline.ProblemOf(pipeline.Fail(pipeline.CodeTooLong, "9 h"))
	w.run("inspect", pipeline.Result{Inspection: &pipeline.Inspection{Verdict: pipeline.VerdictReject,
		Reason: reason}})
	want := []pipeline.VideoState{
		pipeline.StateVideoQueued, pipeline.StateVideoInspecting, pipeline.StateVideoInspecting, pipeline.StateVideoInspecting,
		pipeline.StateVideoRejected,
	}
	for i, e := range w.log.events {
		m.apply(t, e)
		if m.video.Status != want[i] {
			t.Errorf("after %s it is %s, want %s", e.Type, m.video.Status, want[i])
		}
	}
	if m.video.Problem == nil || m.video.Problem.Code != pipeline.CodeTooLong || m.video.ReadyAt != nil {
		t.Errorf("%+v", m.video)
	}
}

// TestViewOfLateInspection: a cancel may come before the finding of an inspection that was under way, since
// the two have subjects of their own. The video stays canceled.
func TestViewOfLateInspection(t *testing.T) {
	w := newWorld(t, ladder())
	w.accept(uploadOf(ladder().pipeline()))
	w.run("inspect", accepted())
	m := &views{jobs: map[string]*pipeline.JobView{}}
	for _, e := range w.log.events {
		if e.Type == pipeline.VideoInspected {
			end := pipeline.Event{Type: pipeline.VideoCanceled, Subject: pipeline.FinishedSubject("p", video), Time: e.Time}
			data, err := json.Marshal(pipeline.Finish{State: pipeline.StateVideoCanceled, Notify: true})
			if err != nil {
				t.Fatal(err)
			}
			end.Data = data
			m.apply(t, end)
			before := m.video
			m.apply(t, e)
			if m.video.Status != pipeline.StateVideoCanceled || m.video.Media == nil || m.video.FinishedAt != before.FinishedAt ||
				len(m.video.Warnings) != len(before.Warnings) {
				t.Errorf("%+v, before %+v", m.video, before)
			}
			return
		}
		m.apply(t, e)
	}
	t.Fatal("nothing was inspected")
}

func TestViewSettles(t *testing.T) {
	w := newWorld(t, ladder())
	m := &views{jobs: map[string]*pipeline.JobView{}}
	w.accept(uploadOf(ladder().pipeline()))
	w.run("inspect", accepted())
	w.fail("transcode-0000", pipeline.CodeEncodeFailed)
	w.run("transcode-0001", pipeline.Result{})
	w.run("thumbnail", pipeline.Result{})
	for _, e := range w.log.events {
		m.apply(t, e)
	}
	for name, want := range map[string]pipeline.JobState{
		"inspect": pipeline.StateJobCompleted, "transcode-0000": pipeline.StateJobErrored,
		"transcode-0001": pipeline.StateJobCompleted, "transcode-package": pipeline.StateJobSkipped,
	} {
		if j := m.jobs[name]; j.Status != want || j.FinishedAt == nil || j.ID != video+"/"+name {
			t.Errorf("%s: %+v, want %s", name, j, want)
		}
	}
	if m.video.Status != pipeline.StateVideoErrored || m.video.Progress >= 100 ||
		m.jobs["transcode-package"].Settle(pipeline.Event{}) {
		t.Errorf("%s at %d", m.video.Status, m.video.Progress)
	}
	waiting := pipeline.JobView{Step: "notify", Status: pipeline.StateJobPending}
	if waiting.Settle(pipeline.Event{}) {
		t.Error("Settle skips the webhook job, which runs after the end")
	}
	if _, err := pipeline.Delete(context.Background(), w.log, project, video); err != nil {
		t.Fatal(err)
	}
	w.settle()
	for _, e := range w.log.of(pipeline.VideoDeleted) {
		m.apply(t, e)
	}
	if !m.video.Deleted {
		t.Error("the view of a deleted video is not marked as deleted")
	}
}

func TestJobView(t *testing.T) {
	w := newWorld(t, planner{"a": {{}}})
	task := pipeline.Task{Project: project, Video: video, Job: pipeline.Job{Name: "a", Step: "s", Worker: "wk"}}
	var j pipeline.JobView
	next := func(et pipeline.EventType, data pipeline.JobEvent) pipeline.JobView {
		t.Helper()
		e := w.write(et, task, data)
		mustBeValid(t, e)
		if _, err := j.Apply(e); err != nil {
			t.Fatal(err)
		}
		return j
	}
	if v := next(pipeline.JobStarted, pipeline.JobEvent{Attempt: 1}); v.Status != pipeline.StateJobProcessing ||
		v.Attempt != 1 || v.StartedAt == nil || v.Step != "s" || v.Worker != "wk" || v.ID != video+"/a" {
		t.Errorf("started: %+v", v)
	}
	if v := next(pipeline.JobInterrupted, pipeline.JobEvent{Attempt: 0}); v.Status != pipeline.StateJobPending ||
		v.Attempt != 0 {
		t.Errorf("interrupted: %+v", v)
	}
	next(pipeline.JobStarted, pipeline.JobEvent{Attempt: 1})
	if v := next(pipeline.JobRetrying, retrying()); v.Status != pipeline.StateJobRetrying || v.RetryAt == nil ||
		v.Problem == nil {
		t.Errorf("retrying: %+v", v)
	}
	if v := next(pipeline.JobStarted, pipeline.JobEvent{Attempt: 2}); v.RetryAt != nil || v.Problem == nil ||
		v.Attempt != 2 {
		t.Errorf("started again: %+v", v)
	}
	if v := next(pipeline.JobCanceled, pipeline.JobEvent{}); v.Attempt != 2 ||
		v.Status != pipeline.StateJobCanceled || v.FinishedAt == nil {
		t.Errorf("canceled: %+v", v)
	}
	if v := next(pipeline.JobCompleted, pipeline.JobEvent{Attempt: 3, Result: &pipeline.Result{
		Facts: map[string]any{"fps": 2.5},
	}}); v.Facts["fps"] != 2.5 {
		t.Errorf("completed: %+v", v)
	}
	broken := pipeline.Event{Type: pipeline.JobStarted, Data: []byte("[")}
	if _, err := j.Apply(broken); err == nil {
		t.Error("a broken event is applied")
	}
}

// TestViewNamesTheDASHManifest: the view has the manifest that a completed job published, and no other.
func TestViewNamesTheDASHManifest(t *testing.T) {
	var d diary
	view := &views{jobs: map[string]*pipeline.JobView{}}
	d.uploaded()
	published := &pipeline.Result{Outputs: []pipeline.Output{
		{Kind: pipeline.KindManifest, Path: "master.m3u8"}, {Kind: pipeline.KindManifest, Path: "manifest.mpd"},
		{Kind: pipeline.KindIndex, Path: "index/x.mpd"},
	}}
	d.job(pipeline.JobStarted, "a", pipeline.JobEvent{})
	d.job(pipeline.JobCompleted, "b", pipeline.JobEvent{Result: &pipeline.Result{Outputs: published.Outputs[:1]}})
	for _, e := range d.events {
		view.apply(t, e)
	}
	if view.video.DASH != "" {
		t.Errorf("before it is published: %s", view.video.DASH)
	}
	d.job(pipeline.JobCompleted, "a", pipeline.JobEvent{Result: published})
	if view.apply(t, d.events[len(d.events)-1]); view.video.DASH != "manifest.mpd" {
		t.Errorf("packaged: %q", view.video.DASH)
	}
	d.job(pipeline.JobCompleted, "c", pipeline.JobEvent{})
	if view.apply(t, d.events[len(d.events)-1]); view.video.DASH != "manifest.mpd" {
		t.Errorf("after one more job: %q", view.video.DASH)
	}
}

// runOf is a run of segments of a rung, as a chunk publishes it.
func runOf(job, rung string, first, count int, last bool) pipeline.OutputView {
	return pipeline.OutputView{
		ID: "out_" + job + rung, Video: video, Job: job,
		Output: pipeline.Output{
			Name: rung, Kind: pipeline.KindRendition, Path: rung + "/seg_%05d.m4s", Key: job + "/" + rung,
			Size: int64(100 * count), Duration: 6 * float64(count), Height: 720, Codecs: "avc1.64001F",
			Bandwidth: int64(1000 + first), AverageBandwidth: int64(900 + first),
			Segments: &pipeline.Segments{
				First: first, Count: count, Last: last, Header: "h", Durations: make([]float64, count),
			},
		},
	}
}

// objectOf is an object that a job stored.
func objectOf(job string, kind pipeline.OutputKind, path, sum string) pipeline.OutputView {
	return pipeline.OutputView{Job: job, Output: pipeline.Output{Kind: kind, Path: path, SHA256: sum}}
}

func TestListedOutputsJoinRuns(t *testing.T) {
	outputs := []pipeline.OutputView{
		objectOf("c1", pipeline.KindInit, "720p/init.mp4", "ab"), runOf("c1", "720p", 2, 3, false),
		runOf("c1", "360p", 2, 3, false),
		objectOf("c0", pipeline.KindInit, "720p/init.mp4", "ab"), runOf("c0", "720p", 0, 2, false),
		objectOf("poster", pipeline.KindPoster, "poster.jpg", "ef"), runOf("c3", "720p", 7, 1, false),
		runOf("c4", "720p", 8, 1, true), objectOf("c4", pipeline.KindInit, "720p/init.mp4", "cd"),
		objectOf("x", "test", "x", ""), objectOf("y", "test", "x", ""),
	}
	var got []string
	listed := pipeline.ListedOutputs(outputs)
	for _, o := range listed {
		line := o.Job + " " + o.Path
		if s := o.Segments; s != nil {
			line += fmt.Sprintf(" %d+%d %v", s.First, s.Count, s.Last)
			if s.Durations != nil || s.Header != "" {
				t.Errorf("%s: %+v", line, s)
			}
		}
		got = append(got, line)
	}
	want := []string{
		"c1 720p/init.mp4", "c0 720p/seg_%05d.m4s 0+5 false", "c3 720p/seg_%05d.m4s 7+2 true",
		"c1 360p/seg_%05d.m4s 2+3 false", "poster poster.jpg", "c4 720p/init.mp4", "x x", "y x",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	joined := listed[1]
	if joined.ID != "out_c0720p" || joined.Key != "c0/720p" || joined.Size != 500 || joined.Duration != 30 ||
		joined.Bandwidth != 1002 || joined.AverageBandwidth != 901 || joined.Codecs != "avc1.64001F" {
		t.Errorf("%+v", joined)
	}
	if s := outputs[1].Segments; s.Header != "h" || s.Count != 3 || len(s.Durations) != 3 {
		t.Errorf("the given runs are changed: %+v", s)
	}
	if none := pipeline.ListedOutputs(nil); none == nil || len(none) != 0 {
		t.Errorf("of nothing: %v", none)
	}
}

// failing is a log that cannot be read.
type failing struct{ *memLog }

var errLog = errors.New("log is down")

func (failing) Last(context.Context, ...string) ([]pipeline.Event, error) { return nil, errLog }

func TestFold(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, ladder())
	v, err := pipeline.Fold(ctx, w.log, project, video)
	if err != nil || v.Uploaded.Sequence != 0 {
		t.Fatalf("of nothing: %+v, %v", v, err)
	}
	w.accept(uploadOf(ladder().pipeline()))
	w.run("inspect", accepted())
	task, _ := w.tasks.take("transcode-0000")
	w.write(pipeline.JobStarted, task, pipeline.JobEvent{Attempt: 1})
	w.write(pipeline.JobRetrying, task, retrying())
	v, err = pipeline.Fold(ctx, w.log, project, video)
	if err != nil || v.Upload.Passthrough != "pass" || v.Verdict.Media == nil || len(v.Plan) != 4 ||
		len(v.Jobs) != 4 ||
		v.Inspect.State != pipeline.StateJobCompleted || v.Notify.State != pipeline.StateJobPending {
		t.Fatalf("%+v, %v", v, err)
	}
	if f := v.Jobs["transcode-0000"]; f.State != pipeline.StateJobRetrying || f.Data.Failed != 1 {
		t.Errorf("%+v", f)
	}
	if _, err := pipeline.Fold(ctx, failing{w.log}, project, video); !errors.Is(err, errLog) {
		t.Errorf("a log that is down: %v", err)
	}
	if pipeline.JobStateOf(pipeline.VideoReady) != "" || !pipeline.StateJobSkipped.Terminal() ||
		pipeline.StateJobRetrying.Terminal() || pipeline.StateVideoProcessing.Terminal() {
		t.Error("JobStateOf or Terminal is wrong")
	}
}

// TestViewListsAreNeverNull: an empty list is [] in JSON, in every state.
func TestViewListsAreNeverNull(t *testing.T) {
	finish, err := pipeline.NewEvent("coordinator", pipeline.VideoReady, pipeline.FinishedSubject("p", "v"), "v",
		pipeline.Event{}, pipeline.Finish{State: pipeline.StateVideoReady})
	if err != nil {
		t.Fatal(err)
	}
	var view pipeline.VideoView
	if err := view.Apply(finish); err != nil || view.Warnings == nil {
		t.Errorf("warnings %v, %v", view.Warnings, err)
	}
	inspected, err := pipeline.NewEvent("coordinator", pipeline.VideoInspected, pipeline.InspectedSubject("p", "v"),
		"v", pipeline.Event{}, pipeline.Inspected{Plan: []pipeline.Job{{Name: "a"}}})
	if err != nil {
		t.Fatal(err)
	}
	if jobs, err := pipeline.PlannedJobs(inspected); err != nil || jobs[0].After == nil {
		t.Errorf("jobs %+v, %v", jobs, err)
	}
}

// TestViewTellsWhatIsNotUsed: the warnings of inspection are on the video from then on, beside those of
// failed optional jobs.
func TestViewTellsWhatIsNotUsed(t *testing.T) {
	var d diary
	view := &views{jobs: map[string]*pipeline.JobView{}}
	d.tell(pipeline.VideoInspected, pipeline.InspectedSubject(project, video), pipeline.Inspected{
		Inspection: pipeline.Inspection{
			Verdict: pipeline.VerdictAccept, Media: &pipeline.Media{Warnings: []string{"subtitle stream 2 is not used"}},
		},
	})
	d.tell(pipeline.VideoReady, pipeline.FinishedSubject(project, video), pipeline.Finish{
		State: pipeline.StateVideoReady, Warnings: []pipeline.Problem{{Code: pipeline.CodeEncodeFailed}},
	})
	for i, want := range [][]pipeline.Code{
		{pipeline.CodePartlyUsed}, {pipeline.CodePartlyUsed, pipeline.CodeEncodeFailed},
	} {
		view.apply(t, d.events[i])
		var got []pipeline.Code
		for _, w := range view.video.Warnings {
			got = append(got, w.Code)
		}
		if !slices.Equal(got, want) || view.video.Warnings[0].Detail != "subtitle stream 2 is not used" {
			t.Errorf("warnings %+v, want %v", view.video.Warnings, want)
		}
	}
}

// TestViewReopens: reopening clears the end, and jobs that it had skipped are pending again.
func TestViewReopens(t *testing.T) {
	var d diary
	view := &views{jobs: map[string]*pipeline.JobView{}}
	next := func() *pipeline.VideoView {
		t.Helper()
		view.apply(t, d.events[len(d.events)-1])
		return &view.video
	}
	d.uploaded()
	next()
	d.tell(pipeline.VideoInspected, pipeline.InspectedSubject(project, video), pipeline.Inspected{
		Inspection: pipeline.Inspection{Verdict: pipeline.VerdictAccept},
		Plan:       []pipeline.Job{{Name: "a", Step: "a", Weight: 3}, {Name: "b", Step: "b", After: []string{"a"}}},
	})
	next()
	problem := pipeline.ProblemOf(pipeline.Fail(pipeline.CodeEncodeFailed, "x"))
	d.job(pipeline.JobErrored, "a", pipeline.JobEvent{Attempt: 3, Problem: problem})
	next()
	d.ended(pipeline.Finish{State: pipeline.StateVideoErrored, Problem: problem, Notify: true})
	if v := next(); !v.Open() || !v.Owed || view.jobs["b"].Status != pipeline.StateJobSkipped {
		t.Errorf("errored: %+v", v)
	}
	d.job(pipeline.JobRequeued, "a", pipeline.JobEvent{Attempt: 3})
	next()
	if a := view.jobs["a"]; a.Status != pipeline.StateJobPending || a.FinishedAt != nil || a.Problem == nil ||
		a.Attempt != 3 {
		t.Errorf("requeued: %+v", a)
	}
	d.tell(pipeline.VideoReopened, pipeline.FinishedSubject(project, video),
		pipeline.Finish{State: pipeline.StateVideoProcessing, Generation: 1})
	if v := next(); v.Status != pipeline.StateVideoProcessing || v.Problem != nil || v.FinishedAt != nil || v.Owed ||
		!v.Open() || v.Generation != 1 {
		t.Errorf("reopened: %+v", v)
	}
	b := view.jobs["b"]
	if !b.Unsettle() || b.Status != pipeline.StateJobPending || b.FinishedAt != nil || b.Unsettle() {
		t.Errorf("unsettled: %+v", b)
	}
	d.job(pipeline.JobCompleted, "a", pipeline.JobEvent{})
	if v := next(); v.Progress != 75 {
		t.Errorf("%d%%", v.Progress)
	}
	if err := view.video.Apply(pipeline.Event{Type: pipeline.VideoReopened, Data: []byte("[")}); err == nil {
		t.Error("a broken event is applied")
	}
}

// TestViewOwesTheWebhookOfTheLastEnd: webhooks of earlier ends do not count.
func TestViewOwesTheWebhookOfTheLastEnd(t *testing.T) {
	var d diary
	view := &views{jobs: map[string]*pipeline.JobView{}}
	d.uploaded()
	view.apply(t, d.events[0])
	d.ended(pipeline.Finish{State: pipeline.StateVideoReady, Notify: true, Generation: 1})
	view.apply(t, d.events[1])
	for _, step := range []struct {
		event pipeline.EventType
		job   string
		owed  bool
	}{
		{pipeline.JobErrored, "notify", true}, // of the first end
		{pipeline.JobStarted, "notify-1", true},
		{pipeline.JobErrored, "notify-1", false},
		{pipeline.JobRequeued, "notify", false},
		{pipeline.JobRequeued, "notify-1", true},
		{pipeline.JobCompleted, "notify-1", false},
	} {
		d.tell(step.event, pipeline.JobSubject(project, video, step.job),
			pipeline.JobEvent{Job: step.job, Step: "notify", Worker: pipeline.NotifyWorker})
		view.apply(t, d.events[len(d.events)-1])
		if v := view.video; v.Owed != step.owed || v.Open() != step.owed {
			t.Errorf("after %s of %s: owed %v", step.event, step.job, v.Owed)
		}
	}
}

// TestViewReopensToInspection: a video that was never inspected waits for inspection again.
func TestViewReopensToInspection(t *testing.T) {
	var d diary
	view := &views{jobs: map[string]*pipeline.JobView{}}
	d.uploaded()
	d.job(pipeline.JobStarted, "inspect", pipeline.JobEvent{})
	d.job(pipeline.JobErrored, "inspect", broken(pipeline.CodeFetchFailed))
	d.ended(pipeline.Finish{State: pipeline.StateVideoErrored})
	d.job(pipeline.JobRequeued, "inspect", pipeline.JobEvent{})
	d.tell(pipeline.VideoReopened, pipeline.FinishedSubject(project, video), pipeline.Finish{Generation: 1})
	for _, e := range d.events {
		view.apply(t, e)
	}
	if view.video.Status != pipeline.StateVideoQueued {
		t.Errorf("reopened: %s", view.video.Status)
	}
	d.job(pipeline.JobStarted, "inspect", pipeline.JobEvent{})
	if view.apply(t, d.events[len(d.events)-1]); view.video.Status != pipeline.StateVideoInspecting {
		t.Errorf("started: %s", view.video.Status)
	}
}
