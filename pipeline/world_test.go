package pipeline_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/reelmill/reelmill/pipeline"
)

// memLog is a Log in memory that keeps the contract of the interface, compare-and-swap included.
type memLog struct {
	events   []pipeline.Event
	last     map[string]pipeline.Event // by subject
	sequence uint64
}

func newLog() *memLog { return &memLog{last: map[string]pipeline.Event{}} }

func (l *memLog) Append(_ context.Context, e pipeline.Event, after uint64) (uint64, error) {
	last := l.last[e.Subject]
	newest := last.Sequence
	if e.Fence != 0 {
		newest, after = l.lastOwn(), e.Fence
	}
	if newest != after {
		if last.Sequence != 0 && last.ID == e.ID {
			return last.Sequence, nil
		}
		return 0, fmt.Errorf("append %s: %w", e.Subject, pipeline.ErrConflict)
	}
	// Encode and decode the event, as a log on the wire does.
	document, err := json.Marshal(e)
	if err != nil {
		return 0, err
	}
	var stored pipeline.Event
	if err := json.Unmarshal(document, &stored); err != nil {
		return 0, err
	}
	l.sequence++
	stored.Sequence = l.sequence
	l.last[e.Subject] = stored
	l.events = append(l.events, stored)
	return stored.Sequence, nil
}

// LastOwn makes it a pipeline.FenceReader.
func (l *memLog) LastOwn(context.Context, string, string) (uint64, error) { return l.lastOwn(), nil }

// lastOwn returns the sequence of the last event of the only video itself.
func (l *memLog) lastOwn() (last uint64) {
	for subject, e := range l.last {
		if strings.HasPrefix(subject, "video.") {
			last = max(last, e.Sequence)
		}
	}
	return last
}

func (l *memLog) Last(_ context.Context, subjects ...string) ([]pipeline.Event, error) {
	events := make([]pipeline.Event, len(subjects))
	for i, s := range subjects {
		events[i] = l.last[s]
	}
	return events, nil
}

// History and Purge act on the only video.
func (l *memLog) History(context.Context, string, string) ([]pipeline.Event, error) {
	return slices.Clone(l.events), nil
}

func (l *memLog) Purge(_ context.Context, p, v string, unwanted func(uint64) bool) error {
	keep := pipeline.DeletedSubject(p, v)
	l.events = slices.DeleteFunc(slices.Clone(l.events), func(e pipeline.Event) bool {
		return e.Subject != keep && unwanted(e.Sequence)
	})
	maps.DeleteFunc(l.last, func(subject string, _ pipeline.Event) bool { return subject != keep })
	return nil
}

func (l *memLog) of(types ...pipeline.EventType) []pipeline.Event {
	var found []pipeline.Event
	for _, e := range l.events {
		if slices.Contains(types, e.Type) {
			found = append(found, e)
		}
	}
	return found
}

// memTasks is a queue in memory: each task waits once, until it is taken.
type memTasks struct {
	waiting []pipeline.Task
	stored  map[string]int // how often a task was stored, by job
}

func (q *memTasks) Enqueue(_ context.Context, t pipeline.Task) error {
	for _, w := range q.waiting {
		if w.Subject() == t.Subject() && w.Cause >= t.Cause {
			return nil
		}
	}
	q.waiting = append(q.waiting, t)
	q.stored[t.Job.Name]++
	return nil
}

func (q *memTasks) Withdraw(_ context.Context, _, _ string, jobs ...string) error {
	q.waiting = slices.DeleteFunc(q.waiting, func(t pipeline.Task) bool {
		return slices.Contains(jobs, t.Job.Name)
	})
	return nil
}

func (q *memTasks) take(job string) (pipeline.Task, bool) {
	i := slices.IndexFunc(q.waiting, func(t pipeline.Task) bool { return t.Job.Name == job })
	if i < 0 {
		return pipeline.Task{}, false
	}
	t := q.waiting[i]
	q.waiting = slices.Delete(q.waiting, i, i+1)
	return t, true
}

func (q *memTasks) names() []string {
	names := make([]string, len(q.waiting))
	for i, t := range q.waiting {
		names[i] = t.Job.Name
	}
	slices.Sort(names)
	return names
}

// memObjects records the prefixes that were deleted.
type memObjects struct{ deleted []string }

func (o *memObjects) DeletePrefix(_ context.Context, prefix string) error {
	o.deleted = append(o.deleted, prefix)
	return nil
}

// planner plans the jobs it is given, by worker type.
type planner map[string][]pipeline.Job

func (p planner) Plan(worker string, params json.RawMessage, _ pipeline.Media) ([]pipeline.Job, error) {
	if err := p.Check(worker, params); err != nil {
		return nil, err
	}
	return p[worker], nil
}

func (p planner) Check(worker string, params json.RawMessage) error {
	if _, ok := p[worker]; !ok {
		return pipeline.Fail(pipeline.CodeWorkerTypeUnknown, "no worker %q", worker)
	}
	if strings.Contains(string(params), `"bad"`) {
		return pipeline.Fail(pipeline.CodeParameters, "bad is no parameter")
	}
	return nil
}

func (p planner) Traits() map[string]pipeline.Traits { return nil }

// world is a log, a queue and a coordinator, with one video.
type world struct {
	t       fataler
	log     *memLog
	tasks   *memTasks
	objects *memObjects
	coord   *pipeline.Coordinator
	seen    uint64 // the last event that the coordinator has handled
}

const project, video = "acme", "vid_01"

func newWorld(t fataler, p planner) *world {
	w := &world{t: t, log: newLog(), tasks: &memTasks{stored: map[string]int{}}, objects: &memObjects{}}
	w.coord = &pipeline.Coordinator{
		Log: w.log, Archive: w.log, Tasks: w.tasks, Objects: w.objects, Planner: p,
	}
	return w
}

// steps is a pipeline of one step for each worker type, in the order of their names.
func (p planner) pipeline() pipeline.Pipeline {
	doc := pipeline.Pipeline{Name: "test", Version: 1}
	for _, worker := range slices.Sorted(maps.Keys(p)) {
		doc.Steps = append(doc.Steps, pipeline.Step{Name: worker, Worker: worker})
	}
	return doc
}

func uploadOf(p pipeline.Pipeline) pipeline.Upload {
	return pipeline.Upload{
		Source: pipeline.Object{Key: "videos/vid_01/source/original.mp4", Size: 7, SHA256: "ab",
			Filename: "a.mp4"},
		Pipeline: p, Webhook: &pipeline.Webhook{URL: "https://example.com/hook"},
		Metadata: map[string]string{"title": "A"}, Passthrough: "pass",
	}
}

func (w *world) accept(up pipeline.Upload) pipeline.Event {
	w.t.Helper()
	e, _, err := pipeline.Accept(context.Background(), w.log, project, video, up, "")
	if err != nil {
		w.t.Fatal(err)
	}
	w.settle()
	return e
}

// settle delivers every event that was not delivered, in order, and then all of them again, which must change
// nothing.
func (w *world) settle() {
	w.t.Helper()
	var all []pipeline.Event
	for w.seen < w.log.sequence {
		for _, e := range slices.Clone(w.log.events) {
			if e.Sequence > w.seen {
				w.handle(e)
				w.seen = e.Sequence
				all = append(all, e)
			}
		}
	}
	sequence, waiting := w.log.sequence, w.tasks.names()
	for _, e := range append(all, w.log.events...) {
		w.handle(e)
	}
	if w.log.sequence != sequence || !slices.Equal(w.tasks.names(), waiting) {
		w.t.Fatalf("the second delivery did something: %v %v", w.log.events, w.tasks.names())
	}
}

func (w *world) handle(e pipeline.Event) {
	w.t.Helper()
	if err := w.coord.Handle(context.Background(), e); err != nil {
		w.t.Fatalf("handle %s: %v", e.Type, err)
	}
}

// write appends the next event of a job, as its worker loop does, after whatever event is last.
func (w *world) write(t pipeline.EventType, task pipeline.Task, data pipeline.JobEvent) pipeline.Event {
	w.t.Helper()
	e, err := nextOf(w.log, t, task, data)
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

func nextOf(log *memLog, t pipeline.EventType, task pipeline.Task, data pipeline.JobEvent) (pipeline.Event,
	error) {
	ctx := context.Background()
	last, err := log.Last(ctx, task.JobSubject())
	if err != nil {
		return pipeline.Event{}, err
	}
	data.Job, data.Step, data.Worker, data.Process = task.Job.Name, task.Job.Step, task.Job.Worker, "test"
	cause := pipeline.Event{ID: task.EventID, TraceParent: task.Trace}
	e, err := pipeline.NewEvent("worker", t, task.JobSubject(), task.Video, cause, data)
	if err != nil {
		return pipeline.Event{}, err
	}
	e.Sequence, err = log.Append(ctx, e, last[0].Sequence)
	return e, err
}

// run takes the task of a job from the queue, and starts and completes the job.
func (w *world) run(job string, r pipeline.Result) {
	w.t.Helper()
	task, ok := w.tasks.take(job)
	if !ok {
		w.t.Fatalf("no task of %s; there are %v", job, w.tasks.names())
	}
	started := w.write(pipeline.JobStarted, task, pipeline.JobEvent{Attempt: 1, Owner: 1})
	w.write(pipeline.JobCompleted, task, pipeline.JobEvent{Attempt: 1, Token: started.Sequence, Result: &r})
	w.settle()
}

// fail takes the task of a job from the queue, and starts and fails the job.
func (w *world) fail(job string, code pipeline.Code) {
	w.t.Helper()
	task, ok := w.tasks.take(job)
	if !ok {
		w.t.Fatalf("no task of %s; there are %v", job, w.tasks.names())
	}
	started := w.write(pipeline.JobStarted, task, pipeline.JobEvent{Attempt: 1, Owner: 1})
	problem := pipeline.ProblemOf(pipeline.Fail(code, "%s failed", job))
	problem.Job = job
	w.write(pipeline.JobErrored, task, pipeline.JobEvent{
		Attempt: 1, Failed: 1, Token: started.Sequence, Problem: problem,
	})
	w.settle()
}

func accepted() pipeline.Result {
	return pipeline.Result{Inspection: &pipeline.Inspection{
		Verdict: pipeline.VerdictAccept,
		Media: &pipeline.Media{
			Container: "mov", Duration: 4, Audio: []pipeline.AudioTrack{{Codec: "aac", Channels: 2, Language: "und"}},
		},
	}}
}

func manifest(path string) pipeline.Result {
	return pipeline.Result{Outputs: []pipeline.Output{
		{Name: "master", Kind: pipeline.KindManifest, Path: path, Key: "videos/vid_01/x/1/" + path, Size: 1},
	}}
}

// finish returns the one end of the video.
func (w *world) finish() pipeline.Finish {
	w.t.Helper()
	ends := w.log.of(pipeline.VideoReady, pipeline.VideoErrored, pipeline.VideoRejected, pipeline.VideoCanceled)
	if len(ends) != 1 {
		w.t.Fatalf("the video has %d ends", len(ends))
	}
	var end pipeline.Finish
	if err := ends[0].Decode(&end); err != nil {
		w.t.Fatal(err)
	}
	if ends[0].Type != pipeline.EventType("video."+string(end.State)) {
		w.t.Fatalf("%s says %s", ends[0].Type, end.State)
	}
	return end
}

// retrying is the data of a failed attempt that has another.
func retrying() pipeline.JobEvent {
	at := time.Now()
	problem := pipeline.ProblemOf(errors.New("passing"))
	return pipeline.JobEvent{Attempt: 1, Failed: 1, Problem: problem, RetryAt: &at}
}

// fataler is what a *testing.T and a *rapid.T have in common here.
type fataler interface {
	Helper()
	Errorf(format string, args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}
