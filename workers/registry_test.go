package workers_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers"
)

// params are the parameters of the workers in these tests.
type params struct {
	Height int    `json:"height,omitempty" minimum:"16" maximum:"4320" doc:"Pixels"`
	Mode   string `json:"mode,omitempty" enum:"fast,good"`
	Logo   logo   `json:"logo,omitempty"`
}

type logo struct {
	Asset string `json:"asset,omitempty"`
}

// worker is a Worker made of functions.
type worker struct {
	plan  func(p params, m pipeline.Media) ([]pipeline.Job, error)
	work  func(ctx context.Context, j workers.Job[params]) (pipeline.Result, error)
	check error
}

func (w worker) Plan(p params, m pipeline.Media) ([]pipeline.Job, error) { return w.plan(p, m) }

func (w worker) Work(ctx context.Context, j workers.Job[params]) (pipeline.Result, error) {
	return w.work(ctx, j)
}

func (w worker) Check(context.Context) error { return w.check }

// stamp is a worker that hides the source and takes a file.
type stamp struct{ worker }

func (stamp) Traits() pipeline.Traits {
	return pipeline.Traits{HidesSource: true, Upload: &pipeline.UploadField{Asset: "logo"}}
}

func registryOf(w worker) *workers.Registry {
	r := workers.NewRegistry()
	workers.Add(r, "test", w)
	return r
}

func TestRegistryPlansAndWorks(t *testing.T) {
	var got params
	missing := errors.New("no ffmpeg")
	r := registryOf(worker{
		plan: func(p params, m pipeline.Media) ([]pipeline.Job, error) {
			got = p
			return []pipeline.Job{{Weight: int(m.Duration)}}, nil
		},
		work: func(_ context.Context, j workers.Job[params]) (pipeline.Result, error) {
			return pipeline.Result{Facts: map[string]any{"height": j.Params.Height, "job": j.Task.Job.Name}}, nil
		},
		check: missing,
	})
	jobs, err := r.Plan("test", json.RawMessage(`{"height":720,"logo":{"asset":"l"}}`),
		pipeline.Media{Duration: 4})
	if err != nil || len(jobs) != 1 || jobs[0].Weight != 4 || got.Height != 720 || got.Logo.Asset != "l" {
		t.Errorf("%+v of %+v, %v", jobs, got, err)
	}
	task := pipeline.Task{Job: pipeline.Job{Name: "j", Worker: "test", Params: json.RawMessage(`{"height":90}`)}}
	result, err := r.Work(t.Context(), workers.NewAttempt(workers.Attempt{Task: task}, nil, nil))
	if err != nil || result.Facts["height"] != 90 || result.Facts["job"] != "j" {
		t.Errorf("%+v, %v", result, err)
	}
	if got := r.CheckMachine(t.Context()); len(got) != 1 || !errors.Is(got["test"], missing) {
		t.Errorf("the machine lacks %v", got)
	}
	if _, err := r.Plan("test", nil, pipeline.Media{}); err != nil || got != (params{}) {
		t.Errorf("without parameters: %+v, %v", got, err)
	}
}

func TestRegistryKnowsTraits(t *testing.T) {
	r := registryOf(worker{})
	workers.Add(r, "stamp", stamp{})
	if got := r.Traits(); !got["stamp"].HidesSource || got["stamp"].Upload.Asset != "logo" || got["test"].Upload != nil {
		t.Errorf("traits %+v", got)
	}
}

func TestRegistryRefuses(t *testing.T) {
	r := registryOf(worker{})
	for raw, names := range map[string]string{
		`{"heigth":720}`:         "heigth",
		`{"height":"720"}`:       "height",
		`{"height":1}`:           "height",
		`{"mode":"slow"}`:        "mode",
		`{"logo":{"asset":1}}`:   "logo.asset",
		`{"logo":{"other":"x"}}`: "logo.other",
		`[]`:                     "object",
		`null`:                   "object",
		`{`:                      "JSON",
	} {
		err := r.Check("test", json.RawMessage(raw))
		p := pipeline.ProblemOf(err)
		if p == nil || p.Code != pipeline.CodeParameters || !strings.Contains(p.Detail, names) {
			t.Errorf("%s: %v, want the detail to name %s", raw, err, names)
		}
		task := pipeline.Task{Job: pipeline.Job{Worker: "test", Params: json.RawMessage(raw)}}
		if _, err := r.Work(t.Context(),
			workers.Attempt{Task: task}); pipeline.ProblemOf(err).Code != pipeline.CodeParameters {
			t.Errorf("work with %s: %v", raw, err)
		}
	}
	for _, err := range []error{
		r.Check("other", nil),
		func() error { _, err := r.Plan("other", nil, pipeline.Media{}); return err }(),
		func() error { _, err := r.Work(t.Context(), workers.Attempt{}); return err }(),
	} {
		if p := pipeline.ProblemOf(err); p == nil || p.Code != pipeline.CodeWorkerTypeUnknown {
			t.Errorf("unknown type: %v", err)
		}
	}
}

func TestAddPanics(t *testing.T) {
	for _, name := range []string{"test", "", "a.b"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%q is registered", name)
				}
			}()
			workers.Add(registryOf(worker{}), name, worker{})
		}()
	}
}

// TestSchemaStandsAlone: other programs validate with the schema, so all its references must be to itself.
func TestSchemaStandsAlone(t *testing.T) {
	types := registryOf(worker{}).Types()
	if len(types) != 1 || types[0].Name != "test" {
		t.Fatalf("types %+v", types)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(types[0].Schema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	if err := c.AddResource("params.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("params.json")
	if err != nil {
		t.Fatalf("%v\n%s", err, types[0].Schema)
	}
	for raw, want := range map[string]bool{
		`{}`: true, `{"height":720,"mode":"good","logo":{"asset":"x"}}`: true,
		`{"height":1}`: false, `{"logo":{"asset":1}}`: false, `{"other":1}`: false,
	} {
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(value); (err == nil) != want {
			t.Errorf("%s: %v", raw, err)
		}
	}
	if !bytes.Contains(types[0].Schema, []byte("Pixels")) {
		t.Error("the schema has no description")
	}
}

// teller is a worker that describes its jobs.
type teller struct{ worker }

func (teller) Describe(job pipeline.Job, m pipeline.Media) (workers.Description, error) {
	if len(job.Part) == 0 {
		return workers.Description{}, pipeline.Fail(pipeline.CodeParameters, "no part")
	}
	return workers.Description{Kind: string(job.Part), End: m.Duration, Bytes: int64(len(job.Params))}, nil
}

// TestRegistryDescribes: a worker describes its own jobs, and those that were another type's once.
func TestRegistryDescribes(t *testing.T) {
	r := workers.NewRegistry()
	workers.Add(r, "test", teller{})
	workers.Add(r, "elder", elder{})
	workers.Add(r, "silent", worker{})
	for _, c := range []struct {
		worker, part string
		want         workers.Description
		code         pipeline.Code
	}{
		{"test", "7", workers.Description{Kind: "7", End: 3, Bytes: 2}, ""},
		{"elder", "7", workers.Description{Kind: "7", End: 3}, ""},
		{"elder", "", workers.Description{}, ""},
		{"silent", "7", workers.Description{}, ""},
		{"test", "", workers.Description{}, pipeline.CodeParameters},
		{"other", "7", workers.Description{}, pipeline.CodeWorkerTypeUnknown},
	} {
		job := pipeline.Job{Worker: c.worker, Part: json.RawMessage(c.part), Params: json.RawMessage("{}")}
		got, err := r.Describe(job, pipeline.Media{Duration: 3})
		var code pipeline.Code
		if p := pipeline.ProblemOf(err); p != nil {
			code = p.Code
		}
		if code != c.code || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s, part %q: %+v, %v; want %+v, code %q", c.worker, c.part, got, err, c.want, c.code)
		}
	}
}

// elder is a worker whose jobs with a part are another type's today.
type elder struct{ worker }

func (elder) Moved(job pipeline.Job) (pipeline.Job, bool) {
	if len(job.Part) == 0 {
		return job, false
	}
	job.Worker, job.Params = "test", nil
	return job, true
}

// TestMovedJobs: a job of a plan of an earlier version runs as one of the type that does it today.
func TestMovedJobs(t *testing.T) {
	told := func(by string) worker {
		return worker{work: func(_ context.Context, j workers.Job[params]) (pipeline.Result, error) {
			return pipeline.Result{Facts: map[string]any{"by": by, "height": j.Params.Height, "job": j.Task.Job.Name}}, nil
		}}
	}
	r := registryOf(told("test"))
	workers.Add(r, "elder", elder{told("elder")})
	for part, want := range map[string]map[string]any{
		"": {"by": "elder", "height": 720, "job": "j"}, "1": {"by": "test", "height": 0, "job": "j"},
	} {
		task := pipeline.Task{Job: pipeline.Job{
			Name: "j", Worker: "elder", Params: json.RawMessage(`{"height":720}`), Part: json.RawMessage(part),
		}}
		result, err := r.Work(t.Context(), workers.NewAttempt(workers.Attempt{Task: task}, nil, nil))
		if err != nil || !maps.Equal(result.Facts, want) {
			t.Errorf("part %q: facts %v, %v", part, result.Facts, err)
		}
	}
}
