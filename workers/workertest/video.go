package workertest

import (
	"maps"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers"
)

// Inspect runs the inspect worker on source and returns its finding.
func Inspect(t *testing.T, r *workers.Registry, store *Store, source string) pipeline.Inspection {
	t.Helper()
	task := pipeline.Task{
		Project: pipeline.DefaultProject, Video: store.Video, Source: store.Add(t, "original", source),
		Job: pipeline.Job{Name: "inspect", Step: "inspect", Worker: "inspect"},
	}
	result := store.Work(t, r, task, nil, nil)
	if result.Inspection == nil {
		t.Fatal("the inspection has no finding")
	}
	return *result.Inspection
}

// Video runs a whole pipeline on an inspected source, one job after another, and returns the results by job.
// requested holds the upload's own parameters, by step.
func Video(t *testing.T, r *workers.Registry, store *Store, source string, media pipeline.Media,
	p pipeline.Pipeline, requested map[string]map[string]any,
) map[string]pipeline.Result {
	t.Helper()
	jobs, err := pipeline.NewPlan(p, requested, media, r)
	if err != nil {
		t.Fatalf("plan: %v", err)
	}
	results := map[string]pipeline.Result{}
	for _, job := range order(t, jobs) {
		task := pipeline.Task{
			Project: pipeline.DefaultProject, Video: store.Video, Source: store.Add(t, "original", source),
			Media: &media, Job: job,
		}
		results[job.Name] = store.Work(t, r, task, maps.Clone(results), nil)
	}
	return results
}
