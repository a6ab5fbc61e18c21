package workers

import (
	"context"
	"math"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/storage"
	"github.com/reelmill/reelmill/storage/storagetest"
)

func TestGate(t *testing.T) {
	s := storagetest.Disk(t, t.TempDir())
	put(t, s, "videos/v/j/9/a.mp4", "film")
	put(t, s, "videos/v/j/9/empty", "")
	put(t, s, "videos/v/j/8/b.mp4", "film")
	put(t, s, "videos/v/j/9/s_00000.m4s", "0")
	put(t, s, "videos/v/j/9/s_00001.m4s", "1")
	a := attemptWith(s)
	good := pipeline.Output{Path: "a.mp4", Key: "videos/v/j/9/a.mp4", Size: 4}
	run := pipeline.Output{
		Path: "s_%05d.m4s", Key: "videos/v/j/9/s_%05d.m4s", Size: 2, Segments: &pipeline.Segments{Count: 2},
	}
	for name, test := range map[string]struct {
		r  pipeline.Result
		ok bool
	}{
		"nothing":      {pipeline.Result{}, true},
		"all is there": {result(good, run), true},
		"never stored": {result(good, pipeline.Output{Path: "c", Key: "videos/v/j/9/c", Size: 1}), false},
		"other size":   {result(with(good, func(o *pipeline.Output) { o.Size = 5 })), false},
		"other path":   {result(with(good, func(o *pipeline.Output) { o.Path = "b.mp4" })), false},
		"empty":        {result(pipeline.Output{Path: "empty", Key: "videos/v/j/9/empty"}), false},
		"other token":  {result(pipeline.Output{Path: "b.mp4", Key: "videos/v/j/8/b.mp4", Size: 4}), false},
		"segment lacks": {result(with(run, func(o *pipeline.Output) { o.Segments = &pipeline.Segments{Count: 3} })),
			false},
		"no segments": {result(with(run, func(o *pipeline.Output) {
			o.Segments, o.Size = &pipeline.Segments{},
				0
		})), false},
		"not a number": {pipeline.Result{Facts: map[string]any{"vmaf": math.NaN()}}, false},
	} {
		err := a.gate(t.Context(), test.r)
		if p := pipeline.ProblemOf(err); (p == nil) != test.ok || p != nil && p.Code != pipeline.CodeVerification {
			t.Errorf("%s: %v", name, err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if p := pipeline.ProblemOf(a.gate(ended, result(good))); p == nil ||
		p.Code != pipeline.CodeStorageFailed {
		t.Errorf("a store that does not answer: %v", p)
	}
}

func result(o ...pipeline.Output) pipeline.Result { return pipeline.Result{Outputs: o} }

// attemptWith returns an attempt at job j of video v, with token 9, whose outputs are in s.
func attemptWith(s storage.Store) *attempt {
	return &attempt{
		loop: &Loop{Config: Config{Store: s}},
		task: pipeline.Task{Video: "v", Job: pipeline.Job{Name: "j"}}, data: pipeline.JobEvent{Token: 9},
	}
}
