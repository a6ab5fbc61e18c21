package pipeline_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/reelmill/reelmill/pipeline"
)

// errCrash is the error of a write that was stored although its answer was lost.
var errCrash = errors.New("crashed after the write")

// storm is a world with two coordinators. They get events in any order and more than once, take turns in the
// middle of their work, and lose the answers to their writes.
type storm struct {
	*world
	rt        *rapid.T
	plan      map[string]pipeline.Job
	doomed    map[string]bool // jobs that will fail
	delivered int             // events that were put into pending
	pending   []pipeline.Event
	running   [2]*handling
	crashes   int // left to happen
	fetches   bool
	changes   int // of the title, likewise
	webhooks  map[string]bool
}

// handling is a delivery that a coordinator is working on: a coroutine that yields before every call.
type handling struct {
	event pipeline.Event
	step  func() (struct{}, bool)
	stop  func()
	yield func(struct{}) bool
	err   error
	s     *storm
}

func (h *handling) Last(ctx context.Context, subjects ...string) ([]pipeline.Event, error) {
	h.yield(struct{}{})
	return h.s.log.Last(ctx, subjects...)
}

func (h *handling) Append(ctx context.Context, e pipeline.Event, after uint64) (uint64, error) {
	h.yield(struct{}{})
	seq, err := h.s.log.Append(ctx, e, after)
	return seq, errors.Join(err, h.s.crash())
}

func (h *handling) Enqueue(ctx context.Context, t pipeline.Task) error {
	h.yield(struct{}{})
	h.s.mayRun(t)
	err := h.s.tasks.Enqueue(ctx, t)
	return errors.Join(err, h.s.crash())
}

func (h *handling) Withdraw(ctx context.Context, p, v string, jobs ...string) error {
	h.yield(struct{}{})
	return errors.Join(h.s.tasks.Withdraw(ctx, p, v, jobs...), h.s.crash())
}

func (s *storm) crash() error {
	if s.crashes == 0 || rapid.IntRange(0, 3).Draw(s.rt, "crash") != 0 {
		return nil
	}
	s.crashes--
	return errCrash
}

// mayRun checks that a task is enqueued only for a job that may run.
func (s *storm) mayRun(t pipeline.Task) {
	if t.Job.Step == "notify" {
		var told pipeline.Delivery
		if err := json.Unmarshal(t.Job.Part, &told); err != nil {
			s.rt.Fatal(err)
		}
		s.webhooks[told.ID] = true
		if told.Body.Type == pipeline.VideoPlayable && told.Body.Data.Status != pipeline.StateVideoProcessing {
			s.rt.Fatalf("the webhook says that a playable video is %s", told.Body.Data.Status)
		}
	}
	if s.fetches && t.Job.Name != "fetch" && t.Job.Step != "notify" && t.Source.Key != fetched().Source.Key {
		s.rt.Fatalf("%s is enqueued with the source %+v", t.Job.Name, t.Source)
	}
	for _, a := range s.plan[t.Job.Name].After {
		last, err := s.log.Last(context.Background(), pipeline.JobSubject(project, video, a))
		if err != nil || last[0].Type != pipeline.JobCompleted {
			s.rt.Fatalf("%s is enqueued while %s is %q: %v", t.Job.Name, a, last[0].Type, err)
		}
	}
}

// collect makes new events of the log pending.
func (s *storm) collect() {
	s.pending = append(s.pending, s.log.events[s.delivered:]...)
	s.delivered = len(s.log.events)
}

// begin starts the delivery of a pending event to coordinator i. The event stays pending until it is handled.
func (s *storm) begin(i int, e pipeline.Event) {
	h := &handling{event: e, s: s}
	slots := rapid.IntRange(0, 3).Draw(s.rt, "slots") // processes come and go
	c := &pipeline.Coordinator{
		Log: h, Archive: s.log, Tasks: h, Objects: s.objects, Planner: s.coord.Planner,
		Slots: func(string) int { return slots },
	}
	h.step, h.stop = iter.Pull(func(yield func(struct{}) bool) {
		h.yield = yield
		h.err = c.Handle(context.Background(), e)
	})
	s.running[i] = h
}

// advance lets coordinator i make one call, and settles its delivery when it returns.
func (s *storm) advance(i int) {
	h := s.running[i]
	if _, more := h.step(); more {
		return
	}
	s.running[i] = nil
	switch {
	case h.err == nil:
		at := slices.IndexFunc(s.pending, func(e pipeline.Event) bool { return e.Sequence == h.event.Sequence })
		if at >= 0 {
			s.pending = slices.Delete(s.pending, at, at+1)
		}
	case !errors.Is(h.err, errCrash) && !errors.Is(h.err, pipeline.ErrConflict):
		s.rt.Fatalf("handle %s: %v", h.event.Type, h.err)
	}
}

// work acts as a worker on the i-th waiting task, by the attempt rule, and removes the task.
func (s *storm) work(i int) {
	t := s.tasks.waiting[i]
	last, err := s.log.Last(context.Background(), t.JobSubject())
	if err != nil {
		s.rt.Fatal(err)
	}
	switch last[0].Type {
	case "":
		s.put(pipeline.JobStarted, t, pipeline.JobEvent{Attempt: 1, Owner: 1})
		return // it holds the task while it works
	case pipeline.JobStarted:
		switch {
		case s.doomed[t.Job.Name]:
			p := pipeline.ProblemOf(pipeline.Fail(pipeline.CodeEncodeFailed, "doomed"))
			p.Job = t.Job.Name
			s.put(pipeline.JobErrored, t, pipeline.JobEvent{Attempt: 1, Failed: 1, Problem: p})
		case t.Job.Name == "fetch":
			r := fetched()
			s.put(pipeline.JobCompleted, t, pipeline.JobEvent{Attempt: 1, Result: &r})
		case t.Job.Name == "inspect":
			r := accepted()
			s.put(pipeline.JobCompleted, t, pipeline.JobEvent{Attempt: 1, Result: &r})
		default:
			r := manifest(t.Job.Name + ".m3u8")
			s.put(pipeline.JobCompleted, t, pipeline.JobEvent{Attempt: 1, Result: &r})
		}
	}
	s.tasks.waiting = slices.Delete(s.tasks.waiting, i, i+1) // done, or a late duplicate
}

func (s *storm) put(t pipeline.EventType, task pipeline.Task, data pipeline.JobEvent) {
	if _, err := nextOf(s.log, t, task, data); err != nil {
		s.rt.Fatal(err)
	}
}

// turn does one thing that can happen, drawn at random; false when nothing is left to happen.
func (s *storm) turn() bool {
	s.collect()
	var can []func()
	for i, h := range s.running {
		switch {
		case h != nil:
			can = append(can, func() { s.advance(i) })
		case len(s.pending) > 0:
			can = append(can, func() {
				e := rapid.SampledFrom(s.pending).Draw(s.rt, "deliver")
				if rapid.IntRange(0, 4).Draw(s.rt, "duplicate") == 0 {
					s.pending = append(s.pending, e)
				}
				s.begin(i, e)
			})
		}
	}
	if n := len(s.tasks.waiting); n > 0 {
		can = append(can, func() { s.work(rapid.IntRange(0, n-1).Draw(s.rt, "task")) })
	}
	if len(can) == 0 {
		return false
	}
	if s.changes > 0 { // by a user, at any time
		can = append(can, func() {
			s.changes--
			s.changed(titled(strconv.Itoa(s.changes)))
		})
	}
	can[rapid.IntRange(0, len(can)-1).Draw(s.rt, "turn")]()
	return true
}

// draw makes a plan of up to nine jobs, more than a window, with edges to earlier jobs.
func (s *storm) draw() planner {
	var jobs []pipeline.Job
	for i := range rapid.IntRange(0, 9).Draw(s.rt, "jobs") {
		j := pipeline.Job{Name: strconv.Itoa(i), Optional: rapid.Bool().Draw(s.rt, "optional")}
		for before := range i {
			if rapid.IntRange(0, 2).Draw(s.rt, "edge") == 0 {
				j.After = append(j.After, strconv.Itoa(before))
			}
		}
		s.doomed["x-"+j.Name] = rapid.IntRange(0, 5).Draw(s.rt, "doomed") == 0
		jobs = append(jobs, j)
	}
	s.doomed["inspect"] = rapid.IntRange(0, 19).Draw(s.rt, "inspect") == 0
	s.fetches = rapid.Bool().Draw(s.rt, "fetches")
	s.doomed["fetch"] = s.fetches && rapid.IntRange(0, 19).Draw(s.rt, "fetch") == 0
	return planner{"x": jobs}
}

// outcome returns the expected outcome of the plan: which jobs ran, and how the video ended.
func (s *storm) outcome(plan []pipeline.Job) (ran map[string]bool, end pipeline.VideoState) {
	ran, end = map[string]bool{}, pipeline.StateVideoReady
	if s.doomed["inspect"] || s.doomed["fetch"] {
		return ran, pipeline.StateVideoErrored
	}
	for _, j := range plan { // edges lead to earlier jobs only
		ran[j.Name] = !slices.ContainsFunc(j.After, func(a string) bool { return !ran[a] || s.doomed[a] })
		if !j.Optional && (!ran[j.Name] || s.doomed[j.Name]) {
			end = pipeline.StateVideoErrored
		}
	}
	return ran, end
}

// TestStorm: whatever the order, the duplicates, the races and the crashes, a video reaches its one correct
// end.
func TestStorm(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := &storm{
			rt: rt, plan: map[string]pipeline.Job{}, doomed: map[string]bool{}, webhooks: map[string]bool{},
			crashes: rapid.IntRange(0, 12).Draw(rt, "crashes"), changes: rapid.IntRange(0, 3).Draw(rt, "changes"),
		}
		p := s.draw()
		s.world = newWorld(t, p)
		s.t = rt
		plan, err := pipeline.NewPlan(p.pipeline(), nil, pipeline.Media{}, p)
		if err != nil {
			rt.Fatal(err)
		}
		for _, j := range plan {
			s.plan[j.Name] = j
		}
		defer func() {
			for _, h := range s.running {
				if h != nil {
					h.stop()
				}
			}
		}()
		up := uploadOf(p.pipeline())
		if s.fetches {
			up = fetchOf(p.pipeline())
		}
		if _, _, err := pipeline.Accept(context.Background(), s.log, project, video, up, ""); err != nil {
			rt.Fatal(err)
		}
		for turns := 0; s.turn(); turns++ {
			if turns > 20_000 {
				rt.Fatalf("no end in sight: %d pending, tasks %v", len(s.pending), s.tasks.names())
			}
		}
		s.check(plan)
	})
}

func (s *storm) check(plan []pipeline.Job) {
	ran, state := s.outcome(plan)
	if end := s.finish(); end.State != state {
		s.rt.Fatalf("the video is %s, want %s: %+v", end.State, state, end)
	}
	for name, r := range ran {
		if enqueued := s.tasks.stored[name] > 0; enqueued != r {
			s.rt.Fatalf("%s enqueued %d times, want it to run: %v", name, s.tasks.stored[name], r)
		}
	}
	if fetched, inspected := s.tasks.stored["fetch"], s.tasks.stored["inspect"]; s.fetches != (fetched > 0) ||
		s.doomed["fetch"] == (inspected > 0) {
		s.rt.Fatalf("fetch enqueued %d times, inspect %d", fetched, inspected)
	}
	told := map[string]bool{}
	for _, e := range s.log.of(pipeline.VideoPlayable, pipeline.VideoReady, pipeline.VideoErrored) {
		told[e.ID] = true
	}
	if !maps.Equal(told, s.webhooks) || s.tasks.stored["notify"] == 0 {
		s.rt.Fatalf("webhook ids %v, want %v", s.webhooks, told)
	}
	if n := len(s.log.of(pipeline.VideoInspected, pipeline.VideoPlayable)); n > 2 {
		s.rt.Fatalf("%d events of video.inspected and video.playable, want one of each", n)
	}
	seen := map[string]int{}
	for _, e := range s.log.events {
		if e.Type == pipeline.VideoChanged {
			continue
		}
		seen[fmt.Sprint(e.Type, e.Subject)]++
	}
	for what, n := range seen {
		if n != 1 {
			s.rt.Fatalf("%s happened %d times", what, n)
		}
	}
	mustBeValid(s.rt, s.log.events...)
}
