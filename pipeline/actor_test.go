package pipeline_test

import (
	"encoding/json"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
)

// TestActors: each event says who did it: whoever asked, and the system for what follows by itself.
func TestActors(t *testing.T) {
	w := newWorld(t, ladder())
	asked := pipeline.WithActor(t.Context(), "key:key_1")
	up, _, err := pipeline.Accept(asked, w.log, project, video, uploadOf(ladder().pipeline()), "")
	if err != nil {
		t.Fatal(err)
	}
	w.settle()
	w.run("inspect", accepted())
	title := func(l pipeline.Label) (pipeline.Label, error) { l.Title = "new"; return l, nil }
	changed, err := pipeline.Change(asked, w.log, project, video, title)
	if err != nil {
		t.Fatal(err)
	}
	anonymous := pipeline.WithActor(t.Context(), pipeline.ActorAnonymous)
	canceled, err := pipeline.Cancel(anonymous, w.log, project, video)
	if err != nil {
		t.Fatal(err)
	}
	w.settle()
	deleted, err := pipeline.Delete(asked, w.log, project, video)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []pipeline.Event{up, changed, deleted} {
		if e.Actor != "key:key_1" {
			t.Errorf("%s is returned as of %q", e.Type, e.Actor)
		}
	}
	if canceled.Actor != "anonymous" {
		t.Errorf("%s is returned as of %q", canceled.Type, canceled.Actor)
	}
	want := map[pipeline.EventType]string{
		pipeline.VideoUploaded: "key:key_1", pipeline.VideoChanged: "key:key_1", pipeline.VideoDeleted: "key:key_1",
		pipeline.VideoCanceled: "anonymous", pipeline.VideoInspected: "system", pipeline.JobCanceled: "system",
	}
	seen := map[pipeline.EventType]bool{}
	for _, e := range w.log.events {
		if actor, ok := want[e.Type]; ok && e.Actor != actor {
			t.Errorf("%s is by %q, want %q", e.Type, e.Actor, actor)
		}
		seen[e.Type] = true
		mustBeValid(t, e)
	}
	for kind := range want {
		if !seen[kind] {
			t.Errorf("there is no %s", kind)
		}
	}
}

// TestNobodyKnownActed: an event of an earlier version has no actor, and stays as it was.
func TestNobodyKnownActed(t *testing.T) {
	old := `{"id":"evt_1","source":"/reelmill/upload","specversion":"1.0","type":"video.deleted",` +
		`"subject":"video.deleted.p.v","time":"2026-05-01T11:59:00Z","datacontenttype":"application/json",` +
		`"eventversion":1,"correlationid":"v","causationid":"evt_1",` +
		`"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","data":{}}`
	var e pipeline.Event
	if err := json.Unmarshal([]byte(old), &e); err != nil || e.Actor != "" {
		t.Fatalf("%+v, %v", e, err)
	}
	again, err := json.Marshal(e)
	if err != nil || string(again) != old {
		t.Errorf("%s, %v", again, err)
	}
	mustBeValid(t, e)
}
