package workertest

import (
	"context"
	"errors"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers"
)

// folder is a source whose disk opens it and does not give it: reading a folder is an error of the system.
type folder string

func (f folder) Local(context.Context, string, string) (string, error) { return string(f), nil }

func (f folder) Upload(context.Context, string, string) (size int64, sha256 string, err error) {
	return 0, "", errors.New("nothing can be made of it")
}

// DiskFault runs the first job that w plans of media on a source whose disk does not give it, and checks that
// the attempt fails, is tried again, and leaves no facts: the disk says nothing of the source.
func DiskFault[P any](t *testing.T, w workers.Worker[P], params P, media pipeline.Media) {
	t.Helper()
	jobs, err := w.Plan(params, media)
	if err != nil {
		t.Fatal(err)
	}
	task := pipeline.Task{Job: jobs[0], Media: &media, Source: pipeline.Object{Key: "original"}}
	r, err := w.Work(t.Context(), workers.Job[P]{
		Attempt: workers.NewAttempt(workers.Attempt{Task: task, Dir: t.TempDir()}, folder(t.TempDir()), nil),
	})
	if err == nil {
		t.Fatalf("it succeeded: %+v", r)
	}
	if p := pipeline.ProblemOf(err); p.Code != pipeline.CodeInternal || !p.Retryable || r.Facts != nil {
		t.Errorf("facts %v, %v: %+v", r.Facts, err, p)
	}
}
