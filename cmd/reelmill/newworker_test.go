package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/client"
)

// tinyWorker is the source of a complete worker type.
const tinyWorker = `// Package tiny writes one word about a video.
package tiny

import (
	"context"
	"os"
	"path/filepath"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers"
)

type Params struct {
	Word string ` + "`json:\"word,omitempty\" maxLength:\"20\"`" + `
}

type Worker struct{}

func (Worker) Plan(Params, pipeline.Media) ([]pipeline.Job, error) { return []pipeline.Job{{}}, nil }

func (Worker) Work(ctx context.Context, job workers.Job[Params]) (pipeline.Result, error) {
	file := filepath.Join(job.Dir, "word.txt")
	if err := os.WriteFile(file, []byte(job.Params.Word), 0o600); err != nil {
		return pipeline.Result{}, err
	}
	out, err := job.Publish(ctx, file, pipeline.Output{Name: "word", Kind: "word", Path: "word.txt"})
	return pipeline.Result{Outputs: []pipeline.Output{out}}, err
}
`

// TestNewWorker builds the program with one more folder and one more line, in an overlay, and uses the new
// worker type in a pipeline of the configuration file.
func TestNewWorker(t *testing.T) {
	dir := t.TempDir()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(root, "workers", "all", "all.go")
	lines, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	const add = "\tworkers.Add("
	with := strings.Replace(string(lines), add, add+"r, \"tiny\", tiny.Worker{})\n"+add, 1)
	with = strings.Replace(with, "import (", "import (\n\t\"github.com/reelmill/reelmill/workers/tiny\"", 1)
	if strings.Count(with, "tiny") != 3 {
		t.Fatal("workers/all/all.go no longer has the form `workers.Add(r, ...)`")
	}
	file := func(name, body string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{
		list: file("all.go", with),
		filepath.Join(root, "workers", "tiny", "tiny.go"): file("tiny.go", tinyWorker),
	}})
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "reelmill")
	if err := build(program, file("overlay.json", string(overlay))); err != nil {
		t.Fatal(err)
	}
	config := file("config.yaml",
		"pipelines:\n- name: words\n  steps:\n  - worker: tiny\n    with: {word: hello}\n")
	p := startServe(t, program, t.TempDir(), "--config", config)
	source := clip(t, "a.mp4", 1, "320x180", 25)
	view, err := p.client().Upload(t.Context(), client.Upload{Path: source, Pipeline: "words"})
	if err != nil {
		t.Fatal(err)
	}
	if end := awaitEnd(t, p.client(), view.ID); end.Status != pipeline.StateVideoReady {
		t.Fatalf("end: %+v\n%s", end, p.stderr)
	}
	if got := string(get(t, p.url+"/play/"+view.ID+"/word.txt")); got != "hello" {
		t.Errorf("the worker wrote %q", got)
	}
}
