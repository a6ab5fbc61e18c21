package transcode

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/manifest"
	"github.com/reelmill/reelmill/workers"
	"github.com/reelmill/reelmill/workers/internal/encode"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
	"github.com/reelmill/reelmill/workers/internal/hls"
	"github.com/reelmill/reelmill/workers/internal/picture"
)

// copyRun is one attempt at the copied rung: the source's own pictures in new boxes.
type copyRun struct {
	tools   ffmpeg.Tools
	job     workers.Attempt
	quality string
	part    part
	rung    rung
}

// run remuxes the source. What inspection took for standard input and does not verify as a rendition is
// encoded after all, in this same job: late, but right.
func (c copyRun) run(ctx context.Context) (pipeline.Result, error) {
	made, err := c.remux(ctx)
	if err == nil {
		result, err := publish(ctx, c.job, []run{made})
		result.Facts = map[string]any{"copied": true}
		return result, encode.Fault(ctx, err)
	}
	if err = encode.Fault(ctx, err); !unlike(ctx, err) {
		return pipeline.Result{}, err
	}
	c.job.Log.Warn("encode what could not be copied", "reason", err)
	if err := os.RemoveAll(c.dir()); err != nil {
		return pipeline.Result{}, err
	}
	result, encodeErr := chunkRun{
		tools: c.tools, job: c.job, quality: c.quality,
		part: part{
			Kind: chunkKind, Rate: c.rung.Rate, Size: c.rung.Size, Rungs: []rung{c.rung}, Borders: c.part.Borders,
		},
	}.run(ctx)
	result.Facts = map[string]any{"copied": false, "reason": err.Error()}
	return result, encodeErr
}

// unlike reports whether err says that the source is not what it was taken for; a full disk, a store that is
// down or a run that was ended say nothing of it.
func unlike(ctx context.Context, err error) bool {
	var coded *pipeline.Error
	if ctx.Err() != nil || !errors.As(err, &coded) {
		return false
	}
	switch coded.Code {
	case pipeline.CodeVerification, pipeline.CodeMalformed, pipeline.CodeEncodeFailed:
		return true
	}
	return false
}

func (c copyRun) dir() string { return filepath.Join(c.job.Dir, c.rung.Name) }

// remux makes and verifies the rendition.
func (c copyRun) remux(ctx context.Context) (run, error) {
	made := run{rung: c.rung, file: encodedFile(c.job.Dir, c.rung), dir: c.dir(), last: true}
	input, err := c.job.Input(ctx)
	if err != nil {
		return made, err
	}
	media := c.job.Media()
	step := encode.Step{
		Tools: c.tools, Dir: c.job.Dir, Duration: media.Duration, Progress: c.job.Progress, To: encoded,
	}
	err = step.Run(ctx, ffmpeg.Command{
		Inputs: []ffmpeg.Input{{Path: input, Demuxer: media.Container}},
		Outputs: []ffmpeg.Output{{
			Path: made.file, Format: "mp4", Maps: []string{picture.Stream(media)},
			Options: append([]ffmpeg.Option{{Key: "c:v", Value: "copy"}}, cmaf()...),
		}},
	})
	if err != nil {
		return made, err
	}
	if err := os.Mkdir(made.dir, 0o700); err != nil {
		return made, err
	}
	options := hls.Options{Borders: seconds(c.part.Borders, c.rung.Rate)}
	if made.track, err = hls.Cut(ctx, made.file, made.dir, options); err != nil {
		return made, unfit("%w", err)
	}
	whole := chunkRun{job: c.job, part: part{Rate: c.rung.Rate}}
	if err := whole.measure(c.rung, made.track); err != nil {
		return made, err
	}
	sample, err := c.sample(made)
	if err != nil {
		return made, err
	}
	if err := verify(ctx, c.tools, c.job, []run{sample}); err != nil {
		return made, err
	}
	return made, os.Remove(made.file)
}

// sampled is how many segments of a copy are decoded. What is in them is the source's own, and inspection has
// looked at it; the boxes around it, which could be wrong, are alike in all of them.
const sampled = 4

// sample returns made with a file of some of its segments, evenly spread from the first to the last: a
// copy takes no longer to verify when it is long.
func (c copyRun) sample(made run) (run, error) {
	all, last := made.track.Segments, len(made.track.Segments)-1
	n := min(len(all), sampled)
	files := []string{filepath.Join(made.dir, manifest.InitName)}
	made.track.Segments = nil
	for i := range n {
		at := i * last / max(1, n-1)
		made.track.Segments = append(made.track.Segments, all[at])
		files = append(files, filepath.Join(made.dir, workers.SegmentName(manifest.SegmentName, at)))
	}
	made.file = filepath.Join(c.job.Dir, "sample.mp4")
	return made, hls.Join(made.file, files...)
}
