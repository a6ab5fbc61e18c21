// Package packager is the worker that lists the renditions of a video for players: HLS media playlists,
// I-frame playlists, an MPD, and last the master playlist.
//
//  1. Plan returns one job, which needs every video and audio rendition, whatever step and worker type makes
//     it. A pipeline that makes renditions and names no packager step has one added (Traits).
//  2. Work reads the indexes of the jobs before (manifest.Run), joins the runs of each rendition, and
//     compares them with what is stored. It refuses a video that lacks a rendition which these jobs were
//     to make (Job.Expects), or a part of one. If an optional job failed, it leaves its rendition out.
//  3. It writes the texts (manifest.Package) and publishes them. With the master the video is playable for
//     good: until then, the API lists what there is (manifest.Growing).
//
// It reads no media: the jobs before it have verified their own. It does not miss what a worker makes without
// saying so in its Plan (Job.Renditions), nor anything in plans of versions that did not tell.
package packager

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/manifest"
	"github.com/reelmill/reelmill/workers"
	"github.com/reelmill/reelmill/workers/internal/encode"
)

// Params is empty: a packager step has no parameters.
type Params struct{}

// Worker is the worker type "packager".
type Worker struct{}

// Traits implements workers.Declarer: pictures that nobody lists could not be played.
func (Worker) Traits() pipeline.Traits { return pipeline.Traits{AddedFor: pipeline.KindRendition} }

// Plan implements workers.Worker.
func (Worker) Plan(Params, pipeline.Media) ([]pipeline.Job, error) {
	return []pipeline.Job{{
		Priority: pipeline.High, Weight: 1,
		Needs: []pipeline.OutputKind{pipeline.KindRendition, pipeline.KindAudioRendition},
	}}, nil
}

// Work implements workers.Worker.
func (Worker) Work(ctx context.Context, job workers.Job[Params]) (pipeline.Result, error) {
	r := run{job.Attempt}
	made, err := r.made(ctx)
	if err != nil {
		return pipeline.Result{}, encode.Fault(ctx, err)
	}
	if lost := r.lostOptional(); len(lost) > 0 {
		made = manifest.DropIncomplete(made, r.job.Task.Job.Expects)
		if !slices.ContainsFunc(made, hasVideo) {
			return pipeline.Result{}, pipeline.Fail(pipeline.CodeParameters,
				"no video rendition is left to package: these optional jobs failed: %s", strings.Join(lost, ", "))
		}
	}
	texts, err := manifest.Package(made, r.job.Task.Job.Expects)
	if err != nil {
		return pipeline.Result{}, err
	}
	var result pipeline.Result
	for _, t := range texts {
		out, err := r.publish(ctx, t)
		if err != nil {
			return pipeline.Result{}, encode.Fault(ctx, err)
		}
		result.Outputs = append(result.Outputs, out)
	}
	return result, nil
}

// run is one attempt.
type run struct{ job workers.Attempt }

// lostOptional returns the optional jobs that failed. Renditions that they were to make may be incomplete.
func (r run) lostOptional() []string {
	return slices.DeleteFunc(slices.Clone(r.job.Task.Job.Tolerates), func(name string) bool {
		_, completed := r.job.Results[name]
		return completed
	})
}

func hasVideo(m manifest.Made) bool {
	return slices.ContainsFunc(m.Outputs, func(o pipeline.Output) bool {
		return o.Kind == pipeline.KindRendition
	})
}

// readers is how many indexes are read at once.
const readers = 8

// made returns what the jobs before this one made, in the order of their names, with the runs of all indexes.
func (r run) made(ctx context.Context) ([]manifest.Made, error) {
	var all []manifest.Made
	var indexes [][][]manifest.Run // by job, and by index of the job
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readers)
	for _, name := range slices.Sorted(maps.Keys(r.job.Results)) {
		outputs := r.job.Results[name].Outputs
		runs := make([][]manifest.Run, len(outputs))
		for i, o := range outputs {
			if !manifest.IsIndex(o) {
				continue
			}
			group.Go(func() (err error) {
				runs[i], err = r.index(ctx, o)
				return err
			})
		}
		all, indexes = append(all, manifest.Made{Outputs: outputs}), append(indexes, runs)
	}
	err := group.Wait()
	for i := range all {
		all[i].Runs = slices.Concat(indexes[i]...)
	}
	return all, err
}

func (r run) index(ctx context.Context, o pipeline.Output) ([]manifest.Run, error) {
	file, err := r.job.Fetch(ctx, o)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, pipeline.Fail(pipeline.CodeFetchFailed, "read %s: %w", o.Path, err)
	}
	runs, err := manifest.DecodeIndex(data)
	if err != nil {
		return nil, pipeline.Fail(pipeline.CodeVerification, "read %s: %w", o.Path, err)
	}
	return runs, nil
}

// publish writes a small text to scratch and stores it.
func (r run) publish(ctx context.Context, t manifest.Text) (pipeline.Output, error) {
	file := filepath.Join(r.job.Dir, filepath.FromSlash(t.Output.Path))
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return t.Output, err
	}
	if err := os.WriteFile(file, t.Data, 0o600); err != nil {
		return t.Output, err
	}
	return r.job.Publish(ctx, file, t.Output)
}
