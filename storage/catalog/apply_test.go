package catalog

import (
	"bytes"
	"database/sql"
	"errors"
	"log/slog"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/reelmill/reelmill/pipeline"
)

func TestApplyTellsTheWholeStory(t *testing.T) {
	var s story
	s.ready("p", "vid_a")
	c := fresh(t, s.events...)

	v := must(c.Video(t.Context(), "p", "vid_a"))
	if v.Status != pipeline.StateVideoReady || v.Progress != 100 || !v.Playable ||
		v.Manifest != "master.m3u8" {
		t.Errorf("video: %+v", v)
	}
	if v.Filename != "<cat> & dog.mp4" || v.Metadata["title"] != "naïve \u2028" ||
		v.CreatedAt != s.events[0].Time {
		t.Errorf("the video lost data of its upload: %+v", v)
	}
	jobs := must(c.Jobs(t.Context(), "p", "vid_a"))
	var names []string
	for _, j := range jobs {
		names = append(names, j.Name+" "+string(j.Status))
	}
	want := []string{"inspect completed", "transcode-0000 completed", "package completed"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
	outputs := must(c.Outputs(t.Context(), "p", "vid_a"))
	if len(outputs) != 2 || outputs[0].URL != "/play/vid_a/720p/seg_%05d.m4s" || outputs[1].Job != "package" {
		t.Errorf("outputs: %+v", outputs)
	}
	if id := outputs[1].ID; !strings.HasPrefix(id, "out_") || len(id) != 30 || id == outputs[0].ID {
		t.Errorf("output ids %s and %s", outputs[0].ID, id)
	}
	events := must(c.Events(t.Context(), "p", "vid_a", 0, 0))
	if diff := cmp.Diff(s.events, events); diff != "" {
		t.Errorf("events differ from those applied: %s", diff)
	}
}

func TestApplySkipsWhatItHas(t *testing.T) {
	var s story
	s.ready("p", "vid_a")
	c := fresh(t, s.events...)
	before := answers(t.Context(), c, "p")
	changed := c.Changed()
	apply(t, c, s.events[2:7]...)
	apply(t, c)
	if after := answers(t.Context(), c, "p"); after != before {
		t.Error(cmp.Diff(before, after))
	}
	select {
	case <-changed:
		t.Error("Changed fired although nothing did")
	default:
	}
}

func TestApplyRefusesToLoseEvents(t *testing.T) {
	var s story
	s.ready("p", "vid_a")
	c := fresh(t, s.events[:2]...)
	e := s.events
	noSequence := e[2]
	noSequence.Sequence = 0
	for name, batch := range map[string][]pipeline.Event{
		"late":        {e[2], e[4], e[3]},
		"no sequence": {noSequence},
	} {
		if err := c.Apply(t.Context(), batch); !errors.Is(err, ErrOrder) {
			t.Errorf("%s: got %v", name, err)
		}
		if seq := must(c.Sequence(t.Context())); seq != 2 {
			t.Errorf("%s: sequence %d, want 2", name, seq)
		}
	}
	apply(t, c, e[0], e[2], e[3], e[2], e[3], e[4]) // repeated events are not late
	if seq := must(c.Sequence(t.Context())); seq != 5 {
		t.Errorf("sequence %d, want 5", seq)
	}
}

func TestGuardVoidsABatchFromElsewhere(t *testing.T) {
	var s story
	s.ready("p", "vid_a")
	c := fresh(t, s.events[:3]...)
	before := answers(t.Context(), c, "p")
	err := c.writer.transact(t.Context(), func(tx *sql.Tx) error {
		b := newBatch(c.writer, tx)
		if err := b.apply(t.Context(), s.events[3]); err != nil {
			return err
		}
		if err := b.flush(t.Context()); err != nil {
			return err
		}
		return b.moveOn(t.Context(), 2, s.events[3]) // it is at 3
	})
	if !errors.Is(err, pipeline.ErrConflict) {
		t.Fatalf("got %v", err)
	}
	if after := answers(t.Context(), c, "p"); after != before {
		t.Error(cmp.Diff(before, after))
	}
}

func TestPoisonDoesNotStopTheProjection(t *testing.T) {
	var log bytes.Buffer
	var s story
	s.uploaded("p", "vid_a")
	s.tell(pipeline.VideoInspected, pipeline.InspectedSubject("p", "vid_a"), "vid_a", `{"plan": 7}`)
	s.tell(pipeline.JobStarted, pipeline.JobSubject("p", "vid_a", "inspect"), "vid_a", `{"attempt":`)
	s.tell(pipeline.VideoReady, "video.finished", "vid_a", `{}`)
	s.tell(pipeline.JobStarted, pipeline.JobSubject("p", "vid_a", "inspect"), "vid_a", "{\"job\":\"\xff\"}")
	s.tell(pipeline.VideoUploaded, pipeline.UploadedSubject("p", "vid_b"), "vid_b", `[]`)
	s.job(pipeline.JobStarted, "p", "vid_b", "inspect", nil)
	s.job(pipeline.JobStarted, "p", "vid_a", "inspect", nil)
	c := fresh(t)
	c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	if err := c.Apply(t.Context(), s.events); err != nil {
		t.Fatal(err)
	}

	if n := must(c.Poisoned(t.Context())); n != 5 {
		t.Errorf("%d poisoned, want 5", n)
	}
	told := log.String()
	if strings.Count(told, "level=WARN") != 5 || !strings.Contains(told, "sequence=2") {
		t.Errorf("log:\n%s", &log)
	}
	if v := must(c.Video(t.Context(), "p", "vid_a")); v.Status != pipeline.StateVideoInspecting {
		t.Errorf("status %s", v.Status)
	}
	if n := len(must(c.Events(t.Context(), "p", "vid_a", 0, 0))); n != 2 {
		t.Errorf("%d events, want the two good ones", n)
	}
	if _, err := c.Video(t.Context(), "p", "vid_b"); !errors.Is(err, pipeline.ErrNotFound) {
		t.Errorf("vid_b: %v", err)
	}
	if seq := must(c.Sequence(t.Context())); seq != 8 {
		t.Errorf("sequence %d", seq)
	}
}

func TestUnknownTypesAreKeptAndIgnored(t *testing.T) {
	var s story
	s.ready("p", "vid_a")
	known := must(fresh(t, s.events...).Jobs(t.Context(), "p", "vid_a"))
	s.tell("job.admired", pipeline.JobSubject("p", "vid_a", "package"), "vid_a", `{"by":"all"}`)
	s.tell("job.admired", pipeline.JobSubject("p", "vid_a", "unheard"), "vid_a", `{}`)
	s.tell("", pipeline.JobSubject("p", "vid_a", "package"), "vid_a", `{}`)
	s.tell("video.liked", "video.liked.p.vid_a", "vid_a", `{"n":1}`)
	s.tell("video.liked", "video.liked.p.vid_x", "vid_x", `{"n":1}`)
	c := fresh(t, s.events...)
	if diff := cmp.Diff(known, must(c.Jobs(t.Context(), "p", "vid_a"))); diff != "" {
		t.Error(diff)
	}
	events := must(c.Events(t.Context(), "p", "vid_a", 10, 0))
	if diff := cmp.Diff(s.events[10:14], events); diff != "" {
		t.Error(diff)
	}
	if n := must(c.Poisoned(t.Context())); n != 0 {
		t.Errorf("%d poisoned", n)
	}
}

func TestOutputsStandWhileTheJobIsCompleted(t *testing.T) {
	var s story
	s.ready("p", "vid_a")
	again := manifest("vid_a")
	again.Key, again.Path = "videos/vid_a/package/99/main.m3u8", "main.m3u8"
	s.completed("p", "vid_a", "package", again, again)
	c := fresh(t, s.events...)
	if o := must(c.Outputs(t.Context(), "p", "vid_a")); len(o) != 2 || o[1].Key != again.Key {
		t.Errorf("outputs were not replaced: %+v", o)
	}
	if _, err := c.Resolve(t.Context(), "vid_a", "master.m3u8"); !errors.Is(err, pipeline.ErrNotFound) {
		t.Errorf("the replaced output resolves: %v", err)
	}
	s.job(pipeline.JobStarted, "p", "vid_a", "package", nil)
	apply(t, c, s.events...)
	if o := must(c.Outputs(t.Context(), "p", "vid_a")); len(o) != 1 {
		t.Errorf("outputs of a job that runs again: %+v", o)
	}
}

func TestSettleAtTheEnd(t *testing.T) {
	for _, oneBatch := range []bool{true, false} {
		var s story
		s.uploaded("p", "vid_a")
		s.inspected("p", "vid_a",
			planned("a", 1), planned("b", 1, "a"), planned("c", 1, "b"), planned("d", 1))
		s.job(pipeline.JobStarted, "p", "vid_a", "a", nil)
		s.job(pipeline.JobStarted, "p", "vid_a", "d", nil)
		s.job(pipeline.JobErrored, "p", "vid_a", "a", func(e *pipeline.JobEvent) {
			e.Problem = pipeline.ProblemOf(pipeline.Fail(pipeline.CodeEncodeFailed, "exit status 1"))
		})
		s.finished("p", "vid_a", pipeline.Finish{State: pipeline.StateVideoErrored})
		c := fresh(t)
		if oneBatch {
			apply(t, c, s.events...)
		} else {
			for _, e := range s.events {
				apply(t, c, e)
			}
		}
		got := statuses(t, c, "vid_a")
		if diff := cmp.Diff("a errored, b skipped, c skipped, d processing", got); diff != "" {
			t.Errorf("one batch %v: %s", oneBatch, diff)
		}
	}
}

func TestPlanAfterTheEndIsSettled(t *testing.T) {
	var s story
	s.uploaded("p", "vid_a")
	s.finished("p", "vid_a", pipeline.Finish{State: pipeline.StateVideoCanceled})
	s.inspected("p", "vid_a", planned("a", 1), planned("b", 1))
	c := fresh(t, s.events...)
	if diff := cmp.Diff("a skipped, b skipped", statuses(t, c, "vid_a")); diff != "" {
		t.Error(diff)
	}
}

// statuses returns the state of each job of a video of project p.
func statuses(t *testing.T, c *Catalog, video string) string {
	t.Helper()
	var list []string
	for _, j := range must(c.Jobs(t.Context(), "p", video)) {
		list = append(list, j.Name+" "+string(j.Status))
	}
	return strings.Join(list, ", ")
}

func TestDeletionLeavesNothingButSamples(t *testing.T) {
	for _, oneBatch := range []bool{true, false} {
		var s story
		s.ready("p", "vid_b")
		kept := answers(t.Context(), fresh(t, s.events...), "p")
		s.ready("p", "vid_a")
		s.deleted("p", "vid_a")
		s.job(pipeline.JobCanceled, "p", "vid_a", "notify", nil)
		s.completed("p", "vid_a", "late", manifest("vid_a"))
		c := fresh(t)
		for i := range s.events {
			if !oneBatch {
				apply(t, c, s.events[i])
			}
		}
		apply(t, c, s.events...)
		for line := range strings.Lines(dump(t.Context(), c)) {
			if strings.Contains(line, "vid_a") && !strings.HasPrefix(line, "sample|vid_a|") {
				t.Errorf("one batch %v: the deleted video is still in the file: %s", oneBatch, line)
			}
		}
		if seq := must(c.Sequence(t.Context())); seq != uint64(len(s.events)) {
			t.Errorf("sequence %d", seq)
		}
		_, video := c.Video(t.Context(), "p", "vid_a")
		_, jobs := c.Jobs(t.Context(), "p", "vid_a")
		_, outputs := c.Outputs(t.Context(), "p", "vid_a")
		_, events := c.Events(t.Context(), "p", "vid_a", 0, 0)
		_, resolve := c.Resolve(t.Context(), "vid_a", "master.m3u8")
		for i, err := range []error{video, jobs, outputs, events, resolve} {
			if !errors.Is(err, pipeline.ErrNotFound) {
				t.Errorf("%d: %v", i, err)
			}
		}
		got := answers(t.Context(), c, "p")
		if !strings.Contains(got, `"vid_b"`) || strings.Count(got, "\n") != strings.Count(kept, "\n") {
			t.Errorf("the other video changed:\n%s", cmp.Diff(kept, got))
		}
	}
}

func TestAProjectCannotTouchAnothers(t *testing.T) {
	var s story
	s.ready("p", "vid_a")
	want := must(fresh(t, s.events...).Video(t.Context(), "p", "vid_a"))
	s.uploaded("q", "vid_a")
	s.job(pipeline.JobStarted, "q", "vid_a", "package", nil)
	s.deleted("q", "vid_a")
	c := fresh(t, s.events...)
	if got := must(c.Video(t.Context(), "p", "vid_a")); !reflect.DeepEqual(got, want) {
		t.Error(cmp.Diff(want, got))
	}
	_, video := c.Video(t.Context(), "q", "vid_a")
	_, jobs := c.Jobs(t.Context(), "q", "vid_a")
	_, outputs := c.Outputs(t.Context(), "q", "vid_a")
	_, events := c.Events(t.Context(), "q", "vid_a", 0, 0)
	for i, err := range []error{video, jobs, outputs, events} {
		if !errors.Is(err, pipeline.ErrNotFound) {
			t.Errorf("%d: %v", i, err)
		}
	}
}

func TestReopeningChangesNothing(t *testing.T) {
	var s story
	s.ready("p", "vid_a")
	path := filepath.Join(t.TempDir(), "a", "b c?#%20", "catalog.db")
	for i := range s.events {
		c := must(Open(t.Context(), path))
		if seq := must(c.Sequence(t.Context())); seq != uint64(i) {
			t.Fatalf("sequence %d after %d events", seq, i)
		}
		apply(t, c, s.events[:i+1]...)
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	want := answers(t.Context(), fresh(t, s.events...), "p")
	if diff := cmp.Diff(want, answers(t.Context(), open(t, path), "p")); diff != "" {
		t.Error(diff)
	}
}
