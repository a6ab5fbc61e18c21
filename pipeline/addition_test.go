package pipeline_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
)

// rungs plans a rendition for each rung of a step of "encode", and one job that packages.
type rungs struct{}

func (rungs) Plan(worker string, params json.RawMessage, _ pipeline.Media) ([]pipeline.Job, error) {
	var p struct{ Rungs []string }
	if err := json.Unmarshal(params, &p); err != nil {
		return nil, err
	}
	switch worker {
	case "pack":
		return []pipeline.Job{{Priority: pipeline.High, Needs: []pipeline.OutputKind{pipeline.KindRendition}}}, nil
	case "still":
		return []pipeline.Job{{}}, nil
	case "none":
		return nil, nil
	}
	var jobs []pipeline.Job
	for _, r := range p.Rungs {
		jobs = append(jobs, pipeline.Job{
			Name: r, Makes: []pipeline.OutputKind{pipeline.KindRendition}, Renditions: []string{r}, Opener: true,
		})
	}
	return jobs, nil
}

func (rungs) Check(worker string, params json.RawMessage) error {
	if !slices.Contains([]string{"encode", "pack", "still", "none"}, worker) {
		return pipeline.Fail(pipeline.CodeWorkerTypeUnknown, "no worker %q", worker)
	}
	if strings.Contains(string(params), "bad") {
		return pipeline.Fail(pipeline.CodeParameters, "bad is no parameter")
	}
	return nil
}

func (rungs) Traits() map[string]pipeline.Traits {
	return map[string]pipeline.Traits{"pack": {AddedFor: pipeline.KindRendition}}
}

func encode(names ...string) pipeline.Step {
	return pipeline.Step{Worker: "encode", With: map[string]any{"rungs": names}}
}

// rendition is the result of a job that makes all of a rung.
func rendition(name string) pipeline.Result {
	return pipeline.Result{Outputs: []pipeline.Output{{
		Name: name, Kind: pipeline.KindRendition, Path: name + "/seg_%05d.m4s", Key: "k", Size: 1,
		Segments: &pipeline.Segments{Count: 1, Last: true},
	}}}
}

// readyWorld has a ready video with the rungs 720p and 360p, and a still.
func readyWorld(t fataler) *world {
	w := newWorld(t, nil)
	w.coord.Planner = rungs{}
	w.accept(uploadOf(pipeline.Pipeline{Name: "test", Version: 1, Steps: []pipeline.Step{
		encode("720p", "360p"), {Worker: "still"},
	}}))
	w.run("inspect", accepted())
	w.run("encode-720p", rendition("720p"))
	w.run("encode-360p", rendition("360p"))
	w.run("still", pipeline.Result{})
	w.run("pack", manifest("master.m3u8"))
	w.finish()
	return w
}

// extend adds steps to the video.
func (w *world) extend(id string, steps ...pipeline.Step) (pipeline.Addition, error) {
	w.t.Helper()
	a, _, _, err := pipeline.Extend(context.Background(), w.log, rungs{}, pipeline.Extension{
		Project: project, Video: video, ID: id, Steps: steps,
		Check: func(context.Context, pipeline.Object, int64) error { return nil },
	})
	if err == nil {
		w.settle()
	}
	return a, err
}

func (w *world) mustExtend(id string, steps ...pipeline.Step) pipeline.Addition {
	w.t.Helper()
	a, err := w.extend(id, steps...)
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

func (w *world) fold() *pipeline.Video {
	w.t.Helper()
	v, err := pipeline.Fold(context.Background(), w.log, project, video)
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

// states returns the states of the additions.
func (w *world) states() string {
	var all []string
	for _, a := range w.fold().Additions {
		state := a.End.State
		if a.Last.Sequence == 0 {
			state = pipeline.StateAdditionProcessing
		}
		all = append(all, string(state))
	}
	return strings.Join(all, " ")
}

// TestAdditionsAreOrdered adds three rungs at once. The last is encoded first, and the second fails: the
// manifests are made in the order of the requests, each with what is there then.
func TestAdditionsAreOrdered(t *testing.T) {
	w := readyWorld(t)
	first, second, third := w.mustExtend("add_1", encode("240p")), w.mustExtend("add_2", encode("480p")), w.mustExtend("add_3", encode("540p"))
	if first.Number != 1 || second.Number != 2 || third.Number != 3 || third.Packaging.Job != "added-3-pack" {
		t.Fatalf("%+v %+v %+v", first, second, third)
	}
	w.run("added-3-encode-540p", rendition("540p"))
	w.run("added-1-encode-240p", rendition("240p"))
	if got := w.tasks.names(); !slices.Contains(got, "added-1-pack") || slices.Contains(got, "added-3-pack") {
		t.Fatalf("waiting: %v", got)
	}
	w.run("added-1-pack", manifest("master.m3u8"))
	if got := w.tasks.names(); slices.Contains(got, "added-3-pack") || w.states() != "ready processing processing" {
		t.Fatalf("waiting: %v, %s", got, w.states())
	}
	w.fail("added-2-encode-480p", pipeline.CodeEncodeFailed)
	task, ok := w.tasks.take("added-3-pack")
	wantAfter := "added-1-encode-240p added-3-encode-540p encode-360p encode-720p"
	if got := strings.Join(task.Job.After, " "); !ok || got != wantAfter {
		t.Errorf("the third packs after %q, want %q", got, wantAfter)
	}
	if got := strings.Join(task.Job.Expects, " "); got != "240p 360p 540p 720p" {
		t.Errorf("the third expects %q", got)
	}
	w.tasks.waiting = append(w.tasks.waiting, task)
	w.run("added-3-pack", manifest("master.m3u8"))
	if got := w.states(); got != "ready errored ready" {
		t.Errorf("states: %s", got)
	}
	w.finish() // once, and still ready
	mustBeValid(t, w.log.events...)
}

// TestFailedAdditionIsUndone checks that what a failed addition stored is removed, that its jobs are no more
// completed, and that a redrive does all of it again.
func TestFailedAdditionIsUndone(t *testing.T) {
	w := readyWorld(t)
	w.mustExtend("add_1", encode("240p", "480p"))
	w.run("added-1-encode-240p", rendition("240p"))
	stored := w.fold().Jobs["added-1-encode-240p"].Data.Token
	w.fail("added-1-encode-480p", pipeline.CodeEncodeFailed)
	v := w.fold()
	if f := v.Jobs["added-1-encode-240p"]; f.State != pipeline.StateJobCanceled || w.states() != "errored" {
		t.Errorf("%s, %s", f.State, w.states())
	}
	if p := v.Additions[0].End.Problem; p == nil || p.Code != pipeline.CodeEncodeFailed {
		t.Errorf("problem %+v", p)
	}
	if prefix := pipeline.AttemptPrefix(video, "added-1-encode-240p", stored); !slices.Contains(w.objects.deleted, prefix) {
		t.Errorf("%s is not removed: %v", prefix, w.objects.deleted)
	}
	if _, err := pipeline.Redrive(context.Background(), w.log, project, video, "added-1-encode-480p"); err != nil {
		t.Fatal(err)
	}
	w.settle()
	if w.states() != "processing" {
		t.Errorf("after the redrive: %s", w.states())
	}
	w.run("added-1-encode-480p", rendition("480p"))
	w.run("added-1-encode-240p", rendition("240p"))
	w.run("added-1-pack", manifest("master.m3u8"))
	if w.states() != "ready" {
		t.Errorf("at the end: %s", w.states())
	}
	w.finish() // the video itself was not reopened
	mustBeValid(t, w.log.events...)
}

// TestRedriveOfASupersededAddition: the video has the rung of another addition by now.
func TestRedriveOfASupersededAddition(t *testing.T) {
	w := readyWorld(t)
	w.mustExtend("add_1", encode("240p"))
	w.fail("added-1-encode-240p", pipeline.CodeEncodeFailed)
	w.mustExtend("add_2", encode("240p"))
	_, err := pipeline.Redrive(context.Background(), w.log, project, video, "added-1-encode-240p")
	if !errors.Is(err, pipeline.ErrState) {
		t.Errorf("redrive: %v", err)
	}
}

func TestExtendRefuses(t *testing.T) {
	w := newWorld(t, nil)
	w.coord.Planner = rungs{}
	if _, err := w.extend("add_1", encode("240p")); !errors.Is(err, pipeline.ErrNotFound) {
		t.Errorf("no video: %v", err)
	}
	w.accept(uploadOf(pipeline.Pipeline{Name: "test", Version: 1, Steps: []pipeline.Step{{Worker: "still"}}}))
	if _, err := w.extend("add_1", encode("240p")); !errors.Is(err, pipeline.ErrNotReady) {
		t.Errorf("queued: %v", err)
	}
	w = readyWorld(t)
	w.mustExtend("add_1", encode("240p"))
	if a := w.mustExtend("add_1", encode("240p")); a.Number != 1 {
		t.Errorf("the same again: %+v", a)
	}
	if _, err := w.extend("add_1", encode("144p")); !errors.Is(err, pipeline.ErrReused) {
		t.Errorf("the same id: %v", err)
	}
	for _, taken := range []string{"720p", "240p"} {
		_, err := w.extend("add_2", encode("480p", taken))
		if exist, ok := errors.AsType[*pipeline.RenditionsExist](err); !ok || !slices.Equal(exist.Names, []string{taken}) {
			t.Errorf("%s: %v", taken, err)
		}
	}
	if _, err := w.extend("add_2", pipeline.Step{Worker: "none"}); !errors.Is(err, pipeline.ErrNothingToAdd) {
		t.Errorf("nothing: %v", err)
	}
	if _, err := pipeline.Delete(context.Background(), w.log, project, video); err != nil {
		t.Fatal(err)
	}
	if _, err := w.extend("add_2", encode("480p")); !errors.Is(err, pipeline.ErrDeleted) {
		t.Errorf("deleted: %v", err)
	}
}

// TestAdditionsHaveAnEnd adds as many as a video may have, of a type that it has, each in a folder of its
// own.
func TestAdditionsHaveAnEnd(t *testing.T) {
	w := readyWorld(t)
	for n := range pipeline.MaxAdditions {
		a := w.mustExtend(fmt.Sprintf("add_%d", n), pipeline.Step{Worker: "still"})
		if a.Packaging != nil || a.Plan[0].Folder != fmt.Sprintf("added-%d-still", n+1) {
			t.Fatalf("%+v", a)
		}
		w.run(a.Plan[0].Name, pipeline.Result{})
	}
	if _, err := w.extend("add_x", pipeline.Step{Worker: "still"}); !errors.Is(err, pipeline.ErrTooManyAdditions) {
		t.Errorf("one more: %v", err)
	}
	if got := w.states(); strings.Count(got, "ready") != pipeline.MaxAdditions {
		t.Error(got)
	}
}

func TestCancelAddition(t *testing.T) {
	w := readyWorld(t)
	w.mustExtend("add_1", encode("240p", "480p"))
	w.run("added-1-encode-240p", rendition("240p"))
	for range 2 {
		if _, err := pipeline.CancelAddition(context.Background(), w.log, project, video, 1); err != nil {
			t.Fatal(err)
		}
		w.settle()
	}
	v := w.fold()
	added := func(name string) bool { return strings.HasPrefix(name, "added-") }
	if slices.ContainsFunc(w.tasks.names(), added) || w.states() != "canceled" || v.Jobs["added-1-encode-240p"].State != pipeline.StateJobCanceled {
		t.Errorf("%v %s %s", w.tasks.names(), w.states(), v.Jobs["added-1-encode-240p"].State)
	}
	if _, err := pipeline.CancelAddition(context.Background(), w.log, project, video, 2); !errors.Is(err, pipeline.ErrNotFound) {
		t.Errorf("another: %v", err)
	}
	w.finish()
}

func TestCheckAddition(t *testing.T) {
	wrong := pipeline.CheckAddition([]pipeline.Step{
		{Worker: "nobody"}, {Worker: "still", With: map[string]any{"bad": 1}}, {Worker: "pack"},
		{Worker: "encode", Name: "no name"}, {Worker: "encode", Name: "notify"}, {Worker: "still", Name: "ok"},
	}, rungs{})
	var got []string
	for _, e := range wrong {
		got = append(got, fmt.Sprint(e.Index, e.Field))
	}
	if want := []string{"0worker", "1with", "2worker", "3", "4"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q: %v", got, want, wrong)
	}
	if wrong := pipeline.CheckAddition([]pipeline.Step{encode("240p"), {Worker: "still", After: []string{"encode"}}}, rungs{}); len(wrong) > 0 {
		t.Error(wrong)
	}
}

func TestAdditionOf(t *testing.T) {
	for subject, want := range map[string]int{
		pipeline.ExtendedSubject("p", "v", 12): 12, pipeline.ExtendedEndSubject("p", "v", 3): 3,
		pipeline.JobSubject("p", "v", "added-7-transcode-0001"): 7, pipeline.JobSubject("p", "v", "added-7"): 0,
		pipeline.JobSubject("p", "v", "added-07-x"): 0, pipeline.FinishedSubject("p", "v"): 0,
		"video.extended-x.p.v": 0, "video.extended-.p.v": 0, "": 0,
	} {
		if got := pipeline.AdditionOf(subject); got != want {
			t.Errorf("%q: %d, want %d", subject, got, want)
		}
	}
	if _, v, job, err := pipeline.Address(pipeline.ExtendedSubject("p", "v", 1)); err != nil || v != "v" || job != "" {
		t.Error(v, job, err)
	}
}

// TestReplacedManifestsAreNotListed: of two masters the last is listed, and a playlist that is the same once.
func TestReplacedManifestsAreNotListed(t *testing.T) {
	of := func(job, path, sum string, kind pipeline.OutputKind) pipeline.OutputView {
		return pipeline.OutputView{Job: job, Output: pipeline.Output{Kind: kind, Path: path, SHA256: sum}}
	}
	var got []string
	for _, o := range pipeline.ListedOutputs([]pipeline.OutputView{
		of("packager", "360p/index.m3u8", "a", pipeline.KindPlaylist), of("packager", "master.m3u8", "b", pipeline.KindManifest),
		of("added-1-packager", "360p/index.m3u8", "a", pipeline.KindPlaylist), of("added-1-packager", "240p/index.m3u8", "c", pipeline.KindPlaylist),
		of("added-1-packager", "master.m3u8", "d", pipeline.KindManifest),
	}) {
		got = append(got, o.Job+" "+o.Path)
	}
	want := []string{"packager 360p/index.m3u8", "added-1-packager 240p/index.m3u8", "added-1-packager master.m3u8"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
