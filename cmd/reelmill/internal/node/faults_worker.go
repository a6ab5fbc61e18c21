//go:build chaos

package node

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pause"
	"github.com/reelmill/reelmill/workers"
)

// chaosParams set how long a job of chaosWorker takes and how it ends.
type chaosParams struct {
	MS   int `json:"ms,omitempty" minimum:"0" doc:"How long an attempt takes, in milliseconds"`
	Size int `json:"size,omitempty" minimum:"0" doc:"Bytes of the output; 1 when 0"`
	// Fail is empty, input, or transient:N.
	Fail string `json:"fail,omitempty" doc:"transient:N: the first N attempts fail; input: all do"`
}

// chaosWorker stands in for heavy work. Its jobs take time but no processor, and write files whose content
// follows from video and job, so that a checker can compute it. It plans two jobs, and one that reads the
// outputs of both.
type chaosWorker struct{}

// Plan implements workers.Worker.
func (chaosWorker) Plan(chaosParams, pipeline.Media) ([]pipeline.Job, error) {
	return []pipeline.Job{{Name: "a"}, {Name: "b"}, {Name: "join", After: []string{"a", "b"}}}, nil
}

// Work implements workers.Worker.
func (chaosWorker) Work(ctx context.Context, job workers.Job[chaosParams]) (pipeline.Result, error) {
	var failures int
	if n, ok := strings.CutPrefix(job.Params.Fail, "transient:"); ok {
		if _, err := fmt.Sscan(n, &failures); err != nil {
			return pipeline.Result{}, pipeline.Fail(pipeline.CodeParameters, "fail %q", job.Params.Fail)
		}
	}
	for _, before := range job.Results {
		if err := checkChaos(ctx, job, before); err != nil {
			return pipeline.Result{}, err
		}
	}
	for done := 0; done < job.Params.MS && ctx.Err() == nil; done += 50 {
		pause.For(ctx, 50*time.Millisecond)
		job.Progress(float64(done)/float64(job.Params.MS), 1)
	}
	switch {
	case ctx.Err() != nil:
		return pipeline.Result{}, context.Cause(ctx)
	case job.Params.Fail == "input":
		return pipeline.Result{}, pipeline.Fail(pipeline.CodeMalformed, "chaos: this input must fail")
	case job.Number <= failures:
		return pipeline.Result{}, pipeline.Fail(pipeline.CodeStorageFailed, "chaos: attempt %d fails", job.Number)
	}
	file := filepath.Join(job.Dir, "out.bin")
	content := chaosContent(job.Task.Video, job.Task.Job.Name, max(1, job.Params.Size))
	if err := os.WriteFile(file, content, 0o600); err != nil {
		return pipeline.Result{}, err
	}
	name := "chaos-" + job.Task.Job.Name
	out, err := job.Publish(ctx, file, pipeline.Output{Name: name, Kind: "chaos", Path: name + ".bin"})
	return pipeline.Result{Outputs: []pipeline.Output{out}}, err
}

// checkChaos checks the output of an earlier job.
func checkChaos(ctx context.Context, job workers.Job[chaosParams], before pipeline.Result) error {
	for _, o := range before.Outputs {
		path, err := job.Fetch(ctx, o)
		if err != nil {
			return err
		}
		got, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(o.Name, "chaos-")
		if !bytes.Equal(got, chaosContent(job.Task.Video, name, int(o.Size))) {
			return pipeline.Fail(pipeline.CodeEncodeFailed, "chaos: %s is not what %s wrote", o.Key, name)
		}
	}
	return nil
}

// chaosContent returns the content that a job of a video writes.
func chaosContent(video, job string, size int) []byte {
	content := make([]byte, size)
	_, _ = rand.NewChaCha8(sha256.Sum256([]byte(video + "/" + job))).Read(content) // never fails
	return content
}
