package transcode

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
)

// Worker is the worker type "transcode".
type Worker struct{ tools ffmpeg.Tools }

// New returns the worker.
func New(tools ffmpeg.Tools) *Worker { return &Worker{tools: tools} }

// Check implements workers.Checker.
func (w *Worker) Check(ctx context.Context) error {
	encoders, err := w.tools.Encoders(ctx)
	if err != nil {
		return err
	}
	if !encoders["libx264"] {
		return errors.New("ffmpeg has no libx264: install a build with it, such as apt-get install ffmpeg")
	}
	filters, err := w.tools.Filters(ctx)
	if err != nil {
		return err
	}
	for _, name := range []string{"zscale", "tonemap", "bwdif", "premultiply", "tpad"} {
		if !filters[name] {
			return fmt.Errorf("ffmpeg has no filter %s: install a full build, such as apt-get install ffmpeg", name)
		}
	}
	return nil
}

// Slots implements workers.Slotter: a chunk per two cores, since an encoder has two threads, but at least
// two, since a chunk leaves cores idle while it starts, verifies and stores.
func (w *Worker) Slots(cores int) int { return max(2, cores/2) }

// Plan implements workers.Worker.
func (w *Worker) Plan(p Params, m pipeline.Media) ([]pipeline.Job, error) {
	if err := p.validate(); err != nil {
		return nil, err
	}
	return newPlanner(p, m).plan()
}

// Work implements workers.Worker.
func (w *Worker) Work(ctx context.Context, job workers.Job[Params]) (pipeline.Result, error) {
	p, err := partOf(job.Task.Job)
	if err != nil {
		return pipeline.Result{}, err
	}
	switch p.Kind {
	case chunkKind:
		return p.told(chunkRun{tools: w.tools, job: job.Attempt, quality: job.Params.Quality, part: p}.run(ctx))
	case copyKind:
		return copyRun{
			tools: w.tools, job: job.Attempt, quality: job.Params.Quality, part: p, rung: p.Rungs[0],
		}.run(ctx)
	}
	return fileRun{tools: w.tools, job: job.Attempt, rung: p.Rungs[0]}.run(ctx)
}

// partOf decodes the part of a job. It has a kind that this worker does, and a rung.
func partOf(job pipeline.Job) (p part, err error) {
	if err := json.Unmarshal(job.Part, &p); err != nil {
		return p, pipeline.Fail(pipeline.CodeParameters, "part of the job: %w", err)
	}
	if len(p.Rungs) == 0 {
		return p, pipeline.Fail(pipeline.CodeParameters, "part of the job: no rungs")
	}
	switch p.Kind {
	case chunkKind, copyKind, fileKind:
		return p, nil
	}
	return p, pipeline.Fail(pipeline.CodeParameters, "part of the job: unknown kind %q", p.Kind)
}

// told adds the reason why the top rung is not a copy to the result of the first job.
func (p part) told(r pipeline.Result, err error) (pipeline.Result, error) {
	if err == nil && p.Encoded != "" {
		r.Facts = map[string]any{factCopied: false, factReason: p.Encoded}
	}
	return r, err
}

// Moved implements workers.Mover: in earlier versions this worker did the packager's job.
func (w *Worker) Moved(job pipeline.Job) (pipeline.Job, bool) {
	var p part
	if err := json.Unmarshal(job.Part, &p); err != nil || p.Kind != packageKind {
		return job, false
	}
	job.Worker, job.Params, job.Part, job.Expects = "packager", nil, nil, p.names()
	return job, true
}
