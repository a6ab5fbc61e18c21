package audio

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers"
	"github.com/reelmill/reelmill/workers/internal/encode"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
)

// Params are none yet.
type Params struct{}

// Worker is the worker type "audio".
type Worker struct{ tools ffmpeg.Tools }

// New returns the worker.
func New(tools ffmpeg.Tools) *Worker { return &Worker{tools: tools} }

// Check implements workers.Checker.
func (w *Worker) Check(ctx context.Context) error {
	encoders, err := w.tools.Encoders(ctx)
	if err == nil && !encoders["aac"] {
		err = errors.New("ffmpeg has no aac encoder: install a full build, such as apt-get install ffmpeg")
	}
	return err
}

// maxTracks is how many sound tracks become renditions.
const maxTracks = 8

// part is what Plan tells Work of one job.
type part struct {
	Stream   int    `json:"stream"` // ffmpeg's stream index
	Name     string `json:"name"`   // audio-eng: the rendition's folder
	Language string `json:"language"`
	Main     bool   `json:"main,omitempty"` // make the progressive file, too
}

// Plan implements workers.Worker.
func (w *Worker) Plan(_ Params, m pipeline.Media) ([]pipeline.Job, error) {
	var jobs []pipeline.Job
	for i, p := range parts(m.Audio) {
		raw, err := json.Marshal(p)
		if err != nil {
			return nil, fmt.Errorf("encode part: %w", err)
		}
		jobs = append(jobs, pipeline.Job{
			Name: fmt.Sprint(i), Part: raw, Weight: 1 + int(m.Duration/60),
			Timeout: pipeline.Seconds(300 + 2*m.Duration),
		})
	}
	return jobs, nil
}

var languageCode = regexp.MustCompile(`^[a-z]{2,3}$`)

// parts orders the tracks, the default first, and names them by language.
func parts(tracks []pipeline.AudioTrack) []part {
	ordered := slices.Clone(tracks)
	if i := slices.IndexFunc(ordered, func(a pipeline.AudioTrack) bool { return a.Default }); i > 0 {
		first := ordered[i]
		ordered = slices.Insert(slices.Delete(ordered, i, i+1), 0, first)
	}
	var all []part
	taken := map[string]int{}
	for i, a := range ordered[:min(len(ordered), maxTracks)] {
		p := part{Stream: a.Stream, Language: a.Language, Main: i == 0}
		if !languageCode.MatchString(p.Language) {
			p.Language = "und"
		}
		p.Name = "audio-" + p.Language
		if taken[p.Language]++; taken[p.Language] > 1 {
			p.Name = fmt.Sprintf("%s-%d", p.Name, taken[p.Language])
		}
		all = append(all, p)
	}
	return all
}

// Work implements workers.Worker.
func (w *Worker) Work(ctx context.Context, job workers.Job[Params]) (pipeline.Result, error) {
	r := run{tools: w.tools, job: job.Attempt, media: job.Media()}
	if err := json.Unmarshal(job.Task.Job.Part, &r.part); err != nil {
		return pipeline.Result{}, pipeline.Fail(pipeline.CodeParameters, "part of the job: %w", err)
	}
	result, err := r.run(ctx)
	return result, encode.Fault(ctx, err)
}
