package main

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/stats"
)

// evidence is what the checker reads after a run: the accepted videos, and what the read model, the receiver,
// the API and the store have of them.
type evidence struct {
	videos  map[string]*video
	events  map[string][]pipeline.Event
	heard   []delivery
	status  map[string]string // of each video in the API
	outputs map[string][]pipeline.OutputView
	objects map[string][]byte
	letters []letter
	stats   stats.Stats
}

// goodPrefix begins the keys of good's objects.
const goodPrefix = "videos/good/work/2/"

// sound returns evidence of kept promises: good became ready, bad failed as expected, dropped was
// deleted, and the job of again failed, was retried and failed again.
func sound() *evidence {
	e := &evidence{
		videos: map[string]*video{
			"good":    {id: "good", pipeline: "quick", expect: "ready"},
			"bad":     {id: "bad", pipeline: "broken", expect: "errored"},
			"again":   {id: "again", pipeline: "broken", expect: "errored", redriven: true},
			"dropped": {id: "dropped", pipeline: "quick", expect: "ready", deleted: true},
		},
		events:  map[string][]pipeline.Event{},
		status:  map[string]string{"good": "ready", "bad": "errored", "again": "errored"},
		outputs: map[string][]pipeline.OutputView{}, objects: map[string][]byte{},
		letters: []letter{{Video: "bad", Job: "work", Worker: "chaos"}, {Video: "again", Job: "work", Worker: "chaos"}},
	}
	e.add("good", "video.uploaded", map[string]any{})
	e.add("good", "job.started", job("chaos"))
	e.add("good", "video.playable", map[string]any{"notify": true})
	e.add("good", "job.completed", job("chaos"))
	e.end("good", "ready", 0)
	e.add("bad", "job.errored", job("chaos"))
	e.end("bad", "errored", 0)
	e.add("again", "job.errored", job("chaos"))
	e.end("again", "errored", 0)
	e.add("again", "job.requeued", job("chaos"))
	e.add("again", "video.reopened", map[string]any{})
	e.add("again", "job.errored", job("chaos"))
	e.end("again", "errored", 1)
	for _, id := range []string{"good-video.playable-3", "good-video.ready-5"} {
		e.heard = append(e.heard, delivery{id: id, video: "good", answer: http.StatusOK})
	}
	e.output(pipeline.Output{Kind: "chaos", Path: "work.bin", Key: goodPrefix + "work.bin"},
		chaosContent("good", "work", 100))
	e.output(pipeline.Output{Path: "s_%05d", Key: goodPrefix + "s_%05d", Segments: &pipeline.Segments{Count: 1}},
		[]byte("segment"))
	e.stats.Total = stats.Window{Uploaded: 4, Ready: 1, Failed: map[string]int{"input": 3}}
	return e
}

func job(worker string) map[string]any {
	return map[string]any{"job": "work", "step": "work", "worker": worker, "process": "h/1"}
}

// add appends an event of a video.
func (e *evidence) add(id, kind string, data map[string]any) {
	raw, err := json.Marshal(data)
	if err != nil {
		panic(err)
	}
	at := len(e.events[id]) + 1
	subject := "video.default." + id
	if strings.HasPrefix(kind, "job.") {
		subject = "job.default." + id + ".work"
	}
	e.events[id] = append(e.events[id], pipeline.Event{
		ID: id + "-" + kind + "-" + string(rune('0'+at)), Type: pipeline.EventType(kind), Subject: subject,
		Sequence: uint64(at), Time: time.Unix(1000+int64(at), 0), Data: raw,
	})
}

func (e *evidence) end(id, state string, generation int) {
	e.add(id, "video."+state, map[string]any{
		"state": state, "generation": generation, "notify": id == "good",
	})
}

// output adds an output to good.
func (e *evidence) output(o pipeline.Output, content []byte) {
	sum := sha256.Sum256(content)
	o.Size, o.SHA256 = int64(len(content)), hex.EncodeToString(sum[:])
	e.outputs["good"] = append(e.outputs["good"], pipeline.OutputView{Output: o, Job: "work"})
	e.objects[strings.Replace(o.Key, "%05d", "00000", 1)] = content
}

// drop removes the events of a type from a video.
func (e *evidence) drop(id, kind string) {
	e.events[id] = slices.DeleteFunc(e.events[id], func(x pipeline.Event) bool { return string(x.Type) == kind })
}

// ServeHTTP answers as the API does.
func (e *evidence) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var answer any
	rest, isVideo := strings.CutPrefix(r.URL.Path, "/v1/videos/")
	id, _, isOutputs := strings.Cut(rest, "/outputs")
	switch {
	case isVideo && e.status[id] == "":
		w.WriteHeader(http.StatusNotFound)
	case isOutputs:
		answer = map[string]any{"data": e.outputs[id]}
	case isVideo:
		answer = map[string]any{"status": e.status[id]}
	case strings.HasPrefix(r.URL.Path, "/v1/dead_letters"):
		answer = map[string]any{"data": e.letters}
	default:
		answer = e.stats
	}
	if answer != nil {
		_ = json.NewEncoder(w).Encode(answer) // a client that went away fails the test itself
	}
}

// judge runs the checker, as after a phase.
func (e *evidence) judge(t *testing.T) *result {
	t.Helper()
	server := httptest.NewServer(e)
	defer server.Close()
	dir := t.TempDir()
	p := &phase{
		harness: &harness{receiver: &receiver{log: e.heard}}, url: server.URL, data: dir,
		store: filepath.Join(dir, "objects"), load: &load{},
	}
	for _, v := range e.videos {
		p.load.videos = append(p.load.videos, v)
	}
	e.write(t, p)
	r, err := p.check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.Violations = append(r.Violations, r.pending...)
	if err := p.checkAPI(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	return r
}

// write puts the events into a read model and the objects into the store.
func (e *evidence) write(t *testing.T, p *phase) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+p.catalogPath())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), "CREATE TABLE events (video TEXT, sequence INT, doc TEXT)"); err != nil {
		t.Fatal(err)
	}
	for id, all := range e.events {
		for _, x := range all {
			doc, err := json.Marshal(x)
			if err == nil {
				_, err = db.ExecContext(t.Context(), "INSERT INTO events VALUES (?, ?, ?)", id, x.Sequence, string(doc))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	for key, content := range e.objects {
		path := filepath.Join(p.store, key)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSoundEvidenceHasNoFinding(t *testing.T) {
	r := sound().judge(t)
	if len(r.Violations) > 0 {
		t.Errorf("findings in sound evidence: %v", r.Violations)
	}
	if r.Accepted != 4 || r.Finished != 4 || r.Jobs != 3 || r.Outputs != 2 || r.Webhooks != 2 || r.Leftovers != 0 {
		t.Errorf("counted %+v", r)
	}
}

func TestAGoneReceiverMayLoseItsWebhook(t *testing.T) {
	e := sound()
	e.videos["good"].gone = true
	for i := range e.heard {
		e.heard[i].answer = http.StatusGone
	}
	e.add("good", "job.errored", job(pipeline.NotifyWorker))
	e.letters = append(e.letters, letter{Video: "good", Job: "work", Worker: pipeline.NotifyWorker})
	if r := e.judge(t); len(r.Violations) > 0 {
		t.Errorf("findings: %v", r.Violations)
	}
}

func TestLeftoversAreCounted(t *testing.T) {
	e := sound()
	e.objects[goodPrefix+"unknown.bin"] = []byte("x")
	if r := e.judge(t); r.Leftovers != 1 || len(r.Violations) > 0 {
		t.Errorf("%d leftovers, findings %v", r.Leftovers, r.Violations)
	}
}

// TestEachFinding spoils sound evidence in one way, and checks that a finding reports it.
func TestEachFinding(t *testing.T) {
	for _, c := range []struct {
		kind, what string
		spoil      func(e *evidence)
	}{
		{lost, "there is no event of it", func(e *evidence) { delete(e.events, "good"); e.heard = nil }},
		{lost, "a retry was accepted", func(e *evidence) { e.events["again"] = e.events["again"][:2] }},
		{lost, "no webhook for video.ready arrived", func(e *evidence) { e.heard[1].answer = 500 }},
		{lost, "no webhook for video.playable arrived", func(e *evidence) { e.heard = e.heard[1:] }},
		{lost, "the API answers 404", func(e *evidence) { delete(e.status, "good") }},
		{lost, "it is ready and has no outputs", func(e *evidence) { delete(e.outputs, "good") }},
		{lost, "has no dead letter", func(e *evidence) { e.letters = e.letters[1:] }},

		{doubled, "one upload became other videos too", func(e *evidence) { e.videos["good"].others = []string{"x"} }},
		{doubled, "was completed 2 times", func(e *evidence) { e.add("good", "job.completed", job("chaos")) }},
		{doubled, "generation 0 ended 2 times", func(e *evidence) { e.end("bad", "errored", 0) }},
		{doubled, "a webhook with id x", func(e *evidence) {
			e.heard = append(e.heard, delivery{id: "x", video: "good", answer: http.StatusOK})
		}},

		{stuck, "it has not ended", func(e *evidence) { e.drop("bad", "video.errored") }},
		{stuck, "it has not ended", func(e *evidence) { e.events["again"] = e.events["again"][:5] }},

		{spurious, "failed for good", func(e *evidence) {
			e.events["good"] = nil
			e.add("good", "job.errored", job("chaos"))
			e.add("good", "video.playable", map[string]any{})
			e.add("good", "job.completed", job("chaos"))
			e.end("good", "ready", 0)
			e.heard = []delivery{{id: "good-video.ready-4", video: "good", answer: http.StatusOK}}
			e.letters = append(e.letters, letter{Video: "good", Job: "work", Worker: "chaos"})
		}},
		{spurious, "a letter of work", func(e *evidence) {
			e.letters = append(e.letters, letter{Video: "good", Job: "work", Worker: "chaos"})
		}},
		{spurious, "a letter of work", func(e *evidence) {
			e.letters = append(e.letters, letter{Video: "nobody", Job: "work", Worker: "chaos"})
		}},

		{wrong, "the read model has 1 events of it", func(e *evidence) { e.end("dropped", "ready", 0) }},
		{wrong, "it is deleted, and the API answers 200", func(e *evidence) { e.status["dropped"] = "ready" }},
		{wrong, "it ended with video.errored, want ready", func(e *evidence) {
			e.drop("good", "video.ready")
			e.end("good", "errored", 0)
			e.heard[1].id = "good-video.errored-5"
		}},
		{wrong, "the API says processing, want errored", func(e *evidence) { e.status["bad"] = "processing" }},
		{wrong, "no such file", func(e *evidence) { delete(e.objects, goodPrefix+"work.bin") }},
		{wrong, "no such file", func(e *evidence) { delete(e.objects, goodPrefix+"s_00000") }},
		{wrong, "99 bytes, want 100", func(e *evidence) {
			e.objects[goodPrefix+"work.bin"] = e.objects[goodPrefix+"work.bin"][:99]
		}},
		{wrong, "another SHA-256", func(e *evidence) { e.outputs["good"][0].SHA256 = "0" }},
		{wrong, "not what this job of this video writes", func(e *evidence) { e.outputs["good"][0].Job = "other" }},
		{wrong, "3 bytes, want 7", func(e *evidence) { e.objects[goodPrefix+"s_00000"] = []byte("seg") }},
		{wrong, "the statistics say 3 uploaded, want 4 to 4", func(e *evidence) { e.stats.Total.Uploaded = 3 }},
		{wrong, "the statistics say 0 ready, want 1 to 2", func(e *evidence) { e.stats.Total.Ready = 0 }},
		{wrong, "the statistics say 0 failed, want 3 to 4", func(e *evidence) { e.stats.Total.Failed = nil }},
		{wrong, "the statistics say 2 canceled, want 0 to 1", func(e *evidence) { e.stats.Total.Canceled = 2 }},
	} {
		e := sound()
		c.spoil(e)
		r := e.judge(t)
		if !slices.ContainsFunc(r.Violations, func(v violation) bool {
			return v.Kind == c.kind && strings.Contains(v.What, c.what)
		}) {
			t.Errorf("%s, %q: findings %v", c.kind, c.what, r.Violations)
		}
	}
}

// TestChosenFaults checks which faults -faults asks for, and that a run of faults that are all left out ends at once.
func TestChosenFaults(t *testing.T) {
	for _, c := range []struct {
		choose string
		want   []string
	}{
		{"", []string{"at", "a", "b"}},
		{"b", []string{"b"}},
		{"a,b", []string{"at", "a", "b"}}, // at has an a
		{"at", []string{"at"}},
		{"c", nil},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := &phase{harness: newHarness(options{choose: c.choose, seed: 1})}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			seen := map[string]bool{}
			inject := func(name string) fault {
				return fault{name, func(context.Context) {
					seen[name] = true
					if !slices.ContainsFunc(c.want, func(w string) bool { return !seen[w] }) {
						cancel()
					}
				}}
			}
			p.play(ctx, inject("at"), []fault{inject("a"), inject("b")})
			for name := range seen {
				if !slices.Contains(c.want, name) {
					t.Errorf("%q: %s was injected", c.choose, name)
				}
			}
		})
	}
}
