package why_test

import (
	"slices"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/why"
)

const project, video = "acme", "vid_01"

var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// ago returns the time s seconds before noon.
func ago(s int) time.Time { return noon.Add(-time.Duration(s) * time.Second) }

func jobEvent(t *testing.T, at time.Time, kind pipeline.EventType, data pipeline.JobEvent) pipeline.Event {
	t.Helper()
	e, err := pipeline.NewEvent("test", kind, pipeline.JobSubject(project, video, data.Job), video, pipeline.Event{}, data)
	if err != nil {
		t.Fatal(err)
	}
	e.Time = at
	return e
}

func TestExplainJobs(t *testing.T) {
	in58 := noon.Add(58 * time.Second)
	failed := pipeline.ProblemOf(pipeline.Fail(pipeline.CodeStorageFailed, "no answer"))
	pending := pipeline.JobView{Name: "a", Worker: "transcode", Status: pipeline.StateJobPending, CreatedAt: ago(20)}
	running, retrying, after := pending, pending, pending
	running.Status, running.Attempt = pipeline.StateJobProcessing, 1
	retrying.Status, retrying.Attempt, retrying.RetryAt = pipeline.StateJobRetrying, 2, &in58
	retrying.Problem = failed
	after.After = []string{"b", "c", "d", "e", "f"}
	fresh := pending
	fresh.CreatedAt = ago(1)
	started := jobEvent(t, ago(12), pipeline.JobStarted, pipeline.JobEvent{Job: "a", Process: "host/123", Attempt: 1})
	back := jobEvent(t, ago(12), pipeline.JobInterrupted, pipeline.JobEvent{Job: "a", Process: "host/123"})
	again := jobEvent(t, ago(2), pipeline.JobRetrying,
		pipeline.JobEvent{Job: "a", Process: "host/123", Attempt: 2, Failed: 2, Problem: failed, RetryAt: &in58})
	tasks := []pipeline.Task{{Job: pipeline.Job{Name: "a", Retry: []pipeline.Seconds{1, 2, 3, 4}}}}
	at := func(p pipeline.Place) map[string]pipeline.Place { return map[string]pipeline.Place{"a": p} }
	for name, c := range map[string]struct {
		job    pipeline.JobView
		facts  why.Facts
		events []pipeline.Event
		reason why.Reason
		want   string
	}{
		"queued": {
			pending, why.Facts{Places: at(pipeline.Place{Queued: true, Ahead: 3})}, nil,
			"queued", "a is the 4th of its project in the queue of transcode",
		},
		"paused": {
			pending, why.Facts{
				Places: at(pipeline.Place{Queued: true}),
				Pauses: map[string]pipeline.Pause{"transcode": {Reason: "a bad disk", Since: ago(60)}},
			}, nil,
			"paused", "the queue of transcode has been paused since " + pipeline.Clock(ago(60)) +
				" (a bad disk): resume it",
		},
		"next": {
			pending, why.Facts{Places: at(pipeline.Place{Queued: true})}, nil,
			"queued", "a is next of its project in the queue of transcode",
		},
		"limited": {
			pending, why.Facts{Places: at(pipeline.Place{Queued: true, Limit: 2})}, nil,
			"limited", "a waits, since encodes_at_once of the project is 2, and so many of its transcode jobs run",
		},
		"taken": {
			pending, why.Facts{Places: at(pipeline.Place{Queued: true, Taken: true})}, nil,
			"queued", "a is with a worker of transcode, which is about to begin",
		},
		"given back": {
			pending, why.Facts{Places: at(pipeline.Place{Queued: true, Taken: true})}, []pipeline.Event{back},
			"queued", "a was given back unfinished, and is soon taken again",
		},
		"nothing known": {pending, why.Facts{}, nil, "queued", "a waits for a worker of transcode"},
		"just planned":  {fresh, why.Facts{Places: at(pipeline.Place{})}, nil, "queued", "a is about to be queued"},
		"running": {
			running,
			why.Facts{
				Places:   at(pipeline.Place{Queued: true, Taken: true}),
				Progress: map[string]pipeline.Progress{"a": {Attempt: 1, Fraction: 0.405, Speed: 2}},
				Workers:  map[string]int{"transcode": 1},
			},
			[]pipeline.Event{started}, "running", "a has run for 12 s on host/123, 40 %",
		},
		"progress of another attempt": {
			running, why.Facts{Progress: map[string]pipeline.Progress{"a": {Attempt: 2, Fraction: 0.4}}},
			[]pipeline.Event{started}, "running", "a has run for 12 s on host/123",
		},
		"retrying": {
			retrying, why.Facts{Tasks: tasks, Places: at(pipeline.Place{DueAt: &in58})}, []pipeline.Event{again},
			"retrying", "a failed (storage_failed: no answer) and is tried again in 58 s, attempt 3 of 5",
		},
		"retrying, unknown place": {
			retrying, why.Facts{}, nil,
			"retrying", "a failed (storage_failed: no answer) and is tried again in 58 s, attempt 3",
		},
		"retry is due": {
			retrying, why.Facts{Places: at(pipeline.Place{Queued: true, Ahead: 10})}, nil,
			"retrying", "a failed (storage_failed: no answer) and is tried again in 58 s, attempt 3",
		},
		"blocked": {after, why.Facts{}, nil, "blocked", "a waits for b, c, d and 2 more"},
		"no worker": {
			pending, why.Facts{
				Places: at(pipeline.Place{Queued: true, Ahead: 21}), Workers: map[string]int{"audio": 2},
			}, nil,
			"worker_missing", "nobody runs the worker type transcode: start a worker that has it",
		},
		"stalled": {
			pending, why.Facts{Places: at(pipeline.Place{})}, nil,
			"stalled", "a is neither queued nor scheduled: the sweeper will enqueue it within three minutes",
		},
		"stalled while running": {
			running, why.Facts{Places: at(pipeline.Place{})}, []pipeline.Event{started},
			"stalled", "a is neither queued nor scheduled: the sweeper will enqueue it within three minutes",
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, e := range c.events {
				c.facts.Add(e)
			}
			view := pipeline.VideoView{ID: video, Status: pipeline.StateVideoProcessing}
			w := why.Explain(view, []pipeline.JobView{c.job}, c.facts, noon)
			if len(w.Jobs) != 1 || w.Jobs[0].Reason != c.reason || w.Summary != c.want || w.Jobs[0].Detail != c.want {
				t.Errorf("%q %+v\nwant %s %q", w.Summary, w.Jobs, c.reason, c.want)
			}
		})
	}
}

func TestExplainNumbers(t *testing.T) {
	facts := why.Facts{
		Places:   map[string]pipeline.Place{"b": {Queued: true, Ahead: 21}},
		Progress: map[string]pipeline.Progress{"a": {Attempt: 1, Fraction: 2, Speed: 1.5}},
	}
	facts.Add(jobEvent(t, ago(3700), pipeline.JobStarted, pipeline.JobEvent{Job: "a", Process: "h", Attempt: 1}))
	end := ago(90)
	w := why.Explain(pipeline.VideoView{Status: pipeline.StateVideoProcessing}, []pipeline.JobView{
		{Name: "a", Status: pipeline.StateJobProcessing, Attempt: 1},
		{Name: "b", Worker: "x", Status: pipeline.StateJobPending, After: []string{"c"}},
		{Name: "c", Status: pipeline.StateJobCompleted, FinishedAt: &end},
	}, facts, noon)
	a, b := w.Jobs[0], w.Jobs[1]
	if *a.Progress != 100 || *a.Speed != 1.5 || *a.Process != "h" || a.Position != nil {
		t.Errorf("%+v", a)
	}
	if *b.Position != 22 || b.Since != end || b.Process != nil || b.Progress != nil ||
		b.Detail != "b is the 22nd of its project in the queue of x" {
		t.Errorf("%+v", b)
	}
	if w.Summary != "a has run for 1 h 1 min on h, 100 %; 1 other job has not ended" {
		t.Error(w.Summary)
	}
}

func TestExplainTheMostTelling(t *testing.T) {
	jobs := []pipeline.JobView{
		{Name: "run", Status: pipeline.StateJobProcessing}, {Name: "wait", Status: pipeline.StateJobPending, After: []string{"run"}},
		{Name: "alone", Worker: "subtitles", Status: pipeline.StateJobPending},
	}
	facts := why.Facts{Workers: map[string]int{"": 1}}
	w := why.Explain(pipeline.VideoView{Status: pipeline.StateVideoProcessing}, jobs, facts, noon)
	want := "nobody runs the worker type subtitles: start a worker that has it; 2 other jobs have not ended"
	if w.Summary != want {
		t.Errorf("%q, want %q", w.Summary, want)
	}
}

func TestExplainEnds(t *testing.T) {
	at := ago(60)
	problem := pipeline.ProblemOf(pipeline.Fail(pipeline.CodeNotVideo, "it is text"))
	notify := pipeline.JobView{Name: "notify", Step: "notify", Worker: "webhook", Status: pipeline.StateJobPending}
	left := pipeline.JobView{Name: "a", Status: pipeline.StateJobProcessing} // being canceled
	for _, c := range []struct {
		view pipeline.VideoView
		jobs []pipeline.JobView
		want string
	}{
		{pipeline.VideoView{Status: "ready", FinishedAt: &at}, nil, "it has been ready since 2026-05-01 11:59:00 UTC"},
		{
			pipeline.VideoView{Status: "rejected", FinishedAt: &at, Problem: problem}, nil,
			"it has been rejected since 2026-05-01 11:59:00 UTC (input_not_video: it is text)",
		},
		{
			pipeline.VideoView{Status: "canceled", FinishedAt: &at}, []pipeline.JobView{left, notify},
			"it has been canceled since 2026-05-01 11:59:00 UTC; notify waits for a worker of webhook",
		},
		{
			pipeline.VideoView{Status: "processing"}, nil,
			"every planned job has ended: the next step is about to follow",
		},
	} {
		if w := why.Explain(c.view, c.jobs, why.Facts{}, noon); w.Summary != c.want {
			t.Errorf("%q, want %q", w.Summary, c.want)
		}
	}
}

func TestTimelineIsBounded(t *testing.T) {
	var facts why.Facts
	for n := range why.TimelineLimit + 7 {
		facts.Add(jobEvent(t, ago(-n), pipeline.JobStarted, pipeline.JobEvent{Job: "a", Attempt: n}))
	}
	facts.Add(pipeline.Event{Subject: "elsewhere"})
	w := why.Explain(pipeline.VideoView{}, nil, facts, noon)
	if len(w.Timeline) != why.TimelineLimit || w.Earlier != 7 || w.Timeline[0].At != ago(-7) {
		t.Errorf("%d moments, %d earlier", len(w.Timeline), w.Earlier)
	}
}

// TestExplainNotes: notes of workers are in the order of the plan, however the video ended.
// TestExplainBehindASkippedJob: a job that tolerates another waits for it no more, once that can never run.
func TestExplainBehindASkippedJob(t *testing.T) {
	var facts why.Facts
	inspected, err := pipeline.NewEvent("test", pipeline.VideoInspected, pipeline.InspectedSubject(project, video), video,
		pipeline.Event{}, pipeline.Inspected{Plan: []pipeline.Job{
			{Name: "a"}, {Name: "b", After: []string{"a"}}, {Name: "c", After: []string{"b"}, Tolerates: []string{"b"}},
		}})
	if err != nil {
		t.Fatal(err)
	}
	facts.Add(inspected)
	for status, want := range map[pipeline.JobState]int{pipeline.StateJobErrored: 0, pipeline.StateJobRetrying: 1} {
		jobs := []pipeline.JobView{
			{Name: "a", Status: status, Attempt: 1},
			{Name: "b", Status: pipeline.StateJobPending, After: []string{"a"}},
			{Name: "c", Status: pipeline.StateJobPending, After: []string{"b"}},
		}
		all := why.Explain(pipeline.VideoView{ID: video, Status: pipeline.StateVideoProcessing}, jobs, facts, noon).Jobs
		if last := all[len(all)-1]; last.Job != "c" || len(last.BlockedBy) != want {
			t.Errorf("a is %s: %+v", status, all)
		}
	}
}

func TestExplainNotes(t *testing.T) {
	var facts why.Facts
	inspected, err := pipeline.NewEvent("test", pipeline.VideoInspected, pipeline.InspectedSubject(project, video), video,
		pipeline.Event{}, pipeline.Inspected{Plan: []pipeline.Job{{Name: "a"}, {Name: "b", Note: "planned"}, {Name: "c"}}})
	if err != nil {
		t.Fatal(err)
	}
	facts.Add(inspected)
	done := func(job, note string) {
		facts.Add(jobEvent(t, ago(3), pipeline.JobCompleted, pipeline.JobEvent{
			Job: job, Result: &pipeline.Result{Facts: map[string]any{pipeline.FactNote: note}},
		}))
	}
	done("c", "third")
	done("a", "first")
	got := why.Explain(pipeline.VideoView{ID: video}, nil, facts, noon).Notes
	if want := []string{"first", "planned", "third"}; !slices.Equal(got, want) {
		t.Errorf("notes %q, want %q", got, want)
	}
	if got := why.Explain(pipeline.VideoView{ID: video}, nil, why.Facts{}, noon).Notes; got == nil || len(got) > 0 {
		t.Errorf("notes without facts: %#v", got)
	}
}

// TestExplainWebhooks: the text has the last answer, the attempts and the next one. A video never waits for a
// webhook.
func TestExplainWebhooks(t *testing.T) {
	due := ago(-300)
	failing := pipeline.JobView{
		ID: "vid_01/notify-playable", Name: "notify-playable", Step: "notify", Worker: pipeline.NotifyWorker,
		Status: pipeline.JobStateOf(pipeline.JobRetrying), Attempt: 2, RetryAt: &due,
		Problem: pipeline.ProblemOf(pipeline.Fail(pipeline.CodeWebhookFailed, "the receiver answered 503")),
	}
	running := pipeline.JobView{Name: "a", Step: "a", Worker: "a", Status: pipeline.StateJobProcessing, StartedAt: new(ago(0))}
	w := why.Explain(pipeline.VideoView{ID: "vid_01", Status: pipeline.StateVideoProcessing},
		[]pipeline.JobView{running, failing}, why.Facts{}, noon)
	want := "a has run for 0 s; notify-playable failed (webhook_failed: the receiver answered 503) and is tried again " +
		"in 5 min 0 s, attempt 3"
	if w.Summary != want || len(w.Jobs) != 2 || len(w.Notes) != 0 {
		t.Errorf("%+v", w)
	}
	failing.Status, failing.RetryAt, failing.Attempt = pipeline.StateJobErrored, nil, 10
	w = why.Explain(pipeline.VideoView{ID: "vid_01", Status: pipeline.StateVideoReady},
		[]pipeline.JobView{failing}, why.Facts{}, noon)
	want = "notify-playable was given up after 10 attempts (webhook_failed: the receiver answered 503): " +
		"`reelmill jobs retry vid_01/notify-playable` tries again"
	if len(w.Notes) != 1 || w.Notes[0] != want || w.Summary != "it is ready" {
		t.Errorf("%+v", w)
	}
}
