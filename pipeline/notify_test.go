package pipeline_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
)

// delivery returns the delivery in the task of a notify job.
func delivery(t *testing.T, task pipeline.Task) pipeline.Delivery {
	t.Helper()
	var d pipeline.Delivery
	if err := json.Unmarshal(task.Job.Part, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// TestPlayableIsToldByWebhook: the webhook is sent at once, under the id of its event, and always with the
// same body. The video goes on meanwhile, and a redrive after its end sends the same.
func TestPlayableIsToldByWebhook(t *testing.T) {
	p := planner{"a": {{}}, "b": {{}}}
	w := newWorld(t, p)
	w.accept(uploadOf(p.pipeline()))
	w.run("inspect", accepted())
	w.run("a", manifest("master.m3u8"))
	w.want("b", "notify-playable")
	task, _ := w.tasks.take("notify-playable")
	first, event := delivery(t, task), w.log.of(pipeline.VideoPlayable)[0]
	if v := first.Body.Data; first.ID != event.ID || first.Body.Type != pipeline.VideoPlayable || !v.Playable ||
		v.Status != pipeline.StateVideoProcessing || v.PlayURL == "" || len(v.Warnings) != 0 ||
		!first.Body.Timestamp.Equal(event.Time) || task.EventID != event.ID {
		t.Errorf("sent %+v", first)
	}
	w.write(pipeline.JobStarted, task, pipeline.JobEvent{Attempt: 1, Owner: 1})
	w.run("b", pipeline.Result{})
	if end := w.finish(); end.State != pipeline.StateVideoReady {
		t.Fatalf("the end waits for the webhook: %+v", end)
	}
	w.want("notify")
	problem := pipeline.ProblemOf(pipeline.Fail(pipeline.CodeWebhookFailed, "the receiver answered 500"))
	w.write(pipeline.JobErrored, task, pipeline.JobEvent{Attempt: 1, Failed: 1, Problem: problem})
	w.settle()
	redrive(t, w, "notify-playable")
	w.want("notify", "notify-playable")
	again, _ := w.tasks.take("notify-playable")
	if string(again.Job.Part) != string(task.Job.Part) {
		t.Errorf("sent %s\nthen %s", task.Job.Part, again.Job.Part)
	}
	mustBeValid(t, w.log.events...)
}

// TestPlayableIsNotToldOfOldEvents: an event of a version that sent webhooks for the end only leads to none.
func TestPlayableIsNotToldOfOldEvents(t *testing.T) {
	p := planner{"a": {{}}}
	w := newWorld(t, p)
	up := uploadOf(p.pipeline())
	uploaded := w.accept(up)
	e, err := pipeline.NewEvent("coordinator", pipeline.VideoPlayable, pipeline.PlayableSubject(project, video), video,
		uploaded, pipeline.Playable{Path: "master.m3u8", Job: "a"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.log.Append(context.Background(), e, 0); err != nil {
		t.Fatal(err)
	}
	w.run("inspect", accepted())
	w.run("a", manifest("master.m3u8"))
	w.want("notify")
}

// TestPlayableIsToldAfterACrash: the event alone leads to the task, if the coordinator crashed between the
// two.
func TestPlayableIsToldAfterACrash(t *testing.T) {
	p := planner{"a": {{}}, "b": {{}}}
	w := newWorld(t, p)
	w.accept(uploadOf(p.pipeline()))
	w.run("inspect", accepted())
	task, _ := w.tasks.take("a")
	w.tasks.take("b")
	w.write(pipeline.JobStarted, task, pipeline.JobEvent{Attempt: 1, Owner: 1})
	r := manifest("master.m3u8")
	done := w.write(pipeline.JobCompleted, task, pipeline.JobEvent{Attempt: 1, Result: &r})
	w.coord.Tasks = &dying{w.tasks, 1} // b is enqueued again
	if err := w.coord.Handle(context.Background(), done); !errors.Is(err, errDead) {
		t.Fatalf("it did not die: %v", err)
	}
	w.coord.Tasks = w.tasks
	w.handle(w.log.of(pipeline.VideoPlayable)[0])
	w.want("b", "notify-playable")
}

// TestUndeliveredWebhookIsAWarning: the warning has the last answer, and stays until the webhook is
// delivered. That of video.playable survives the end of the video and a reopening; a webhook of an earlier
// end adds none.
func TestUndeliveredWebhookIsAWarning(t *testing.T) {
	var d diary
	view := &views{jobs: map[string]*pipeline.JobView{}}
	do := func(want ...string) {
		t.Helper()
		view.apply(t, d.events[len(d.events)-1])
		var got []string
		for _, w := range view.video.Warnings {
			got = append(got, w.Job+" "+w.Detail)
		}
		if strings.Join(got, "|") != strings.Join(want, "|") || view.video.Warnings == nil {
			t.Errorf("after %s: %q, want %q", d.events[len(d.events)-1].Type, got, want)
		}
	}
	job := func(e pipeline.EventType, name, answer string) {
		data := pipeline.JobEvent{Job: name, Step: "notify", Worker: pipeline.NotifyWorker, Attempt: 1}
		if answer != "" {
			data.Problem = pipeline.ProblemOf(pipeline.Fail(pipeline.CodeWebhookFailed, "%s", answer))
		}
		d.tell(e, pipeline.JobSubject(project, video, name), data)
	}
	d.uploaded()
	do()
	d.tell(pipeline.VideoPlayable, pipeline.PlayableSubject(project, video), pipeline.Playable{Notify: true})
	do()
	job(pipeline.JobStarted, "notify-playable", "")
	do()
	job(pipeline.JobRetrying, "notify-playable", "502")
	do("notify-playable 502")
	job(pipeline.JobRetrying, "notify-playable", "503")
	do("notify-playable 503")
	optional := pipeline.ProblemOf(pipeline.Fail(pipeline.CodeEncodeFailed, "x"))
	optional.Job = "thumbnail"
	d.ended(pipeline.Finish{
		State: pipeline.StateVideoReady, Notify: true, Warnings: []pipeline.Problem{*optional},
	})
	do("thumbnail x", "notify-playable 503")
	job(pipeline.JobRetrying, "notify", "404")
	do("thumbnail x", "notify-playable 503", "notify 404")
	job(pipeline.JobErrored, "notify", "410")
	do("thumbnail x", "notify-playable 503", "notify 410")
	if v := view.video; v.Owed || !v.OwedPlayable || !v.Open() {
		t.Errorf("owed %v, playable %v, open %v", v.Owed, v.OwedPlayable, v.Open())
	}
	d.tell(pipeline.VideoReopened, pipeline.FinishedSubject(project, video), pipeline.Finish{Generation: 1})
	do("notify-playable 503")
	job(pipeline.JobRetrying, "notify", "500")
	do("notify-playable 503")
	job(pipeline.JobCompleted, "notify-playable", "")
	do()
	d.ended(pipeline.Finish{State: pipeline.StateVideoReady, Notify: true, Generation: 1})
	do()
	job(pipeline.JobErrored, "notify-1", "500")
	do("notify-1 500")
	job(pipeline.JobRequeued, "notify-1", "")
	do("notify-1 500")
	job(pipeline.JobCompleted, "notify-1", "")
	do()
	if view.video.Open() {
		t.Error("the view is open")
	}
}
