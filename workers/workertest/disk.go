package workertest

import (
	"context"
	"errors"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers"
)

// folder is a source that can be opened but not read: the system refuses to read a folder.
type folder string

// Local returns the folder.
func (f folder) Local(context.Context, string, string) (string, error) { return string(f), nil }

// Upload fails.
func (f folder) Upload(context.Context, string, string) (size int64, sha256 string, err error) {
	return 0, "", errors.New("no output may be stored")
}

// DiskFault runs the first job that w plans for media on a source that the disk fails to read. It checks that
// the attempt fails, may be tried again, and leaves no facts: the fault says nothing about the source.
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
