package transcode

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/manifest"
	"github.com/reelmill/reelmill/workers"
	"github.com/reelmill/reelmill/workers/internal/encode"
)

// packageRun is one attempt at the package job. It reads no media: the jobs before it have verified their
// own.
type packageRun struct {
	job     workers.Attempt
	encoded string // why the top rung was not planned as a copy
}

func (p packageRun) run(ctx context.Context) (pipeline.Result, error) {
	made, err := p.made(ctx)
	if err != nil {
		return pipeline.Result{}, encode.Fault(ctx, err)
	}
	texts, err := manifest.Package(made)
	if err != nil {
		return pipeline.Result{}, err
	}
	var result pipeline.Result
	for _, t := range texts {
		out, err := p.publish(ctx, t)
		if err != nil {
			return pipeline.Result{}, encode.Fault(ctx, err)
		}
		result.Outputs = append(result.Outputs, out)
	}
	result.Facts = decision(p.job.Results)
	if p.encoded != "" {
		result.Facts[factReason] = p.encoded
	}
	return result, nil
}

// readers is how many indexes are read at once.
const readers = 8

// made returns what the jobs before this one made, in the order of their names, with their indexes.
func (p packageRun) made(ctx context.Context) ([]manifest.Made, error) {
	names := slices.Sorted(maps.Keys(p.job.Results))
	all := make([]manifest.Made, len(names))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readers)
	for i, name := range names {
		all[i].Outputs = p.job.Results[name].Outputs
		for _, o := range all[i].Outputs {
			if !manifest.IsIndex(o) {
				continue
			}
			group.Go(func() (err error) {
				all[i].Runs, err = p.index(ctx, o)
				return err
			})
		}
	}
	return all, group.Wait()
}

func (p packageRun) index(ctx context.Context, o pipeline.Output) ([]manifest.Run, error) {
	file, err := p.job.Fetch(ctx, o)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, pipeline.Fail(pipeline.CodeFetchFailed, "read %s: %w", o.Path, err)
	}
	runs, err := manifest.DecodeIndex(data)
	if err != nil {
		return nil, unfit("read %s: %w", o.Path, err)
	}
	return runs, nil
}

// publish writes a small text to scratch and stores it.
func (p packageRun) publish(ctx context.Context, t manifest.Text) (pipeline.Output, error) {
	file := filepath.Join(p.job.Dir, filepath.FromSlash(t.Output.Path))
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return t.Output, err
	}
	if err := os.WriteFile(file, t.Data, 0o600); err != nil {
		return t.Output, err
	}
	return p.job.Publish(ctx, file, t.Output)
}
