package workers

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/storage"
)

func TestProblemPlaced(t *testing.T) {
	a := &attempt{
		task: pipeline.Task{Job: pipeline.Job{Name: "j", Step: "s"}}, data: pipeline.JobEvent{Attempt: 3},
	}
	for name, test := range map[string]struct {
		err  error
		code pipeline.Code
	}{
		"plain": {errors.New("x"), pipeline.CodeInternal},
		"store is full": {pipeline.Fail(pipeline.CodeStorageFailed, "put: %w", storage.ErrFull),
			pipeline.CodeDiskFull},
		"scratch is": {&os.PathError{Op: "write", Path: "x", Err: unix.ENOSPC}, pipeline.CodeDiskFull},
	} {
		if p := a.problem(test.err); p.Code != test.code || p.Job != "j" || p.Step != "s" ||
			p.Attempt != 3 {
			t.Errorf("%s: %+v", name, p)
		}
	}
}
