package workertest

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers"
)

// Case is a worker, and what to run it on.
type Case struct {
	Registry *workers.Registry
	Worker   string                     // type name in Registry
	Params   string                     // JSON object; {} when empty
	Source   string                     // path of the source
	Assets   map[string]string          // other objects of the upload: paths by name
	Media    pipeline.Media             // facts of the source
	Results  map[string]pipeline.Result // of other steps' jobs that the worker's jobs may come after
	// Jobs replace those that Plan returns, for worker types whose jobs the coordinator makes.
	Jobs []pipeline.Job
}

// Outcome is the outcome of a Case.
type Outcome struct {
	Store   *Store
	Jobs    []pipeline.Job             // in the order in which they ran
	Results map[string]pipeline.Result // by job
}

// Run checks the whole contract and returns the outcome of the first attempts.
func Run(t *testing.T, c Case) Outcome {
	t.Helper()
	store := NewStore(t)
	jobs := c.plan(t)
	results := maps.Clone(c.Results)
	if results == nil {
		results = map[string]pipeline.Result{}
	}
	out := Outcome{Store: store, Results: map[string]pipeline.Result{}}
	paths := map[string]string{}
	for _, job := range order(t, jobs) {
		task := c.task(t, store, job)
		canceled(t, c, store, task, results)
		first := store.Work(t, c.Registry, task, results, nil)
		checkPaths(t, job.Name, first, paths)
		checkRenditions(t, job, first)
		before := store.Keys(t)
		again := store.Work(t, c.Registry, task, results, nil)
		checkAgain(t, job.Name, first, again)
		for _, key := range before {
			if !slices.Contains(store.Keys(t), key) {
				t.Errorf("job %s: a second attempt removed %s of the first", job.Name, key)
			}
		}
		results[job.Name], out.Results[job.Name] = first, first
		out.Jobs = append(out.Jobs, job)
	}
	return out
}

// plan plans twice, through a pipeline of this one step.
func (c Case) plan(t *testing.T) []pipeline.Job {
	t.Helper()
	if c.Jobs != nil {
		return c.Jobs
	}
	raw := json.RawMessage(c.params())
	var with map[string]any
	if err := json.Unmarshal(raw, &with); err != nil {
		t.Fatalf("parameters: %v", err)
	}
	p := pipeline.Pipeline{Name: "kit", Version: 1, Steps: []pipeline.Step{{Worker: c.Worker, With: with}}}
	before := clone(t, c.Media)
	first, err := pipeline.NewPlan(p, nil, c.Media, c.Registry)
	if err != nil {
		t.Fatalf("plan: %v", err)
	}
	second, err := pipeline.NewPlan(p, nil, c.Media, c.Registry)
	if err != nil {
		t.Fatalf("plan again: %v", err)
	}
	if !reflect.DeepEqual(first, second) {
		t.Errorf("Plan is not pure:\n%+v\n%+v", first, second)
	}
	if !reflect.DeepEqual(before, clone(t, c.Media)) {
		t.Error("Plan changed the media")
	}
	for _, j := range first {
		if d, err := c.Registry.Describe(j, c.Media); err != nil || d.Start > d.End {
			t.Errorf("job %s is described as %+v, %v", j.Name, d, err)
		}
	}
	return first
}

// clone copies media through JSON, as processes exchange them.
func clone(t *testing.T, m pipeline.Media) (copied pipeline.Media) {
	t.Helper()
	data, err := json.Marshal(m)
	if err == nil {
		err = json.Unmarshal(data, &copied)
	}
	if err != nil {
		t.Fatalf("media as JSON: %v", err)
	}
	return copied
}

func (c Case) params() string {
	if c.Params == "" {
		return "{}"
	}
	return c.Params
}

// task puts source and assets into the store, under keys that do not contain their names.
func (c Case) task(t *testing.T, store *Store, job pipeline.Job) pipeline.Task {
	t.Helper()
	job.Worker = c.Worker
	if len(job.Params) == 0 {
		job.Params = json.RawMessage(c.params())
	}
	media := clone(t, c.Media)
	task := pipeline.Task{Project: pipeline.DefaultProject, Video: store.Video, Job: job, Media: &media}
	if c.Source != "" {
		task.Source = store.Add(t, "original", c.Source)
	}
	for name, path := range c.Assets {
		if task.Assets == nil {
			task.Assets = map[string]pipeline.Object{}
		}
		task.Assets[name] = store.Add(t, "asset-"+name, path)
	}
	return task
}

// order sorts the jobs so that each comes after those it waits for. It ignores jobs of other steps.
func order(t *testing.T, jobs []pipeline.Job) []pipeline.Job {
	t.Helper()
	var sorted []pipeline.Job
	done := map[string]bool{}
	for len(sorted) < len(jobs) {
		before := len(sorted)
		for _, j := range jobs {
			open := slices.ContainsFunc(j.After, func(a string) bool {
				return !done[a] && slices.ContainsFunc(jobs, func(o pipeline.Job) bool { return o.Name == a })
			})
			if !done[j.Name] && !open {
				done[j.Name] = true
				sorted = append(sorted, j)
			}
		}
		if len(sorted) == before {
			t.Fatalf("the jobs wait for each other: %v", jobs)
		}
	}
	return sorted
}

func checkPaths(t *testing.T, job string, r pipeline.Result, taken map[string]string) {
	t.Helper()
	for _, o := range r.Outputs {
		for _, n := range numbers(o) { // several jobs may make runs of one rendition
			path := workers.SegmentName(o.Path, n)
			if other, ok := taken[path]; ok {
				t.Errorf("jobs %s and %s both have an output %s", other, job, path)
			}
			taken[path] = job
		}
	}
}

// checkRenditions compares the renditions that have segments by the job with those that Plan said it makes.
func checkRenditions(t *testing.T, job pipeline.Job, r pipeline.Result) {
	t.Helper()
	var made []string
	for _, o := range r.Outputs {
		if o.Segments != nil && (o.Kind == pipeline.KindRendition || o.Kind == pipeline.KindAudioRendition) {
			made = append(made, path.Dir(o.Path))
		}
	}
	planned := slices.Sorted(slices.Values(job.Renditions))
	if slices.Sort(made); !slices.Equal(made, planned) {
		t.Errorf("job %s made segments of %v, and was planned for %v", job.Name, made, planned)
	}
}

// checkAgain compares what others rely on in two attempts at one job: paths, kinds and runs of segments.
func checkAgain(t *testing.T, job string, first, again pipeline.Result) {
	t.Helper()
	shape := func(r pipeline.Result) map[string]string {
		s := map[string]string{}
		for _, o := range r.Outputs {
			count := -1
			if o.Segments != nil {
				count = o.Segments.Count
			}
			data, _ := json.Marshal([]any{o.Kind, o.Name, count}) // strings and numbers always encode
			s[o.Path] = string(data)
		}
		return s
	}
	if a, b := shape(first), shape(again); !maps.Equal(a, b) {
		t.Errorf("job %s: two attempts differ:\n%v\n%v", job, a, b)
	}
}

// canceled runs the job under a context that has ended, and under one that ends when it first reports
// progress.
func canceled(t *testing.T, c Case, store *Store, task pipeline.Task, results map[string]pipeline.Result) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := store.attempt(t, ctx, c.Registry, task, results, nil); err == nil && len(task.Source.Key) > 0 {
		t.Errorf("job %s: Work succeeded although its context had ended", task.Job.Name)
	}
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	late := newStopwatch()
	_, err := store.attempt(t, ctx, c.Registry, task, results, func(pipeline.Progress) {
		late.start()
		cancel()
	})
	if late.passed() > patience {
		t.Errorf("job %s: Work returned %v after its context ended (%v)", task.Job.Name, late.passed(), err)
	}
}

// scratch returns a new folder for one attempt, and a function that checks that nothing is beside it.
func scratch(t *testing.T) (dir string, check func()) {
	t.Helper()
	parent := t.TempDir()
	dir = filepath.Join(parent, "attempt")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir, func() {
		entries, err := os.ReadDir(parent)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Name() != "attempt" {
				t.Errorf("Work left %s outside its folder", e.Name())
			}
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove the folder of an attempt: %v", err)
		}
	}
}
