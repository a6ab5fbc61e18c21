package api

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/bus"
	"github.com/reelmill/reelmill/pipeline/why"
)

func TestQueuesArePausedAndResumed(t *testing.T) {
	e := newEnv(t, func(c *Config) {
		c.Workers = c.Queues.(*bus.Bus).Workers
	})
	v := e.uploaded()
	slots := 3
	must(t, e.Bus.Announce(t.Context(), bus.Presence{
		Type: "inspect", Process: "p1", Version: "v9", Slots: &slots, Schema: []byte(`{"type":"object"}`),
	}))
	tasks, err := pipeline.TasksOf(t.Context(), e.Bus, project, v.ID)
	must(t, err)
	must(t, e.Bus.Enqueue(t.Context(), tasks[0]))
	l := read[list[queueView]](e, "/v1/queues")
	if len(l.Data) != 1 || l.Data[0].Type != "inspect" || l.Data[0].Depth != 1 || l.Data[0].Slots != 3 ||
		l.Data[0].Paused || l.Data[0].Oldest == nil || l.Data[0].ByPriority["high"] != 1 {
		t.Fatalf("queues %+v", l.Data)
	}
	types := read[list[workerTypeView]](e, "/v1/worker_types").Data
	if len(types) != 1 || types[0].Workers != 1 || types[0].Lag != 1 || types[0].Versions[0] != "v9" ||
		!strings.Contains(string(types[0].Schema), "object") {
		t.Errorf("types %+v", types)
	}
	resp, raw := e.do("POST", "/v1/queues/inspect/pause", strings.NewReader(`{"reason":"a bad disk"}`),
		"Content-Type", "application/json")
	q := decode[queueView](t, raw)
	if resp.StatusCode != 200 || !q.Paused || q.Reason != "a bad disk" || q.PausedAt == nil || q.Depth != 1 {
		t.Fatalf("%s: %s", resp.Status, raw)
	}
	reason := read[why.Why](e, "/v1/videos/"+v.ID+"/why")
	if !strings.Contains(reason.Summary, "paused") || !strings.Contains(reason.Summary, "a bad disk") ||
		reason.Jobs[0].Reason != why.Paused {
		t.Errorf("why: %+v", reason)
	}
	resp, raw = e.do("POST", "/v1/queues/inspect/resume", nil)
	if q := decode[queueView](t, raw); resp.StatusCode != 200 || q.Paused || q.PausedAt != nil || q.Depth != 1 {
		t.Fatalf("%s: %s", resp.Status, raw)
	}
	d, err := e.Bus.NextAtLeast(t.Context(), "inspect", pipeline.Bulk)
	must(t, err)
	if q := read[list[queueView]](e, "/v1/queues").Data[0]; q.InWork != 1 || q.Depth != 0 {
		t.Errorf("in work: %+v", q)
	}
	must(t, d.Ack(t.Context()))
	for _, path := range []string{"/v1/queues/inspet/pause", "/v1/queues/none/resume"} {
		resp, raw := e.do("POST", path, nil)
		wantProblem(t, resp, raw, codeNotFound)
	}
	resp, raw = e.do("POST", "/v1/queues/inspect/pause", strings.NewReader(`{"raeson":"x","reason":`+
		`"`+strings.Repeat("x", 501)+`"}`), "Content-Type", "application/json")
	if p := wantProblem(t, resp, raw, codeInvalid); len(p.Errors) != 2 ||
		p.Errors[0].Pointer != "/body/reason" || p.Errors[1].Pointer != "/body/raeson" {
		t.Errorf("a reason that is too long, and a field that does not exist: %s", raw)
	}
}

func TestQueueView(t *testing.T) {
	now := time.Now()
	q := pipeline.WorkerQueue{
		Oldest: now.Add(-time.Minute), Tasks: map[pipeline.Priority]int{pipeline.Normal: 3},
		Running: []pipeline.Runner{{Slots: 1}},
	}
	v := viewOfQueue(q, pipeline.Pace{Completed: 11, First: now.Add(-100 * time.Second)}, now)
	if v.OldestAge != 60 || v.Wait == nil || *v.Wait != 30 {
		t.Errorf("%+v", v)
	}
	if v := viewOfQueue(q, pipeline.Pace{}, now); v.Wait != nil {
		t.Errorf("the wait is unknown, and is said to be %v", *v.Wait)
	}
}

// TestQueuesEstimateTheWait: the pace comes from the read model.
func TestQueuesEstimateTheWait(t *testing.T) {
	e := newEnv(t, func(c *Config) { c.Paces = paces{"inspect": {Completed: 5, First: time.Now().Add(-time.Hour)}} })
	v := e.uploaded()
	must(t, e.Bus.Announce(t.Context(), bus.Presence{Type: "inspect", Process: "p1"}))
	tasks, err := pipeline.TasksOf(t.Context(), e.Bus, project, v.ID)
	must(t, err)
	must(t, e.Bus.Enqueue(t.Context(), tasks[0]))
	q := read[list[queueView]](e, "/v1/queues").Data[0]
	if q.Wait == nil || *q.Wait < 900 || *q.Wait > 1000 {
		t.Errorf("a quarter of an hour for each: %+v", q)
	}
}

// paces is a read model with these paces of the last 15 minutes.
type paces map[string]pipeline.Pace

func (p paces) Paces(_ context.Context, since time.Time) (map[string]pipeline.Pace, error) {
	if ago := time.Since(since); ago < pipeline.PaceWindow {
		return nil, fmt.Errorf("asked for those since %v ago", ago)
	}
	return p, nil
}
