package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/storage"
)

var (
	opAddOutputs = huma.Operation{
		OperationID: "add-outputs", Method: http.MethodPost, Path: "/v1/videos/{id}/outputs",
		Tags: []string{"videos"}, Summary: "Add outputs to a ready video", DefaultStatus: http.StatusAccepted,
		Description: "Runs further steps on the source of the video, without a new upload: a rung " +
			"(`{\"worker\": \"transcode\", \"with\": {\"ladder\": [240]}}`), a watermarked copy, thumbnails, or " +
			"whatever `GET /v1/worker_types` offers. Steps are as in a pipeline, and are checked alike.\n\n" +
			"The video stays ready and plays on as it is. When all jobs of the addition are completed, the " +
			"manifests list the new renditions, too: one event, `video.outputs_added`. If a job fails, what the " +
			"others stored is removed, `video.outputs_failed` says why, and the job can be tried again. Several " +
			"additions may be under way; their manifests follow in the order of the requests.\n\n" +
			"The length of the video counts as encoded once more. A rung above the source is left out, as at upload.",
	}
	opListAdditions = huma.Operation{
		OperationID: "list-additions", Method: http.MethodGet, Path: "/v1/videos/{id}/additions",
		Tags: []string{"videos"}, Summary: "List what was added to a video",
		Description: "In the order of the requests (`POST /v1/videos/{id}/outputs`), with those that failed.",
	}
	opGetAddition = huma.Operation{
		OperationID: "get-addition", Method: http.MethodGet, Path: "/v1/videos/{id}/additions/{number}",
		Tags: []string{"videos"}, Summary: "Read an addition to a video", Description: "With its progress.",
	}
	opCancelAddition = huma.Operation{
		OperationID: "cancel-addition", Method: http.MethodPost,
		Path: "/v1/videos/{id}/additions/{number}/cancel", Tags: []string{"videos"},
		Summary: "Cancel an addition to a video", DefaultStatus: http.StatusOK,
		Description: "Stops its jobs, and removes what they stored. The video stays as it is. Canceling it again " +
			"answers the same; an addition that has ended otherwise is a `state_conflict`.",
	}
)

// routeAdditions adds the routes of additions.
func (s *server) routeAdditions() {
	handle(s, opAddOutputs, s.addOutputs)
	handle(s, opListAdditions, s.listAdditions)
	handle(s, opGetAddition, s.getAddition)
	handle(s, opCancelAddition, s.cancelAddition)
}

// addedStep is a step of a request. It has what a step of a pipeline has, but for what makes no sense here:
// an addition fails as a whole, and is asked for anyway.
type addedStep struct {
	_       struct{}           `additionalProperties:"false"`
	Worker  string             `json:"worker" minLength:"1" maxLength:"64" doc:"Worker type"`
	Name    string             `json:"name,omitempty" maxLength:"64" doc:"Unique in the request; the worker type if left out"`
	With    map[string]any     `json:"with,omitempty" doc:"Parameters of the worker type; see GET /v1/worker_types. A file is named as the upload of the video sent it"`
	After   []string           `json:"after,omitempty" maxItems:"50" doc:"Steps of the request that must be completed first"`
	Timeout pipeline.Seconds   `json:"timeout,omitempty" minimum:"0" doc:"Of one attempt, in seconds"`
	Retry   []pipeline.Seconds `json:"retry,omitempty" maxItems:"20" doc:"Delays before further attempts, in seconds"`
}

type addOutputsInput struct {
	ID   string `path:"id" doc:"The video's id"`
	Body struct {
		_     struct{}    `additionalProperties:"false"`
		Steps []addedStep `json:"steps" minItems:"1" maxItems:"20" nullable:"false" doc:"What to run on the source"`
	}
}

type additionOutput struct {
	Location string `header:"Location" doc:"The address of the addition"`
	Body     pipeline.AdditionView
}

func (s *server) addOutputs(ctx context.Context, in *addOutputsInput) (*additionOutput, error) {
	if err := checkVideo(in.ID); err != nil {
		return nil, err
	}
	if err := s.admit(ctx); err != nil {
		return nil, err
	}
	steps, err := s.stepsToAdd(in.Body.Steps)
	if err != nil {
		return nil, err
	}
	id := derivedFor(ctx, "add")
	if id == "" {
		id = pipeline.NewID("add")
	}
	a, e, _, err := pipeline.Extend(ctx, s.cfg.Log, s.cfg.Planner, pipeline.Extension{
		Project: projectOf(ctx), Video: in.ID, ID: id, Steps: steps, Check: s.mayEncode,
	})
	if err != nil {
		return nil, additionFailure(err)
	}
	view := a.ViewOf(e.Time)
	if s.caught(ctx, e.Sequence) {
		if listed, err := s.addition(ctx, in.ID, a.Number); err == nil {
			view = listed
		}
	}
	return s.answeredAddition(in.ID, view), nil
}

// stepsToAdd returns the steps of a request, and refuses all of its mistakes at once.
func (s *server) stepsToAdd(asked []addedStep) ([]pipeline.Step, error) {
	steps := make([]pipeline.Step, len(asked))
	for i, a := range asked {
		steps[i] = pipeline.Step{
			Name: a.Name, Worker: a.Worker, With: a.With, After: a.After, Timeout: a.Timeout, Retry: a.Retry,
		}
	}
	var wrong []error
	for _, m := range pipeline.CheckAddition(steps, s.cfg.Planner) {
		at := stepPointer(m.Index)
		if m.Field != "" {
			at += "/" + m.Field
		}
		wrong = append(wrong, failAt(at, codeParameters, "%.500s.", stepDetail(m.Err)))
	}
	return steps, joinMistakes(wrong...)
}

// stepPointer returns the JSON pointer of a step of a request.
func stepPointer(index int) string { return "/body/steps/" + strconv.Itoa(index) }

// stepDetail says what is wrong with a step.
func stepDetail(err error) string {
	detail := err.Error()
	if e, ok := errors.AsType[*pipeline.Error](err); ok {
		detail = e.Detail
	}
	return sentence(printable(detail))
}

// mayEncode refuses to encode a source that is not in the store any more, or for which the project has no
// minutes left.
func (s *server) mayEncode(ctx context.Context, source pipeline.Object, milliseconds int64) error {
	if err := s.sourceThere(ctx, source); err != nil {
		return err
	}
	if s.cfg.Quotas == nil {
		return nil
	}
	return s.cfg.Quotas.AdmitEncoding(ctx, projectOf(ctx), milliseconds)
}

// sourceThere refuses what needs the source of a video if the store does not have it any more.
func (s *server) sourceThere(ctx context.Context, source pipeline.Object) error {
	_, err := s.cfg.Store.Stat(ctx, source.Key)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return fail(codeSourceGone, "The source of the video is not in the object store any more.")
	case err != nil:
		return fail(codeStorageFailed, "The object store did not answer.").because(err)
	}
	return nil
}

// additionFailure is the failure for an error of pipeline.Extend.
func additionFailure(err error) error {
	var exist *pipeline.RenditionsExist
	switch {
	case errors.Is(err, pipeline.ErrDeleted):
		f := fail(codeNotReady, "The video was deleted.")
		f.remedy = "Upload it again."
		return f
	case errors.Is(err, pipeline.ErrNotReady):
		return fail(codeNotReady, "%s.", sentence(reasonOf(err, pipeline.ErrNotReady)))
	case errors.Is(err, pipeline.ErrTooManyAdditions):
		return fail(codeTooManyAdditions, "The video has %d additions, the most that it may have.",
			pipeline.MaxAdditions)
	case errors.Is(err, pipeline.ErrNothingToAdd):
		return failAt("/body/steps", codeParameters, "The steps make nothing of this video.")
	case errors.As(err, &exist):
		return failAt(stepPointer(exist.Step), codeRenditionExists, "%s.",
			sentence(exist.Error()))
	}
	if e, ok := errors.AsType[*pipeline.Error](err); ok && e.Code == pipeline.CodeParameters {
		return failAt("/body/steps", codeParameters, "%.500s.", stepDetail(err))
	}
	return orUnavailable(err)
}

// reasonOf returns the text of err without that of what it wraps.
func reasonOf(err, wrapped error) string {
	text := err.Error()
	suffix := ": " + wrapped.Error()
	if len(text) > len(suffix) && text[len(text)-len(suffix):] == suffix {
		return text[:len(text)-len(suffix)]
	}
	return text
}

// answeredAddition returns an addition as an answer, with its links.
func (s *server) answeredAddition(video string, a pipeline.AdditionView) *additionOutput {
	base := s.cfg.PublicURL + "/v1/videos/" + video
	self := fmt.Sprintf("%s/additions/%d", base, a.Number)
	a.Links = &pipeline.AdditionLinks{
		Self: self, Cancel: self + "/cancel", Video: base, Jobs: base + "/jobs", Outputs: base + "/outputs",
		Events: base + "/events",
	}
	return &additionOutput{self, a}
}

// addition returns an addition from the read model, with the progress of its jobs.
func (s *server) addition(ctx context.Context, video string, number int) (pipeline.AdditionView, error) {
	v, err := s.cfg.Catalog.Video(ctx, projectOf(ctx), video)
	if err != nil {
		return pipeline.AdditionView{}, err
	}
	if number < 1 || number > len(v.Additions) {
		return pipeline.AdditionView{}, fail(codeNotFound, "There is no such addition.")
	}
	v.Additions = v.Additions[number-1 : number]
	err = s.addJobs(ctx, &v)
	return v.Additions[0], err
}

// addAdditionProgress sets the progress of the open additions of a video: the share of their work that is
// done, at most 99 percent.
func (s *server) addAdditionProgress(ctx context.Context, v *pipeline.VideoView) error {
	if !v.Extending() {
		return nil
	}
	whole := *v
	whole.Additions = slices.Clone(v.Additions)
	if err := s.addJobs(ctx, &whole); err != nil {
		return err
	}
	for i := range v.Additions {
		v.Additions[i].Progress = whole.Additions[i].Progress
	}
	return nil
}

// addJobs adds the names of their jobs to the additions of a video, and the progress of those that are open.
func (s *server) addJobs(ctx context.Context, v *pipeline.VideoView) error {
	jobs, err := s.cfg.Catalog.Jobs(ctx, v.Project, v.ID)
	if err != nil {
		return err
	}
	for i := range v.Additions {
		a := &v.Additions[i]
		of := func(j pipeline.JobView) bool { return j.Addition == a.Number }
		for _, j := range jobs {
			if of(j) {
				a.Jobs = append(a.Jobs, j.Name)
			}
		}
		if !a.Status.Terminal() {
			a.Progress = s.shareDone(ctx, v.Project, jobs, of)
		}
	}
	return nil
}

type listAdditionsOutput struct {
	Body list[pipeline.AdditionView]
}

func (s *server) listAdditions(ctx context.Context, in *videoInput) (*listAdditionsOutput, error) {
	if err := checkVideo(in.ID); err != nil {
		return nil, err
	}
	v, err := s.cfg.Catalog.Video(ctx, projectOf(ctx), in.ID)
	if err == nil && len(v.Additions) > 0 {
		err = s.addJobs(ctx, &v)
	}
	if err != nil {
		return nil, err
	}
	return &listAdditionsOutput{newList(v.Additions, "")}, nil
}

type additionInput struct {
	ID     string `path:"id" doc:"The video's id"`
	Number int    `path:"number" minimum:"1" maximum:"1000" doc:"The number of the addition, from 1"`
}

func (s *server) getAddition(ctx context.Context, in *additionInput) (*additionOutput, error) {
	if err := checkVideo(in.ID); err != nil {
		return nil, err
	}
	a, err := s.addition(ctx, in.ID, in.Number)
	if err != nil {
		return nil, err
	}
	return s.answeredAddition(in.ID, a), nil
}

func (s *server) cancelAddition(ctx context.Context, in *additionInput) (*additionOutput, error) {
	if err := checkVideo(in.ID); err != nil {
		return nil, err
	}
	e, err := pipeline.CancelAddition(ctx, s.cfg.Log, projectOf(ctx), in.ID, in.Number)
	if err != nil {
		return nil, withRemedy(noSuch("addition", err),
			"It has ended. Outputs of a video stay until it is deleted.")
	}
	s.caught(ctx, e.Sequence)
	return s.getAddition(ctx, in)
}
