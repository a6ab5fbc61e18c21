package workertest

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers"
)

type params struct{}

// fake is a worker that breaks the rule in its name; an empty name breaks none.
type fake struct {
	fault string
	plans *int
}

func (f fake) Plan(_ params, m pipeline.Media) ([]pipeline.Job, error) {
	*f.plans++
	jobs := []pipeline.Job{{Name: "one"}, {Name: "two", After: []string{"one"}}}
	switch {
	case f.fault == "impure" && *f.plans > 1:
		jobs[0].Weight = 7
	case f.fault == "name":
		jobs[0].Name = "a b"
	case f.fault == "cycle":
		jobs[0].After = []string{"two"}
	case f.fault == "rendition":
		jobs[0].Renditions = []string{"720p"}
	case f.fault == "media":
		m.Warnings[0] = "changed"
	}
	return jobs, nil
}

func (f fake) Describe(job pipeline.Job, _ pipeline.Media) (workers.Description, error) {
	if f.fault == "description" && job.Name == "fake-two" {
		return workers.Description{Start: 2, End: 1}, nil
	}
	return workers.Description{}, nil
}

func (f fake) Work(ctx context.Context, job workers.Job[params]) (pipeline.Result, error) {
	if f.fault == "cancel" {
		ctx = context.WithoutCancel(ctx)
	}
	input, err := job.Input(ctx)
	if err != nil {
		return pipeline.Result{}, err
	}
	name := job.Task.Job.Name + ".txt"
	if f.fault == "same path" {
		name = "same.txt"
	}
	file := filepath.Join(job.Dir, name)
	out := pipeline.Output{Name: name, Kind: "word", Path: name}
	switch f.fault {
	case "outside":
		err = os.WriteFile(filepath.Join(job.Dir, "..", "litter"), nil, 0o600)
	case "source":
		err = os.WriteFile(input, []byte("mine now"), 0o600)
	case "path":
		out.Path = name + "/../" + name
	case "name of output":
		out.Name = ""
	case "attempts":
		out.Path = strings.Repeat("x", int(job.Token)) + name
	}
	if err = errors.Join(err, os.WriteFile(file, []byte(name), 0o600)); err != nil {
		return pipeline.Result{}, err
	}
	published, err := job.Publish(ctx, file, out)
	if err != nil {
		return pipeline.Result{}, err
	}
	switch f.fault {
	case "size":
		published.Size++
	case "sum":
		published.SHA256 = strings.Repeat("0", 64)
	case "key":
		published.Key += "x"
	case "secret output":
		return pipeline.Result{}, nil
	}
	return pipeline.Result{Outputs: []pipeline.Output{published}}, nil
}

func runFake(t *testing.T, fault string) {
	source := filepath.Join(t.TempDir(), "source")
	if err := os.WriteFile(source, []byte("source"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := Registry("fake", fake{fault: fault, plans: new(int)})
	Run(t, Case{Registry: r, Worker: "fake", Source: source, Media: pipeline.Media{Warnings: []string{"as it was"}}})
}

func TestSoundWorkerPasses(t *testing.T) { runFake(t, "") }

// TestEveryFaultIsFound runs this test binary again for each fault, since the kit reports only through
// testing.T.
func TestEveryFaultIsFound(t *testing.T) {
	if fault := os.Getenv("WORKERTEST_FAULT"); fault != "" {
		runFake(t, fault)
		return
	}
	for _, fault := range []string{
		"impure", "name", "cycle", "media", "cancel", "same path", "outside", "source", "path", "name of output", "attempts",
		"size", "sum", "key", "secret output", "description", "rendition",
	} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestEveryFaultIsFound$")
		cmd.Env = append(os.Environ(), "WORKERTEST_FAULT="+fault)
		var exit *exec.ExitError
		if out, err := cmd.CombinedOutput(); !errors.As(err, &exit) || !strings.Contains(string(out), "--- FAIL") {
			t.Errorf("%s was not found: %v\n%s", fault, err, out)
		}
	}
}
