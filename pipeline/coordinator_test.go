package pipeline_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
)

// ladder plans a step of two chunks and a job that waits for both and makes the manifest, beside one
// thumbnail.
func ladder() planner {
	return planner{
		"transcode": {{Name: "0000"}, {Name: "0001"}, {Name: "package", After: []string{"0000", "0001"}}},
		"thumbnail": {{Optional: true}},
	}
}

func (w *world) want(names ...string) {
	w.t.Helper()
	slices.Sort(names)
	if got := w.tasks.names(); !slices.Equal(got, names) {
		w.t.Fatalf("tasks %v, want %v", got, names)
	}
}

func TestStoryToReady(t *testing.T) {
	p := ladder()
	w := newWorld(t, p)
	uploaded := w.accept(uploadOf(p.pipeline()))
	w.want("inspect")
	w.run("inspect", accepted())
	w.want("thumbnail", "transcode-0000", "transcode-0001")
	w.run("transcode-0000", pipeline.Result{})
	w.want("thumbnail", "transcode-0001")
	w.run("transcode-0001", pipeline.Result{})
	w.want("thumbnail", "transcode-package")
	if len(w.log.of(pipeline.VideoPlayable)) != 0 {
		t.Fatal("playable before there is a manifest")
	}
	w.run("transcode-package", manifest("master.m3u8"))
	playable := w.log.of(pipeline.VideoPlayable)
	if len(playable) != 1 || len(w.log.of(pipeline.VideoReady)) != 0 {
		t.Fatalf("playable %d times; the video waits for its thumbnail", len(playable))
	}
	w.run("thumbnail", pipeline.Result{})
	if end := w.finish(); end.State != pipeline.StateVideoReady || len(end.Warnings) != 0 || !end.Notify {
		t.Fatalf("end %+v", end)
	}
	w.want("notify", "notify-playable")
	w.run("notify", pipeline.Result{})
	w.run("notify-playable", pipeline.Result{})
	w.want()
	mustBeValid(t, w.log.events...)
	for _, e := range w.log.events {
		if e.CorrelationID != video || e.CausationID == "" ||
			e.TraceParent[:35] != uploaded.TraceParent[:35] {
			t.Errorf("%s: correlation %q, causation %q, trace %q", e.Type, e.CorrelationID, e.CausationID,
				e.TraceParent)
		}
	}
	for name, n := range w.tasks.stored {
		if n != 1 {
			t.Errorf("%s was enqueued %d times", name, n)
		}
	}
}

func TestPlayableOnce(t *testing.T) {
	p := planner{"a": {{}}, "b": {{}}}
	w := newWorld(t, p)
	w.accept(uploadOf(p.pipeline()))
	w.run("inspect", accepted())
	w.run("b", manifest("b.m3u8"))
	w.run("a", manifest("a.m3u8"))
	found := w.log.of(pipeline.VideoPlayable)
	var data pipeline.Playable
	if len(found) != 1 || found[0].Decode(&data) != nil || data.Path != "b.m3u8" || data.Job != "b" {
		t.Fatalf("playable %d times, %+v", len(found), data)
	}
}

func TestRejected(t *testing.T) {
	w := newWorld(t, ladder())
	w.accept(uploadOf(ladder().pipeline()))
	reason := pipeline.ProblemOf(pipeline.Fail(pipeline.CodeNotVideo, "it is a text"))
	w.run("inspect", pipeline.Result{Inspection: &pipeline.Inspection{
		Verdict: pipeline.VerdictReject, Reason: reason,
	}})
	if end := w.finish(); end.State != pipeline.StateVideoRejected || end.Problem.Code != pipeline.CodeNotVideo {
		t.Fatalf("end %+v", end)
	}
	w.want("notify")
	mustBeValid(t, w.log.events...)
}

func TestInspectionWithoutFinding(t *testing.T) {
	for name, r := range map[string]pipeline.Result{
		"nothing":              {},
		"no verdict":           {Inspection: &pipeline.Inspection{Media: &pipeline.Media{}}},
		"accepted, no media":   {Inspection: &pipeline.Inspection{Verdict: pipeline.VerdictAccept}},
		"verdict of no reader": {Inspection: &pipeline.Inspection{Verdict: "maybe", Media: &pipeline.Media{}}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, ladder())
			w.accept(uploadOf(ladder().pipeline()))
			w.run("inspect", r)
			if end := w.finish(); end.State != pipeline.StateVideoRejected ||
				end.Problem.Code != pipeline.CodeInternal {
				t.Fatalf("end %+v", end)
			}
			mustBeValid(t, w.log.events...)
		})
	}
}

func TestInspectErrored(t *testing.T) {
	w := newWorld(t, ladder())
	w.accept(uploadOf(ladder().pipeline()))
	w.fail("inspect", pipeline.CodeFetchFailed)
	if end := w.finish(); end.State != pipeline.StateVideoErrored ||
		end.Problem.Code != pipeline.CodeFetchFailed {
		t.Fatalf("end %+v", end)
	}
	w.want("notify")
	mustBeValid(t, w.log.events...)
}

func TestPlanErrored(t *testing.T) {
	w := newWorld(t, ladder())
	up := uploadOf(pipeline.Pipeline{Name: "p", Version: 1, Steps: []pipeline.Step{{Worker: "unheard"}}})
	w.accept(up)
	w.run("inspect", accepted())
	if end := w.finish(); end.State != pipeline.StateVideoErrored ||
		end.Problem.Code != pipeline.CodeWorkerTypeUnknown {
		t.Fatalf("end %+v", end)
	}
	w.want("notify")
}

func TestRequiredJobErrored(t *testing.T) {
	w := newWorld(t, ladder())
	w.accept(uploadOf(ladder().pipeline()))
	w.run("inspect", accepted())
	w.fail("transcode-0001", pipeline.CodeEncodeFailed)
	if n := len(w.log.of(pipeline.VideoErrored)); n != 0 {
		t.Fatal("the video ended before the sibling jobs")
	}
	w.run("transcode-0000", pipeline.Result{})
	w.want("thumbnail") // the package job is skipped, so it is never enqueued
	w.run("thumbnail", pipeline.Result{})
	end := w.finish()
	if end.State != pipeline.StateVideoErrored || end.Problem.Job != "transcode-0001" {
		t.Fatalf("end %+v", end)
	}
	v, err := pipeline.Fold(context.Background(), w.log, project, video)
	if err != nil || v.Jobs["transcode-package"].State != pipeline.StateJobSkipped {
		t.Fatalf("package is %s, %v", v.Jobs["transcode-package"].State, err)
	}
}

func TestOptionalFailureIsAWarning(t *testing.T) {
	w := newWorld(t, ladder())
	w.accept(uploadOf(ladder().pipeline()))
	w.run("inspect", accepted())
	w.fail("thumbnail", pipeline.CodeEncodeFailed)
	w.run("transcode-0000", pipeline.Result{})
	w.run("transcode-0001", pipeline.Result{})
	w.run("transcode-package", manifest("master.m3u8"))
	end := w.finish()
	if end.State != pipeline.StateVideoReady || len(end.Warnings) != 1 || end.Warnings[0].Job != "thumbnail" {
		t.Fatalf("end %+v", end)
	}
	mustBeValid(t, w.log.events...)
}

func TestRequiredBehindOptional(t *testing.T) {
	p := planner{"x": {{Name: "a", Optional: true}, {Name: "b", After: []string{"a"}}, {Name: "c",
		After: []string{"b"}}}}
	w := newWorld(t, p)
	w.accept(uploadOf(p.pipeline()))
	w.run("inspect", accepted())
	w.fail("x-a", pipeline.CodeEncodeFailed)
	end := w.finish()
	if end.State != pipeline.StateVideoErrored || end.Problem == nil || len(end.Warnings) != 1 {
		t.Fatalf("end %+v: b and c are required and were skipped", end)
	}
	if p := end.Problem; p.Code != pipeline.CodeEncodeFailed || p.Job != "x-a" ||
		!strings.Contains(p.Detail, "the required job x-b waits for the optional job x-a, which failed: x-a failed") {
		t.Errorf("problem %+v, want that of x-a", p)
	}
}

// TestOptionalMakerErrored: the packager runs without what an optional job was to make, once that job has ended.
// A job of an optional step that is skipped has ended, too.
func TestOptionalMakerErrored(t *testing.T) {
	sound := []pipeline.OutputKind{"sound"}
	p := planner{
		"audio": {{Makes: sound, Optional: true}, {Name: "2", After: []string{""}, Makes: sound, Optional: true}},
		"film":  {{Makes: []pipeline.OutputKind{"picture"}}},
		"list":  {{Needs: []pipeline.OutputKind{"sound", "picture"}}},
	}
	w := newWorld(t, p)
	w.accept(uploadOf(p.pipeline()))
	w.run("inspect", accepted())
	w.run("film", pipeline.Result{})
	w.want("audio")
	w.fail("audio", pipeline.CodeEncodeFailed)
	w.run("list", manifest("master.m3u8"))
	end := w.finish()
	if end.State != pipeline.StateVideoReady || len(end.Warnings) != 1 || end.Warnings[0].Job != "audio" {
		t.Fatalf("end %+v", end)
	}
}

// TestMakerRetriedTooLate: the packager does not run again, so the end says what the playlists lack.
func TestMakerRetriedTooLate(t *testing.T) {
	sound := []pipeline.OutputKind{"sound"}
	p := planner{"audio": {{Makes: sound, Optional: true}}, "list": {{Needs: sound}}}
	w := newWorld(t, p)
	w.accept(uploadOf(p.pipeline()))
	w.run("inspect", accepted())
	w.fail("audio", pipeline.CodeEncodeFailed)
	w.run("list", manifest("master.m3u8"))
	w.settle()
	if _, err := pipeline.Redrive(t.Context(), w.log, project, video, "audio"); err != nil {
		t.Fatal(err)
	}
	w.settle()
	w.run("audio", pipeline.Result{})
	w.settle()
	ready := w.log.of(pipeline.VideoReady)
	var end pipeline.Finish
	if err := ready[len(ready)-1].Decode(&end); err != nil || len(ready) != 2 || len(end.Warnings) != 1 {
		t.Fatalf("%d ends, the last %+v, %v", len(ready), end, err)
	}
	if p := end.Warnings[0]; p.Job != "list" || !strings.Contains(p.Detail, "list lacks what audio made") {
		t.Errorf("warning %+v", p)
	}
}

// TestRequiredMakerErrored: what required jobs make is not done without.
func TestRequiredMakerErrored(t *testing.T) {
	sound := []pipeline.OutputKind{"sound"}
	p := planner{"audio": {{Makes: sound}, {Name: "2", Makes: sound, Optional: true}}, "list": {{Needs: sound}}}
	w := newWorld(t, p)
	w.accept(uploadOf(p.pipeline()))
	w.run("inspect", accepted())
	w.fail("audio-2", pipeline.CodeEncodeFailed)
	w.want("audio")
	w.fail("audio", pipeline.CodeEncodeFailed)
	if end := w.finish(); end.State != pipeline.StateVideoErrored || end.Problem.Job != "audio" {
		t.Fatalf("end %+v", end)
	}
}

func TestEmptyPlanIsReady(t *testing.T) {
	p := planner{"audio": {}}
	w := newWorld(t, p)
	w.accept(uploadOf(p.pipeline()))
	w.run("inspect", accepted())
	if end := w.finish(); end.State != pipeline.StateVideoReady {
		t.Fatalf("end %+v", end)
	}
	mustBeValid(t, w.log.events...)
}

func TestWebhookJob(t *testing.T) {
	p := planner{"a": {{}}}
	w := newWorld(t, p)
	w.accept(uploadOf(p.pipeline()))
	w.run("inspect", accepted())
	w.run("a", manifest("m.m3u8"))
	ready := w.log.of(pipeline.VideoReady)[0]
	for range 2 { // its task is lost, and stored again with the same id
		task, ok := w.tasks.take("notify")
		if !ok || task.Job.Worker != pipeline.NotifyWorker || len(task.Job.Retry) == 0 {
			t.Fatalf("task %+v", task)
		}
		var told pipeline.Delivery
		if err := json.Unmarshal(task.Job.Part, &told); err != nil {
			t.Fatal(err)
		}
		if told.ID != ready.ID || told.URL != "https://example.com/hook" || told.Body.Type != pipeline.VideoReady {
			t.Fatalf("delivery %+v", told)
		}
		if d := told.Body.Data; d.Status != pipeline.StateVideoReady || d.Progress != 100 ||
			d.Manifest != "m.m3u8" ||
			d.Passthrough != "pass" || d.ID != video {
			t.Fatalf("webhook says %+v", d)
		}
		w.handle(ready)
	}

	up := uploadOf(p.pipeline())
	up.Webhook = nil
	w = newWorld(t, p)
	w.accept(up)
	w.fail("inspect", pipeline.CodeMalformed)
	w.want()
	if w.finish().Notify {
		t.Fatal("there is a webhook, which nobody asked for")
	}
}

// The URLs of a webhook are made with its task, since no event names a host.
func TestWebhookTellsWhereTheVideoPlays(t *testing.T) {
	for public, want := range map[string]string{
		"https://v.example": "https://v.example/play/vid_01/m.m3u8", "": "/play/vid_01/m.m3u8",
	} {
		p := planner{"a": {{}}}
		w := newWorld(t, p)
		w.coord.PublicURL = public
		w.accept(uploadOf(p.pipeline()))
		w.run("inspect", accepted())
		w.run("a", manifest("m.m3u8"))
		task, _ := w.tasks.take("notify")
		var told pipeline.Delivery
		if err := json.Unmarshal(task.Job.Part, &told); err != nil {
			t.Fatal(err)
		}
		if got := told.Body.Data.PlayURL; got != want {
			t.Errorf("public URL %q: %q", public, got)
		}
		for _, e := range w.log.events {
			if bytes.Contains(e.Data, []byte("v.example")) {
				t.Errorf("%s names the host: %s", e.Type, e.Data)
			}
		}
	}
}

func TestDelete(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, ladder())
	if _, err := pipeline.Delete(ctx, w.log, project, video); !errors.Is(err, pipeline.ErrNotFound) {
		t.Fatalf("deleting nothing: %v", err)
	}
	w.accept(uploadOf(ladder().pipeline()))
	w.run("inspect", accepted())
	w.run("transcode-0000", pipeline.Result{})
	task, _ := w.tasks.take("transcode-0001")
	w.write(pipeline.JobStarted, task, pipeline.JobEvent{Attempt: 1, Owner: 1})
	first, err := pipeline.Delete(ctx, w.log, project, video)
	if err != nil {
		t.Fatal(err)
	}
	again, err := pipeline.Delete(ctx, w.log, project, video)
	if err != nil || again.ID != first.ID || again.Sequence != first.Sequence {
		t.Fatalf("deleted again: %+v, %v", again, err)
	}
	before := w.log.sequence
	w.settle()
	if len(w.objects.deleted) == 0 || !slices.Contains(w.objects.deleted, "videos/"+video+"/") {
		t.Errorf("deleted %v", w.objects.deleted)
	}
	w.want() // thumbnail's task is withdrawn
	// The running transcode-0001 was canceled; then one event recorded everything, and the events were purged.
	if len(w.log.events) != 2 || w.log.events[0].ID != first.ID || w.log.sequence != before+2 {
		t.Fatalf("the log ends at %d, and holds %+v", w.log.sequence, w.log.events)
	}
	var told pipeline.Purged
	if err := w.log.events[1].Decode(&told); err != nil {
		t.Fatal(err)
	}
	if len(told.Samples) != 2 || told.Samples[0].Metric != pipeline.MetricUploaded ||
		told.Samples[1] != (pipeline.Sample{Metric: pipeline.MetricEncoded, At: told.Samples[1].At, Value: 4000}) {
		t.Errorf("samples %+v", told.Samples)
	}
	if gone := told.Removed.Sequences(); gone.Count() != w.log.sequence-2 || gone.Has(first.Sequence) {
		t.Errorf("of %d events, video.purged has %v as removed", w.log.sequence, gone)
	}
	_, _, err = pipeline.Accept(ctx, w.log, project, video, uploadOf(ladder().pipeline()), "")
	if !errors.Is(err, pipeline.ErrDeleted) {
		t.Errorf("uploaded again: %v", err)
	}
	mustBeValid(t, w.log.events...)
}

// late is an archive to which a late process appends while the video is purged.
type late struct {
	*memLog
	append func()
}

func (l *late) Purge(ctx context.Context, p, v string, unwanted func(uint64) bool) error {
	if l.append != nil {
		l.append()
		l.append = nil
	}
	return l.memLog.Purge(ctx, p, v, unwanted)
}

// TestDeletionTellsOfAllThatItRemoves: every removed event was recorded before, late ones too.
func TestDeletionTellsOfAllThatItRemoves(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, ladder())
	w.accept(uploadOf(ladder().pipeline()))
	w.run("inspect", accepted())
	if _, err := pipeline.Delete(ctx, w.log, project, video); err != nil {
		t.Fatal(err)
	}
	w.coord.Archive = &late{w.log, func() {
		e, err := pipeline.NewEvent("worker", pipeline.JobStarted, pipeline.JobSubject(project, video, "late"), video,
			pipeline.Event{}, pipeline.JobEvent{Job: "late"})
		if err == nil {
			_, err = w.log.Append(ctx, e, 0)
		}
		if err != nil {
			t.Error(err)
		}
	}}
	w.settle()
	var told pipeline.Purged
	last := w.log.events[len(w.log.events)-1]
	if err := last.Decode(&told); err != nil || last.Type != pipeline.VideoPurged {
		t.Fatalf("the last event is %+v, %v", last, err)
	}
	for n := uint64(1); n <= w.log.sequence; n++ {
		there := slices.ContainsFunc(w.log.events, func(e pipeline.Event) bool { return e.Sequence == n })
		if there == told.Removed.Sequences().Has(n) {
			t.Errorf("event %d is in the log: %t, and recorded as removed: %t", n, there, !there)
		}
	}
	if len(told.Samples) != 2 {
		t.Errorf("samples %+v", told.Samples)
	}
}

// raced is a log to which somebody else appends just before the first Append.
type raced struct {
	*memLog
	before func()
}

func (r *raced) Append(ctx context.Context, e pipeline.Event, after uint64) (uint64, error) {
	if r.before != nil {
		r.before()
		r.before = nil
	}
	return r.memLog.Append(ctx, e, after)
}

func TestDeleteRaced(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, ladder())
	w.accept(uploadOf(ladder().pipeline()))
	var first pipeline.Event
	log := &raced{w.log, func() { first, _ = pipeline.Delete(ctx, w.log, project, video) }}
	second, err := pipeline.Delete(ctx, log, project, video)
	if err != nil || second.ID != first.ID || second.Sequence != first.Sequence || first.Sequence == 0 {
		t.Fatalf("got %s at %d, want %s at %d: %v", second.ID, second.Sequence, first.ID, first.Sequence, err)
	}
}

func TestAccept(t *testing.T) {
	ctx := context.Background()
	log := newLog()
	up := uploadOf(ladder().pipeline())
	up.Requested = map[string]map[string]any{"watermark": {"opacity": 0.5, "size": 3}}
	up.Assets = map[string]pipeline.Object{"logo": {Key: "k1", Size: 3, SHA256: "cd"}}
	parent := "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
	first, replayed, err := pipeline.Accept(ctx, log, project, video, up, parent)
	if err != nil || replayed || first.Sequence == 0 || first.TraceParent[3:35] != parent[3:35] {
		t.Fatalf("%+v %v %v", first, replayed, err)
	}
	again := up
	again.Source.Key, again.Pipeline.Version = "elsewhere", 2 // the document changed between two tries
	again.Assets = map[string]pipeline.Object{"logo": {Key: "k2", Size: 3, SHA256: "cd"}}
	e, replayed, err := pipeline.Accept(ctx, log, project, video, again, "")
	if err != nil || !replayed || e.ID != first.ID || e.Sequence != first.Sequence {
		t.Fatalf("again: %+v %v %v", e, replayed, err)
	}
	for name, change := range map[string]func(*pipeline.Upload){
		"contents":   func(u *pipeline.Upload) { u.Source.SHA256 = "ef" },
		"asset":      func(u *pipeline.Upload) { u.Assets = nil },
		"pipeline":   func(u *pipeline.Upload) { u.Pipeline.Name = "other" },
		"parameters": func(u *pipeline.Upload) { u.Requested = nil },
		"metadata":   func(u *pipeline.Upload) { u.Metadata = nil },
		"webhook":    func(u *pipeline.Upload) { u.Webhook = nil },
	} {
		other := up
		change(&other)
		if _, _, err := pipeline.Accept(ctx, log, project, video, other, ""); !errors.Is(err, pipeline.ErrReused) {
			t.Errorf("other %s: %v", name, err)
		}
	}
	if _, _, err := pipeline.Accept(ctx, log, "a.b", video, up, ""); err == nil {
		t.Error("a project with a dot is accepted")
	}
	if len(log.events) != 1 {
		t.Errorf("%d events", len(log.events))
	}
	mustBeValid(t, log.events...)
}

func TestHandleOfUnknown(t *testing.T) {
	w := newWorld(t, ladder())
	e, err := pipeline.NewEvent("test", pipeline.VideoInspected, pipeline.InspectedSubject(project, "vid_02"),
		"vid_02",
		pipeline.Event{}, struct{}{})
	if err != nil {
		t.Fatal(err)
	}
	w.handle(e) // a video that was never uploaded: nothing to do
	e.Subject = "nonsense"
	if err := w.coord.Handle(context.Background(), e); err == nil {
		t.Error("an event of no video is handled")
	}
	e.Type = pipeline.JobStarted
	w.handle(e) // it leads to nothing, whatever its subject
	if pipeline.Leads(pipeline.JobStarted) || !pipeline.Leads(pipeline.JobErrored) {
		t.Error("Leads is wrong about job.started or job.errored")
	}
}

// contended conflicts on every Append.
type contended struct{ *memLog }

func (contended) Append(context.Context, pipeline.Event, uint64) (uint64, error) {
	return 0, pipeline.ErrConflict
}

func TestHandleGivesUpOnContention(t *testing.T) {
	w := newWorld(t, ladder())
	w.accept(uploadOf(ladder().pipeline()))
	task, _ := w.tasks.take("inspect")
	r := accepted()
	done := w.write(pipeline.JobCompleted, task, pipeline.JobEvent{Attempt: 1, Result: &r})
	c := *w.coord
	c.Log = contended{w.log}
	if err := c.Handle(context.Background(), done); !errors.Is(err, pipeline.ErrConflict) {
		t.Errorf("got %v; the event must be delivered again", err)
	}
}

func TestCanceledBeforeInspection(t *testing.T) {
	w := newWorld(t, ladder())
	up := uploadOf(ladder().pipeline())
	e, _, err := pipeline.Accept(context.Background(), w.log, project, video, up, "")
	if err != nil {
		t.Fatal(err)
	}
	end, err := pipeline.NewEvent("api", pipeline.VideoCanceled, pipeline.FinishedSubject(project, video), video,
		e,
		pipeline.Finish{State: pipeline.StateVideoCanceled})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.log.Append(context.Background(), end, 0); err != nil {
		t.Fatal(err)
	}
	w.settle()
	w.want("notify")
	mustBeValid(t, w.log.events...)
}

// TestOpeners: a video is playable with the last of its openers, long before there is a manifest. Openers
// that make only audio do not make it playable.
func TestOpeners(t *testing.T) {
	picture := pipeline.Result{Outputs: []pipeline.Output{{Kind: pipeline.KindRendition, Path: "360p/seg_%05d.m4s"}}}
	sound := pipeline.Result{Outputs: []pipeline.Output{{Kind: pipeline.KindAudioRendition, Path: "a/seg_%05d.m4s"}}}
	p := planner{"a": {{Name: "first", Opener: true}, {Name: "rest"}}, "b": {{Opener: true}}, "c": {{}}}
	w := newWorld(t, p)
	w.accept(uploadOf(p.pipeline()))
	w.run("inspect", accepted())
	w.run("a-rest", picture)
	w.run("a-first", picture)
	if n := len(w.log.of(pipeline.VideoPlayable)); n != 0 {
		t.Fatal("playable without its audio")
	}
	w.run("b", sound)
	w.run("c", manifest("master.m3u8"))
	found := w.log.of(pipeline.VideoPlayable)
	var data pipeline.Playable
	if len(found) != 1 || found[0].Decode(&data) != nil ||
		data != (pipeline.Playable{Path: "master.m3u8", Job: "a-first", Notify: true}) {
		t.Fatalf("playable %d times, %+v", len(found), data)
	}

	p = planner{"b": {{Opener: true}}}
	w = newWorld(t, p)
	w.accept(uploadOf(p.pipeline()))
	w.run("inspect", accepted())
	w.run("b", sound)
	if len(w.log.of(pipeline.VideoPlayable)) != 0 {
		t.Error("a video without a picture is playable")
	}
}
