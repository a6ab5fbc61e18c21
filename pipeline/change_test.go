package pipeline_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/reelmill/reelmill/pipeline"
)

// titled returns an edit that sets the title, and keeps the rest.
func titled(title string) func(pipeline.Label) (pipeline.Label, error) {
	return func(l pipeline.Label) (pipeline.Label, error) {
		l.Title = title
		return l, nil
	}
}

// changed changes the video, which must succeed.
func (w *world) changed(edit func(pipeline.Label) (pipeline.Label, error)) pipeline.Event {
	w.t.Helper()
	e, err := pipeline.Change(context.Background(), w.log, project, video, edit)
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

func TestChange(t *testing.T) {
	w := newWorld(t, ladder())
	up := uploadOf(ladder().pipeline())
	up.Title = "first"
	uploaded := w.accept(up)
	if e := w.changed(titled("first")); e.Sequence != uploaded.Sequence {
		t.Errorf("a change of nothing is %s %d", e.Type, e.Sequence)
	}
	w.changed(titled("second"))
	last := w.changed(func(l pipeline.Label) (pipeline.Label, error) {
		delete(l.Metadata, "title")
		l.Metadata["a"], l.Passthrough = "b", ""
		return l, nil
	})
	if again := w.changed(titled("second")); again.Sequence != last.Sequence {
		t.Errorf("a change of nothing is event %d, want %d", again.Sequence, last.Sequence)
	}
	var got pipeline.Label
	if err := last.Decode(&got); err != nil {
		t.Fatal(err)
	}
	want := pipeline.Label{Title: "second", Metadata: map[string]string{"a": "b"}, PlaybackPolicy: pipeline.PlaybackPublic}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	m := &views{jobs: map[string]*pipeline.JobView{}}
	for _, e := range w.log.events {
		m.apply(t, e)
	}
	if diff := cmp.Diff(want, m.video.Label()); diff != "" {
		t.Errorf("the view: %s", diff)
	}
	if changes := w.log.of(pipeline.VideoChanged); len(changes) != 2 || changes[1].CausationID != changes[0].ID {
		t.Errorf("%d changes: %+v", len(changes), changes)
	}
	mustBeValid(t, w.log.events...)
}

// TestChangeMeanwhile: a change that another makes between reading and writing is kept.
func TestChangeMeanwhile(t *testing.T) {
	w := newWorld(t, ladder())
	w.accept(uploadOf(ladder().pipeline()))
	calls := 0
	w.changed(func(l pipeline.Label) (pipeline.Label, error) {
		if calls++; calls == 1 {
			w.changed(titled("of another"))
		}
		l.Passthrough = "mine"
		return l, nil
	})
	var got pipeline.Label
	changes := w.log.of(pipeline.VideoChanged)
	if err := changes[len(changes)-1].Decode(&got); err != nil {
		t.Fatal(err)
	}
	if calls != 2 || got.Title != "of another" || got.Passthrough != "mine" {
		t.Errorf("after %d calls: %+v", calls, got)
	}
}

func TestChangeRefused(t *testing.T) {
	w := newWorld(t, ladder())
	if _, err := pipeline.Change(t.Context(), w.log, project, video, titled("x")); !errors.Is(err, pipeline.ErrNotFound) {
		t.Errorf("of no video: %v", err)
	}
	w.accept(uploadOf(ladder().pipeline()))
	no := errors.New("no")
	refuse := func(pipeline.Label) (pipeline.Label, error) { return pipeline.Label{}, no }
	if _, err := pipeline.Change(t.Context(), w.log, project, video, refuse); !errors.Is(err, no) {
		t.Errorf("refused by its edit: %v", err)
	}
	if _, err := pipeline.Delete(t.Context(), w.log, project, video); err != nil {
		t.Fatal(err)
	}
	if _, err := pipeline.Change(t.Context(), w.log, project, video, titled("x")); !errors.Is(err, pipeline.ErrNotFound) {
		t.Errorf("of a deleted video: %v", err)
	}
	if n := len(w.log.of(pipeline.VideoChanged)); n != 0 {
		t.Errorf("%d changes", n)
	}
}

// TestLateChangeIsPurged: a change that was written while the video was being deleted leaves nothing behind.
func TestLateChangeIsPurged(t *testing.T) {
	w := newWorld(t, ladder())
	up := w.accept(uploadOf(ladder().pipeline()))
	if _, err := pipeline.Delete(t.Context(), w.log, project, video); err != nil {
		t.Fatal(err)
	}
	w.settle()
	late, err := pipeline.NewEvent("upload", pipeline.VideoChanged, pipeline.ChangedSubject(project, video), video, up,
		pipeline.Label{Title: "late"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.log.Append(t.Context(), late, 0); err != nil {
		t.Fatal(err)
	}
	w.settle()
	if left := w.log.of(pipeline.VideoChanged); len(left) != 0 {
		t.Errorf("left: %+v", left)
	}
}

// TestWebhookTellsWhatWasChanged: webhooks that follow a change have the new texts.
func TestWebhookTellsWhatWasChanged(t *testing.T) {
	w := newWorld(t, planner{"x": {{}}})
	w.accept(uploadOf(planner{"x": {{}}}.pipeline()))
	w.changed(func(pipeline.Label) (pipeline.Label, error) {
		return pipeline.Label{Title: "T", Metadata: map[string]string{"k": "v"}, Passthrough: "new"}, nil
	})
	w.run("inspect", accepted())
	w.run("x", pipeline.Result{})
	task, ok := w.tasks.take("notify")
	if !ok {
		t.Fatalf("no webhook; %v", w.tasks.names())
	}
	var told pipeline.Delivery
	if err := json.Unmarshal(task.Job.Part, &told); err != nil {
		t.Fatal(err)
	}
	want := pipeline.Label{
		Title: "T", Metadata: map[string]string{"k": "v"}, Passthrough: "new", PlaybackPolicy: pipeline.PlaybackPublic,
	}
	if diff := cmp.Diff(want, told.Body.Data.Label()); diff != "" {
		t.Error(diff)
	}
}

func TestTagOfALabel(t *testing.T) {
	a := pipeline.Label{Title: "t", Metadata: map[string]string{"a": "1", "b": "2"}}
	seen := map[string]bool{}
	for _, l := range []pipeline.Label{
		{}, a, {Title: "t"}, {Passthrough: "t"}, {Title: "t", Metadata: map[string]string{"a": "2", "b": "1"}},
	} {
		seen[l.Tag()] = true
	}
	if len(seen) != 5 {
		t.Errorf("%d tags of 5 labels", len(seen))
	}
	if again := (pipeline.Label{Metadata: map[string]string{}}).Tag(); !seen[again] {
		t.Error("an empty map has another tag than none")
	}
}

// TestTagsOfEarlierVersions: the tag of a public video is what it was before videos had a policy, so that no
// client with an ETag is refused after an upgrade; that of a signed one differs.
func TestTagsOfEarlierVersions(t *testing.T) {
	l := pipeline.Label{Title: "t", Metadata: map[string]string{"a": "1"}, Passthrough: "p"}
	const before = "0ec8f0feb950021b74a836a4"
	public, signed := l, l
	public.PlaybackPolicy, signed.PlaybackPolicy = pipeline.PlaybackPublic, pipeline.PlaybackSigned
	if l.Tag() != before || public.Tag() != before || signed.Tag() == before {
		t.Errorf("tags %s, %s and %s; want %s twice, and another", l.Tag(), public.Tag(), signed.Tag(), before)
	}
}

// TestPlaybackPolicy: the view has what the upload says, and then what the last change says.
func TestPlaybackPolicy(t *testing.T) {
	for _, first := range []pipeline.PlaybackPolicy{"", pipeline.PlaybackPublic, pipeline.PlaybackSigned} {
		w := newWorld(t, ladder())
		up := uploadOf(ladder().pipeline())
		up.PlaybackPolicy = first
		uploaded := w.accept(up)
		w.wantPolicy(t, first.OrPublic())
		set := func(p pipeline.PlaybackPolicy) pipeline.Event {
			return w.changed(func(l pipeline.Label) (pipeline.Label, error) {
				if l.PlaybackPolicy == "" {
					t.Error("a change does not learn the policy")
				}
				l.PlaybackPolicy = p
				return l, nil
			})
		}
		if e := set(first); e.Sequence != uploaded.Sequence {
			t.Errorf("%q again is %s %d", first, e.Type, e.Sequence)
		}
		for _, p := range []pipeline.PlaybackPolicy{pipeline.PlaybackSigned, pipeline.PlaybackPublic, pipeline.PlaybackSigned} {
			set(p)
			w.wantPolicy(t, p)
			w.changed(titled("after " + string(p)))
			w.wantPolicy(t, p)
		}
		mustBeValid(t, w.log.events...)
	}
}

// wantPolicy checks what all events so far make of a video.
func (w *world) wantPolicy(t *testing.T, want pipeline.PlaybackPolicy) {
	t.Helper()
	m := &views{jobs: map[string]*pipeline.JobView{}}
	for _, e := range w.log.events {
		m.apply(t, e)
	}
	if m.video.PlaybackPolicy != want {
		t.Errorf("the policy of the view is %q, want %q", m.video.PlaybackPolicy, want)
	}
}

// TestAnEarlierVersionKeepsAVideoSigned: an event of a process that knows no policies makes no video public.
func TestAnEarlierVersionKeepsAVideoSigned(t *testing.T) {
	w := newWorld(t, ladder())
	up := uploadOf(ladder().pipeline())
	up.PlaybackPolicy = pipeline.PlaybackSigned
	uploaded := w.accept(up)
	old, err := pipeline.NewEvent("upload", pipeline.VideoChanged, pipeline.ChangedSubject(project, video), video, uploaded,
		json.RawMessage(`{"title":"old","metadata":{},"passthrough":""}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.log.Append(t.Context(), old, 0); err != nil {
		t.Fatal(err)
	}
	w.wantPolicy(t, pipeline.PlaybackSigned)
	e := w.changed(titled("new"))
	var l pipeline.Label
	if err := e.Decode(&l); err != nil || l.PlaybackPolicy != pipeline.PlaybackSigned {
		t.Errorf("the next change says %+v, %v", l, err)
	}
	w.wantPolicy(t, pipeline.PlaybackSigned)
}

func TestCheckPlaybackPolicy(t *testing.T) {
	for _, p := range []pipeline.PlaybackPolicy{"", "Signed", "private"} {
		if pipeline.CheckPlaybackPolicy(p) == nil {
			t.Errorf("%q may be asked for", p)
		}
		if p != "" && !p.Signed() {
			t.Errorf("%q plays to everybody", p)
		}
	}
	for _, p := range pipeline.PlaybackPolicies() {
		if err := pipeline.CheckPlaybackPolicy(p); err != nil || p.Signed() != (p == pipeline.PlaybackSigned) {
			t.Errorf("%q: %v", p, err)
		}
	}
}
