package audio

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/manifest"
	"github.com/reelmill/reelmill/workers"
	"github.com/reelmill/reelmill/workers/internal/encode"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
)

// Params are the parameters (`with`) of an audio step.
type Params struct {
	Copy *bool `json:"copy,omitempty" doc:"Whether suitable AAC-LC tracks in MP4 stay as they are. Default true"`
}

// copies is Copy with its default.
func (p Params) copies() bool { return p.Copy == nil || *p.Copy }

// Worker is the worker type "audio".
type Worker struct {
	tools  ffmpeg.Tools
	layout layout
}

// New returns the worker.
func New(tools ffmpeg.Tools) *Worker { return &Worker{tools: tools, layout: standard} }

// Check implements workers.Checker.
func (w *Worker) Check(ctx context.Context) error {
	encoders, err := w.tools.Encoders(ctx)
	if err == nil && !encoders["aac"] {
		err = errors.New("ffmpeg has no aac encoder: install a full build, such as apt-get install ffmpeg")
	}
	return err
}

// Plan implements workers.Worker.
func (w *Worker) Plan(params Params, m pipeline.Media) ([]pipeline.Job, error) {
	var jobs []pipeline.Job
	all := tracks(m, params.copies())
	for i, t := range all {
		planned, err := t.jobs(i, w.layout)
		if err != nil {
			return nil, err
		}
		planned[0].Note = note(all, i)
		jobs = append(jobs, planned...)
	}
	return jobs, nil
}

// Describe implements workers.Describer. Its kinds are copy, encode and file.
func (w *Worker) Describe(job pipeline.Job, m pipeline.Media) (workers.Description, error) {
	p, err := partOf(job)
	if err != nil {
		return workers.Description{}, err
	}
	d := workers.Description{Kind: p.Task}
	if p.Task == taskFile {
		return d, nil // the file is made from outputs of other jobs
	}
	d.Start, d.End = float64(p.First*manifest.SegmentSeconds), float64(p.End*manifest.SegmentSeconds)
	if p.End == 0 {
		d.End = max(d.Start, m.Duration)
	}
	return d, nil
}

// partOf decodes the part of a job.
func partOf(job pipeline.Job) (p part, err error) {
	if err := json.Unmarshal(job.Part, &p); err != nil {
		return p, pipeline.Fail(pipeline.CodeParameters, "part of the job: %w", err)
	}
	return p, nil
}

// Work implements workers.Worker.
func (w *Worker) Work(ctx context.Context, job workers.Job[Params]) (pipeline.Result, error) {
	p, err := partOf(job.Task.Job)
	if err != nil {
		return pipeline.Result{}, err
	}
	r := run{tools: w.tools, job: job.Attempt, media: job.Media(), part: p, form: encodedForm}
	result, err := r.run(ctx)
	return result, encode.Fault(ctx, err)
}

// run is one attempt.
type run struct {
	tools ffmpeg.Tools
	job   workers.Attempt
	media pipeline.Media
	part  part
	form  form // of the encoded audio
}

func (r run) run(ctx context.Context) (pipeline.Result, error) {
	if r.part.Task == taskFile {
		return r.collect(ctx)
	}
	input, err := r.job.Input(ctx)
	if err != nil {
		return pipeline.Result{}, err
	}
	if r.part.Task == taskCopy {
		return r.copyOrEncode(ctx, input)
	}
	return r.encoded(ctx, input, 0)
}

// encoded encodes the part; its progress begins at from.
func (r run) encoded(ctx context.Context, input string, from float64) (pipeline.Result, error) {
	made, err := r.encode(ctx, input, from)
	if err != nil {
		return pipeline.Result{}, err
	}
	result, err := r.publish(ctx, made)
	if r.part.First == 0 || r.part.Task == taskCopy {
		result.Facts = map[string]any{"copied": false, "reason": r.part.Reason}
	}
	return result, err
}
