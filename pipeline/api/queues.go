package api

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/reelmill/reelmill/pipeline"
)

// Queues are the queues of all worker types; bus.Bus is one.
type Queues interface {
	// Queues returns the queue of each worker type that a process runs, that has tasks, or that is paused.
	Queues(ctx context.Context) ([]pipeline.WorkerQueue, error)
	// Pauses returns the pauses by worker type.
	Pauses(ctx context.Context) (map[string]pipeline.Pause, error)
	// Pause makes all processes take no further task of a worker type, until Resume.
	Pause(ctx context.Context, worker, reason string) (pipeline.Pause, error)
	// Resume ends a pause, if there is one.
	Resume(ctx context.Context, worker string) error
}

// Paces says how fast the jobs of worker types were completed; catalog.Catalog does.
type Paces interface {
	// Paces returns the pace since a time by worker type.
	Paces(ctx context.Context, since time.Time) (map[string]pipeline.Pace, error)
}

var (
	opListWorkerTypes = huma.Operation{
		OperationID: "list-worker-types", Method: http.MethodGet, Path: "/v1/worker_types",
		Tags: []string{"queues"}, Summary: "List the worker types",
		Description: "Those that a process runs, or that tasks wait for, with the steps of the pipelines that " +
			"use them and the schema of their parameters. A process that has said nothing for 30 seconds is not " +
			"counted.",
	}
	opListQueues = huma.Operation{
		OperationID: "list-queues", Method: http.MethodGet, Path: "/v1/queues", Tags: []string{"queues"},
		Summary:     "List the queues, one for each worker type",
		Description: "Of all projects. `oldest_at` does not count tasks that were given back.",
	}
	opPauseQueue = huma.Operation{
		OperationID: "pause-queue", Method: http.MethodPost, Path: "/v1/queues/{type}/pause",
		Tags: []string{"queues"}, Summary: "Pause the queue of a worker type", DefaultStatus: http.StatusOK,
		Description: "No process takes a further task of the type until the queue is resumed, also after " +
			"restarts. Jobs that run go on to their end. Nothing expires meanwhile. Pausing it again " +
			"changes the reason.",
	}
	opResumeQueue = huma.Operation{
		OperationID: "resume-queue", Method: http.MethodPost, Path: "/v1/queues/{type}/resume",
		Tags: []string{"queues"}, Summary: "Resume the queue of a worker type", DefaultStatus: http.StatusOK,
		Description: "Resuming a queue that is not paused answers the same.",
	}
)

// workerTypeView is a worker type as it is answered.
type workerTypeView struct {
	Type     string          `json:"type"`
	Steps    []string        `json:"steps" nullable:"false" doc:"The steps that use it, as pipeline/step"`
	Workers  int             `json:"workers" doc:"Processes that run it"`
	Slots    int             `json:"slots" doc:"Jobs that they run at once at most"`
	Versions []string        `json:"versions" nullable:"false" doc:"Of the programs"`
	Lag      int             `json:"lag" doc:"Tasks that wait"`
	Oldest   *time.Time      `json:"oldest_at" doc:"When the oldest of them was enqueued; null when none waits"`
	Schema   json.RawMessage `json:"schema" doc:"JSON Schema of its parameters; null when no process says it"`
}

// queueView is a queue as it is answered.
type queueView struct {
	Type       string         `json:"type" doc:"Worker type"`
	Depth      int            `json:"depth" doc:"Tasks that wait"`
	InWork     int            `json:"in_work" doc:"Tasks that are with a process"`
	ByPriority map[string]int `json:"by_priority" doc:"Tasks that wait or are in work"`
	Oldest     *time.Time     `json:"oldest_at" doc:"When the oldest that waits was enqueued; else null"`
	OldestAge  float64        `json:"oldest_age_seconds" doc:"0 when none waits"`
	Workers    int            `json:"workers" doc:"Processes that run the type"`
	Slots      int            `json:"slots" doc:"Jobs that they run at once at most"`
	Paused     bool           `json:"paused"`
	Reason     string         `json:"pause_reason,omitempty" doc:"Why it is paused"`
	PausedAt   *time.Time     `json:"paused_at" doc:"null when it is not paused"`
	Wait       *float64       `json:"estimated_wait_seconds" doc:"Of a task that is enqueued now: depth divided by the rate at which jobs of the type were completed in the last 15 minutes; null when unknown, as while the queue is paused or nobody runs the type"`
}

func viewOfQueue(q pipeline.WorkerQueue, pace pipeline.Pace, now time.Time) queueView {
	v := queueView{
		Type: q.Worker, Depth: q.Waiting(), InWork: q.Taken, ByPriority: map[string]int{}, Workers: len(q.Running),
		Slots: q.Slots(), Paused: q.Pause != nil,
	}
	for _, p := range pipeline.Priorities {
		v.ByPriority[string(p)] = q.Tasks[p]
	}
	if !q.Oldest.IsZero() {
		v.Oldest, v.OldestAge = &q.Oldest, max(0, now.Sub(q.Oldest).Seconds())
	}
	if q.Pause != nil {
		v.Reason, v.PausedAt = q.Pause.Reason, &q.Pause.Since
	}
	if wait, ok := q.EstimatedWait(pace, now); ok {
		v.Wait = new(wait.Seconds())
	}
	return v
}

func (s *server) viewOfType(q pipeline.WorkerQueue) workerTypeView {
	v := workerTypeView{
		Type: q.Worker, Steps: []string{}, Workers: len(q.Running), Slots: q.Slots(), Versions: []string{},
		Lag: q.Waiting(), Schema: json.RawMessage("null"),
	}
	if !q.Oldest.IsZero() {
		v.Oldest = &q.Oldest
	}
	for _, p := range s.cfg.Pipelines {
		for _, step := range p.Steps {
			if step.Worker == q.Worker {
				v.Steps = append(v.Steps, p.Name+"/"+cmp.Or(step.Name, step.Worker))
			}
		}
	}
	slices.Sort(v.Steps)
	for _, r := range q.Running {
		if r.Version != "" && !slices.Contains(v.Versions, r.Version) {
			v.Versions = append(v.Versions, r.Version)
		}
		if len(r.Schema) > 0 {
			v.Schema = r.Schema
		}
	}
	slices.Sort(v.Versions)
	return v
}

type workerTypesOutput struct{ Body list[workerTypeView] }

func (s *server) listWorkerTypes(ctx context.Context, _ *struct{}) (*workerTypesOutput, error) {
	queues, err := s.cfg.Queues.Queues(ctx)
	if err != nil {
		return nil, brokerFailed(err)
	}
	views := []workerTypeView{}
	for _, q := range queues {
		views = append(views, s.viewOfType(q))
	}
	return &workerTypesOutput{newList(views, "")}, nil
}

// brokerFailed is the failure of a request to the broker.
func brokerFailed(err error) error {
	return fail(codeUnavailable, "The broker does not answer.").because(err)
}

type queuesOutput struct{ Body list[queueView] }

func (s *server) listQueues(ctx context.Context, _ *struct{}) (*queuesOutput, error) {
	views, err := s.queueViews(ctx)
	if err != nil {
		return nil, err
	}
	return &queuesOutput{newList(views, "")}, nil
}

func (s *server) queueViews(ctx context.Context) ([]queueView, error) {
	queues, err := s.cfg.Queues.Queues(ctx)
	if err != nil {
		return nil, brokerFailed(err)
	}
	now, paces := time.Now(), map[string]pipeline.Pace{}
	if s.cfg.Paces != nil {
		if paces, err = s.cfg.Paces.Paces(ctx, now.Add(-pipeline.PaceWindow)); err != nil {
			return nil, err
		}
	}
	views := []queueView{}
	for _, q := range queues {
		views = append(views, viewOfQueue(q, paces[q.Worker], now))
	}
	return views, nil
}

type pauseQueueInput struct {
	Type string `path:"type" doc:"Worker type"`
	Body *pauseOrder
}

// pauseOrder is the body of a pause, which may be left out.
type pauseOrder struct {
	_      struct{} `additionalProperties:"false"`
	Reason string   `json:"reason,omitempty" maxLength:"500" doc:"For people: who waits learns it"`
}

type queueInput struct {
	Type string `path:"type" doc:"Worker type"`
}

type queueOutput struct{ Body queueView }

func (s *server) pauseQueue(ctx context.Context, in *pauseQueueInput) (*queueOutput, error) {
	if _, err := s.queueOf(ctx, in.Type); err != nil {
		return nil, err
	}
	reason := ""
	if in.Body != nil {
		reason = in.Body.Reason
	}
	if _, err := s.cfg.Queues.Pause(ctx, in.Type, reason); err != nil {
		return nil, brokerFailed(err)
	}
	return s.queueOf(ctx, in.Type)
}

func (s *server) resumeQueue(ctx context.Context, in *queueInput) (*queueOutput, error) {
	before, err := s.queueOf(ctx, in.Type)
	if err != nil {
		return nil, err
	}
	if err := s.cfg.Queues.Resume(ctx, in.Type); err != nil {
		return nil, brokerFailed(err)
	}
	after, err := s.queueOf(ctx, in.Type)
	if err != nil && classify(err).code == codeNotFound { // nothing but the pause was there
		before.Body.Paused, before.Body.Reason, before.Body.PausedAt = false, "", nil
		return before, nil
	}
	return after, err
}

// queueOf returns the queue of a worker type that there is.
func (s *server) queueOf(ctx context.Context, worker string) (*queueOutput, error) {
	views, err := s.queueViews(ctx)
	if err != nil {
		return nil, err
	}
	var known []string
	for _, v := range views {
		if v.Type == worker {
			return &queueOutput{v}, nil
		}
		known = append(known, v.Type)
	}
	f := fail(codeNotFound, "%s.", sentence(pipeline.Unknown("worker type", worker, known)))
	f.remedy = "GET /v1/queues lists the queues. A worker type has one while a process runs it, or a task " +
		"waits for it."
	return nil, f
}
