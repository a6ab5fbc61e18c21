package transcode

import (
	"cmp"
	"context"
	"os"
	"path"
	"path/filepath"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/manifest"
	"github.com/reelmill/reelmill/workers"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
)

// run is a row of consecutive segments of one rung, made by one job in its scratch directory.
type run struct {
	rung  rung
	track manifest.Track
	file  string // written by the encoder or the remuxer
	dir   string // of the segments cut from file
	last  bool   // the rendition ends with this run
	head  int    // frames of its first second; 0: by the rung's rate

	longest float64 // seconds: the rendition's longest segment; 0: unknown
}

// verify decodes the keyframes and the first second of each run, and then removes the run's file.
func verify(ctx context.Context, tools ffmpeg.Tools, job workers.Attempt, runs []run) error {
	var files []ffmpeg.EncodedFile
	for _, r := range runs {
		if r.track.Width != r.rung.Size.Width || r.track.Height != r.rung.Size.Height {
			return unfit("rung %s: %dx%d, want %s", r.rung.Name, r.track.Width, r.track.Height, r.rung.Size)
		}
		f := ffmpeg.EncodedFile{Path: r.file, Name: "rung " + r.rung.Name}
		for _, s := range r.track.Segments {
			f.Keyframes += len(s.Keys)
		}
		length := min(r.track.Duration(), ffmpeg.HeadSeconds)
		f.Head = cmp.Or(r.head, r.rung.Rate.Frames(length)) - 1 // the last may begin just after the first second
		files = append(files, f)
	}
	options := ffmpeg.RunOptions{Dir: job.Dir, Nice: job.Nice()}
	if err := tools.VerifyKeyframes(ctx, options, 1, files...); err != nil {
		return err
	}
	for _, r := range runs {
		if err := os.Remove(r.file); err != nil {
			return err
		}
	}
	return nil
}

// publish stores the runs and their index.
func publish(ctx context.Context, job workers.Attempt, runs []run) (pipeline.Result, error) {
	var result pipeline.Result
	var all []manifest.Run
	for _, r := range runs {
		r.track.FrameRateNum, r.track.FrameRateDen = r.rung.Rate.Num, r.rung.Rate.Den
		outputs, err := r.publish(ctx, job)
		if err != nil {
			return pipeline.Result{}, err
		}
		result.Outputs = append(result.Outputs, outputs...)
		dir := path.Dir(outputs[len(outputs)-1].Path)
		all = append(all, manifest.Run{Rendition: dir, Track: r.track})
	}
	data, err := manifest.EncodeIndex(all...)
	if err != nil {
		return pipeline.Result{}, err
	}
	file := filepath.Join(job.Dir, "index.json")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		return pipeline.Result{}, err
	}
	out, err := job.Publish(ctx, file, manifest.IndexOutput(job.Task.Job.Name))
	result.Outputs = append(result.Outputs, out)
	return result, err
}

// publish stores the segments. The first run of a rendition also stores the init section; that of later runs
// is equal, as their Header shows.
func (r run) publish(ctx context.Context, job workers.Attempt) ([]pipeline.Output, error) {
	var outputs []pipeline.Output
	name, size := r.rung.Name, r.rung.Size
	if r.track.First == 0 {
		out, err := job.Publish(ctx, filepath.Join(r.dir, manifest.InitName), pipeline.Output{
			Name: name, Kind: pipeline.KindInit, Path: name + "/" + manifest.InitName,
			Width: size.Width, Height: size.Height, Codecs: r.track.Codecs,
		})
		if err != nil {
			return nil, err
		}
		outputs = append(outputs, out)
	}
	peak, average := manifest.Rates(r.track.Segments)
	out, err := job.Publish(ctx, filepath.Join(r.dir, manifest.SegmentName), pipeline.Output{
		Name: name, Kind: pipeline.KindRendition, Path: name + "/" + manifest.SegmentName,
		Segments: &pipeline.Segments{
			First: r.track.First, Count: len(r.track.Segments), Durations: r.track.Durations(),
			Last: r.last, Header: r.track.Header, Longest: r.longest,
		},
		Duration: r.track.Duration(), Width: size.Width, Height: size.Height, FrameRate: r.rung.Rate.Float(),
		Codecs: r.track.Codecs, Bandwidth: peak, AverageBandwidth: average,
	})
	return append(outputs, out), err
}

func unfit(format string, args ...any) error {
	return pipeline.Fail(pipeline.CodeVerification, format, args...)
}
