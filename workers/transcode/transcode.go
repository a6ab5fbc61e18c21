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

// Params are the `with` of a transcode step.
type Params struct {
	// Quality is basic (fastest), plus (medium, with a 432p rung) or premium (slow and best).
	Quality string `json:"quality,omitempty" enum:"basic,plus,premium" doc:"Default basic"`
	// Ladder holds the short edges of the rungs in pixels, 16 to 2160, instead of those of the quality. Those
	// above the source are left out.
	Ladder []int `json:"ladder,omitempty" minItems:"1" maxItems:"10" doc:"Short edges, 16 to 2160 pixels"`
}

// Bounds of an edge in Params.Ladder.
const (
	minEdge = 16
	maxEdge = 2160
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
	for _, name := range []string{"zscale", "tonemap", "bwdif", "premultiply"} {
		if !filters[name] {
			return fmt.Errorf("ffmpeg has no filter %s: install a full build, such as apt-get install ffmpeg", name)
		}
	}
	return nil
}

// part is what Plan tells Work of one job.
type part struct {
	Package bool `json:"package,omitempty"`
	// Of a chunk:
	FirstFrame   int    `json:"first_frame"` // of the best rung's grid
	FirstSegment int    `json:"first_segment"`
	Rungs        []rung `json:"rungs"` // largest first
}

// Names of the jobs.
const (
	onlyChunk  = "0000"
	packageJob = "package"
	audioStep  = "audio"
)

// Plan implements workers.Worker.
func (w *Worker) Plan(p Params, m pipeline.Media) ([]pipeline.Job, error) {
	for _, edge := range p.Ladder {
		if edge < minEdge || edge > maxEdge {
			return nil, pipeline.Fail(pipeline.CodeParameters, "ladder: %d is not within %d to %d",
				edge, minEdge, maxEdge)
		}
	}
	rungs := ladder(m.Video, p.Quality, p.Ladder)
	chunk, err := json.Marshal(part{Rungs: rungs})
	if err != nil {
		return nil, fmt.Errorf("encode part: %w", err)
	}
	last, err := json.Marshal(part{Package: true, Rungs: rungs})
	if err != nil {
		return nil, fmt.Errorf("encode part: %w", err)
	}
	return []pipeline.Job{
		{
			Name: onlyChunk, Part: chunk, Weight: weight(m), Scratch: scratch(m, rungs),
			Timeout: pipeline.Seconds(timeoutBase + timeoutFactor*m.Duration),
		},
		{Name: packageJob, Part: last, Priority: pipeline.High, After: []string{onlyChunk, audioStep}, Weight: 1},
	}, nil
}

// A chunk may take that long: slow presets on a busy machine need tens of seconds for each of 4K.
const (
	timeoutBase   = 600
	timeoutFactor = 60
)

// weight grows with the length; thumbnails and packaging count 1.
func weight(m pipeline.Media) int { return 10 + int(m.Duration/10) }

// scratch is how many bytes a chunk takes: what ffmpeg wrote and the segments cut from it stand side by side,
// and both are about half of what the rungs' highest rates would make.
func scratch(m pipeline.Media, rungs []rung) int64 {
	rate := 0 // kbit/s
	for _, r := range rungs {
		rate += r.Maxrate
	}
	return int64(m.Duration * float64(rate) * 1000 / 8)
}

// Work implements workers.Worker.
func (w *Worker) Work(ctx context.Context, job workers.Job[Params]) (pipeline.Result, error) {
	var p part
	if err := json.Unmarshal(job.Task.Job.Part, &p); err != nil {
		return pipeline.Result{}, pipeline.Fail(pipeline.CodeParameters, "part of the job: %w", err)
	}
	if p.Package {
		return packageRun{tools: w.tools, job: job.Attempt, rungs: p.Rungs}.run(ctx)
	}
	return chunkRun{tools: w.tools, job: job.Attempt, quality: job.Params.Quality, part: p}.run(ctx)
}
