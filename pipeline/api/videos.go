package api

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/reelmill/reelmill/pipeline"
)

var (
	opGetVideo = huma.Operation{
		OperationID: "get-video", Method: http.MethodGet, Path: "/v1/videos/{id}", Tags: []string{"videos"},
		Summary: "Read a video, or wait for its state",
		Description: "With `wait`, answers when the video is playable or ready, as `until` says, when it has " +
			"ended otherwise, or when the time is over: always 200, with the state at that moment.",
	}
	opDeleteVideo = huma.Operation{
		OperationID: "delete-video", Method: http.MethodDelete, Path: "/v1/videos/{id}", Tags: []string{"videos"},
		Summary:     "Delete a video",
		Description: "Cancels its jobs and deletes its objects. Deleting it again answers 204 again.",
	}
	opListOutputs = huma.Operation{
		OperationID: "list-outputs", Method: http.MethodGet, Path: "/v1/videos/{id}/outputs",
		Tags: []string{"videos"}, Summary: "List the outputs of a video",
		Description: "A rendition that several jobs make in parts is one output for each stretch without a gap. " +
			"Its `id`, `job` and `key` are those of the first part.",
	}
	opListJobs = huma.Operation{
		OperationID: "list-jobs", Method: http.MethodGet, Path: "/v1/videos/{id}/jobs", Tags: []string{"videos"},
		Summary:     "List the jobs of a video",
		Description: "First those outside of the plan, then those of the plan in its order.",
	}
	opListPipelines = huma.Operation{
		OperationID: "list-pipelines", Method: http.MethodGet, Path: "/v1/pipelines", Tags: []string{"pipelines"},
		Summary: "List the pipelines", Description: "With their steps, from the configuration of the server.",
	}
)

// list is the body of every list.
type list[T any] struct {
	Data       []T     `json:"data" nullable:"false"`
	NextCursor *string `json:"next_cursor" doc:"The cursor of the next page; null on the last page"`
	HasMore    bool    `json:"has_more"`
}

func newList[T any](data []T, next string) list[T] {
	l := list[T]{Data: data, HasMore: next != ""}
	if next != "" {
		l.NextCursor = &next
	}
	if l.Data == nil {
		l.Data = []T{}
	}
	return l
}

type videoInput struct {
	ID string `path:"id" doc:"The video's id"`
}

type getVideoInput struct {
	ID    string `path:"id" doc:"The video's id"`
	Wait  string `query:"wait" doc:"How long to wait for the state, such as 30s or 30 (seconds); at most 60s" example:"30s"`
	Until string `query:"until" enum:"playable,ready" default:"ready" doc:"ready: any end of a video"`
}

type videoOutput struct {
	ETag string `header:"ETag" doc:"For If-Match: another one once title, metadata or passthrough differ"`
	Body pipeline.VideoView
}

func (s *server) getVideo(ctx context.Context, in *getVideoInput) (*videoOutput, error) {
	wait, err := parseWait(in.Wait)
	if err != nil {
		return nil, err
	}
	v, err := s.await(ctx, in.ID, wait, in.Until == "playable")
	if err != nil {
		return nil, err
	}
	err = errors.Join(s.addLiveProgress(ctx, &v), s.addAdditionProgress(ctx, &v))
	if err != nil {
		return nil, err
	}
	return s.answered(v), nil
}

// answered returns v as an answer, with its URLs and when it expires.
func (s *server) answered(v pipeline.VideoView) *videoOutput {
	v.AddURLs(s.cfg.PublicURL)
	s.addExpiry(&v)
	return &videoOutput{etagOf(v.Label()), v}
}

// addExpiry says when the rules of its project, as far as this process has heard, delete a video.
func (s *server) addExpiry(v *pipeline.VideoView) {
	if s.cfg.Retention != nil {
		v.ExpiresAt = s.cfg.Retention(v.Project).ExpiresAt(v, s.cfg.RetentionDay)
	}
}

// addLiveProgress adds the share of running jobs to the progress of completed ones. It stops at 99: only
// video.ready means 100.
func (s *server) addLiveProgress(ctx context.Context, v *pipeline.VideoView) error {
	if s.cfg.Progress == nil || v.Status != pipeline.StateVideoProcessing {
		return nil
	}
	jobs, err := s.cfg.Catalog.Jobs(ctx, v.Project, v.ID)
	if err != nil {
		return err
	}
	v.Progress = max(v.Progress, s.shareDone(ctx, v.Project, jobs, ofPlan))
	return nil
}

// ofPlan reports whether a job is of the plan of its video.
func ofPlan(j pipeline.JobView) bool {
	switch j.Step {
	case pipeline.FetchStep, pipeline.InspectStep, pipeline.NotifyStep:
		return false
	}
	return j.Addition == 0
}

// shareDone returns how much of the work of some jobs is done, in percent and at most 99.
func (s *server) shareDone(
	ctx context.Context, project string, jobs []pipeline.JobView, those func(pipeline.JobView) bool,
) int {
	var planned, done float64
	for _, j := range jobs {
		if !those(j) {
			continue
		}
		weight := float64(j.Weight)
		planned += weight
		switch j.Status {
		case pipeline.StateJobCompleted:
			done += weight
		case pipeline.StateJobProcessing:
			if s.cfg.Progress != nil {
				done += weight * s.fraction(ctx, project, j)
			}
		}
	}
	if planned == 0 {
		return 0
	}
	return min(99, int(100*done/planned))
}

// fraction returns the progress of the running attempt of a job, from 0 to 1. It is 0 when that is unknown:
// an answer without live progress is better than no answer.
func (s *server) fraction(ctx context.Context, project string, j pipeline.JobView) float64 {
	p, ok, err := s.cfg.Progress.LastProgress(ctx, project, j.Video, j.Name)
	if err != nil {
		s.cfg.Logger.WarnContext(ctx, "read progress", "request_id", requestID(ctx), "job", j.ID, "error", err)
		return 0
	}
	if !ok || p.Attempt != j.Attempt {
		return 0
	}
	return min(max(p.Fraction, 0), 1)
}

func (s *server) deleteVideo(ctx context.Context, in *videoInput) (*struct{}, error) {
	if err := checkVideo(in.ID); err != nil {
		return nil, err
	}
	e, err := pipeline.Delete(ctx, s.cfg.Log, projectOf(ctx), in.ID)
	if err != nil {
		return nil, orUnavailable(err)
	}
	s.caught(ctx, e.Sequence)
	return nil, nil
}

// orUnavailable turns an error of the log that classify does not know into one that the client may retry.
func orUnavailable(err error) error {
	if f := classify(err); f.code != codeInternal {
		return f
	}
	return fail(codeUnavailable, "The event log could not be read or written.").because(err)
}

type outputsOutput struct{ Body list[pipeline.OutputView] }

func (s *server) listOutputs(ctx context.Context, in *videoInput) (*outputsOutput, error) {
	if err := checkVideo(in.ID); err != nil {
		return nil, err
	}
	outputs, err := s.cfg.Catalog.Outputs(ctx, projectOf(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	listed := pipeline.ListedOutputs(outputs)
	for i := range listed {
		listed[i].URL = pipeline.PlayURL(s.cfg.PublicURL, in.ID, listed[i].Path)
	}
	return &outputsOutput{newList(listed, "")}, nil
}

type jobsOutput struct{ Body list[pipeline.JobView] }

func (s *server) listJobs(ctx context.Context, in *videoInput) (*jobsOutput, error) {
	if err := checkVideo(in.ID); err != nil {
		return nil, err
	}
	jobs, err := s.cfg.Catalog.Jobs(ctx, projectOf(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	return &jobsOutput{newList(jobs, "")}, nil
}

type pipelinesOutput struct{ Body list[pipeline.Pipeline] }

func (s *server) listPipelines(context.Context, *struct{}) (*pipelinesOutput, error) {
	names := slices.Sorted(maps.Keys(s.cfg.Pipelines))
	pipelines := make([]pipeline.Pipeline, len(names))
	for i, name := range names {
		pipelines[i] = s.cfg.Pipelines[name]
	}
	return &pipelinesOutput{newList(pipelines, "")}, nil
}
