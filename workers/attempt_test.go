package workers_test

import (
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers"
)

// TestNice: what playback waits for yields to nothing, and the rest yields to what is waited for sooner.
func TestNice(t *testing.T) {
	nice := func(j pipeline.Job) int { return workers.Attempt{Task: pipeline.Task{Job: j}}.Nice() }
	opener := nice(pipeline.Job{Opener: true, Priority: pipeline.High})
	soon := nice(pipeline.Job{Priority: pipeline.High})
	normal, bulk := nice(pipeline.Job{}), nice(pipeline.Job{Priority: pipeline.Bulk})
	if opener != 0 || soon <= opener || normal <= soon || bulk < normal {
		t.Errorf("niceness %d of an opener, %d of a poster, %d and %d of others", opener, soon, normal, bulk)
	}
}
