package api

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/reelmill/reelmill/pipeline"
)

var (
	opCancelVideo = huma.Operation{
		OperationID: "cancel-video", Method: http.MethodPost, Path: "/v1/videos/{id}/cancel",
		Tags: []string{"videos"}, Summary: "Cancel a video", DefaultStatus: http.StatusOK,
		Description: "Stops its running jobs and withdraws the waiting ones. Complete outputs stay until the " +
			"video is deleted. Canceling it again answers the same. A video that has ended otherwise is a " +
			"`state_conflict`.",
	}
	opRetryVideo = huma.Operation{
		OperationID: "retry-video", Method: http.MethodPost, Path: "/v1/videos/{id}/retry",
		Tags: []string{"videos"}, Summary: "Retry an errored or canceled video", DefaultStatus: http.StatusOK,
		Description: "Its errored and canceled jobs get as many attempts as they had, and it is processing " +
			"again. Completed jobs stay. Retrying it again answers the same while it is processing. A video that " +
			"has not ended, is ready or was rejected is a `state_conflict`.",
	}
	opRetryJob = huma.Operation{
		OperationID: "retry-job", Method: http.MethodPost, Path: "/v1/jobs/{video}/{job}/retry",
		Tags: []string{"jobs"}, Summary: "Try an errored job again", DefaultStatus: http.StatusOK,
		Description: "The job gets as many attempts as it had. If its video has ended, it is processing again. A " +
			"job that is not errored is a `state_conflict`.",
	}
)

func (s *server) cancelVideo(ctx context.Context, in *videoInput) (*videoOutput, error) {
	if err := checkVideo(in.ID); err != nil {
		return nil, err
	}
	e, err := pipeline.Cancel(ctx, s.cfg.Log, projectOf(ctx), in.ID)
	if err != nil {
		return nil, withRemedy(err, "It has ended; delete it instead.")
	}
	return s.videoAfter(ctx, in.ID, e)
}

func (s *server) retryVideo(ctx context.Context, in *videoInput) (*videoOutput, error) {
	if err := checkVideo(in.ID); err != nil {
		return nil, err
	}
	e, err := pipeline.Retry(ctx, s.cfg.Log, projectOf(ctx), in.ID)
	if err != nil {
		return nil, withRemedy(err, "Only errored and canceled videos can be retried. If the server rejected the "+
			"file, upload another.")
	}
	return s.videoAfter(ctx, in.ID, e)
}

// withRemedy is orUnavailable. It says what to do when the state does not allow the action.
func withRemedy(err error, remedy string) error {
	failed := orUnavailable(err)
	if f, ok := errors.AsType[*failure](failed); ok && f.code == codeState {
		f.remedy = remedy
	}
	return failed
}

// videoAfter returns a video after e, the event that an action led to.
func (s *server) videoAfter(ctx context.Context, id string, e pipeline.Event) (*videoOutput, error) {
	caught := s.caught(ctx, e.Sequence)
	v, err := s.cfg.Catalog.Video(ctx, projectOf(ctx), id)
	if !caught && errors.Is(err, pipeline.ErrNotFound) {
		v, err = s.videoInLog(ctx, id)
	}
	if err == nil && !caught {
		err = v.Apply(e)
	}
	if err != nil {
		return nil, err
	}
	return s.answered(v), nil
}

// videoInLog returns a video as it was uploaded, when the catalog does not have it yet.
func (s *server) videoInLog(ctx context.Context, id string) (v pipeline.VideoView, err error) {
	uploaded, err := s.cfg.Log.Last(ctx, pipeline.UploadedSubject(projectOf(ctx), id))
	switch {
	case err != nil:
		return v, orUnavailable(err)
	case uploaded[0].Sequence == 0:
		return v, pipeline.ErrNotFound
	}
	return v, v.Apply(uploaded[0])
}

type jobInput struct {
	Video string `path:"video" doc:"The video's id"`
	Job   string `path:"job" doc:"The job's name. A job's id is video/job"`
}

type jobOutput struct{ Body pipeline.JobView }

func (s *server) retryJob(ctx context.Context, in *jobInput) (*jobOutput, error) {
	if err := checkVideo(in.Video); err != nil {
		return nil, noSuch("job", err)
	}
	e, err := pipeline.Redrive(ctx, s.cfg.Log, projectOf(ctx), in.Video, in.Job)
	if err != nil {
		return nil, orUnavailable(noSuch("job", err))
	}
	return s.jobAfter(ctx, in.Video, in.Job, e)
}

// jobAfter returns a job after e, the event that an action led to.
func (s *server) jobAfter(ctx context.Context, video, job string, e pipeline.Event) (*jobOutput, error) {
	caught := s.caught(ctx, e.Sequence)
	jobs, err := s.cfg.Catalog.Jobs(ctx, projectOf(ctx), video)
	if err != nil {
		return nil, noSuch("job", err)
	}
	var view pipeline.JobView
	i := slices.IndexFunc(jobs, func(j pipeline.JobView) bool { return j.Name == job })
	if i >= 0 {
		view = jobs[i]
	}
	if !caught || i < 0 {
		if _, err := view.Apply(e); err != nil {
			return nil, err
		}
	}
	return &jobOutput{view}, nil
}
