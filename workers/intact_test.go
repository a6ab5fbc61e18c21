package workers_test

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/storage"
	"github.com/reelmill/reelmill/workers"
)

// TestADamagedSourceIsNoticed flips a byte of a stored upload. The job must end with its own code after a second
// look, and leave no output, whether the store's file is used in place or copied.
func TestADamagedSourceIsNoticed(t *testing.T) {
	const source, asset = "videos/v/source/original.mp4", "videos/v/source/mark.png"
	remote := func(s storage.Store) storage.Store { return struct{ storage.Store }{s} }
	for name, test := range map[string]struct {
		store   func(storage.Store) storage.Store // nil: in place
		damaged string
	}{
		"in place": {nil, source}, "copied": {remote, source}, "an asset, copied": {remote, asset},
		"in place, intact": {nil, ""}, "copied, intact": {remote, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, patient)
			task := pipeline.Task{
				Project: "p", Video: "v", Job: pipeline.Job{Name: "j", Step: "s", Worker: "test", Retry: []pipeline.Seconds{0.01, 0.01, 0.01}},
				Source: r.upload(source, "the film"), Assets: map[string]pipeline.Object{"mark": r.upload(asset, "the mark")},
				EventID: "evt_cause", Trace: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
			}
			if test.damaged != "" {
				r.flip(test.damaged)
			}
			must(t, r.bus.Enqueue(t.Context(), task))
			r.start(working(func(ctx context.Context, j job) (pipeline.Result, error) {
				if _, err := j.Input(ctx); err != nil {
					return pipeline.Result{}, err
				}
				if _, err := j.Asset(ctx, "mark"); err != nil {
					return pipeline.Result{}, err
				}
				return publish(ctx, j)
			}), func(c *workers.Config) {
				if test.store != nil {
					c.Store = test.store(c.Store)
				}
			})
			if test.damaged == "" {
				r.done("next", "ack")
				r.last(pipeline.JobCompleted)
				return
			}
			r.done("next", "schedule", "ack", "next", "letter", "ack")
			_, data := r.last(pipeline.JobErrored)
			if data.Attempt != 2 || data.Problem.Code != pipeline.CodeSourceDamaged || data.Problem.Retryable ||
				!strings.Contains(data.Problem.Detail, test.damaged+" has the SHA-256 ") {
				t.Errorf("%+v %+v", data, data.Problem)
			}
			if left := r.keys(); !slices.Equal(left, []string{asset, source}) {
				t.Errorf("left %v", left)
			}
		})
	}
}

// upload stores an object as an upload does.
func (r *rig) upload(key, text string) pipeline.Object {
	r.t.Helper()
	info, err := r.store.Put(r.t.Context(), key, strings.NewReader(text), storage.PutOptions{})
	must(r.t, err)
	return pipeline.Object{Key: key, Size: info.Size, SHA256: info.SHA256}
}

// flip changes one bit of a stored object.
func (r *rig) flip(key string) {
	r.t.Helper()
	path, ok := r.store.LocalPath(key)
	if !ok {
		r.t.Fatalf("%s is no file", key)
	}
	raw, err := os.ReadFile(path)
	must(r.t, err)
	raw[len(raw)/2] ^= 1
	must(r.t, os.Remove(path)) // it is read-only
	must(r.t, os.WriteFile(path, raw, 0o400))
}
