package pipeline_test

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
)

// shelf is a store in memory: the age of each object by key.
type shelf map[string]time.Duration

func (s shelf) Objects(context.Context, string) iter.Seq2[pipeline.StoredObject, error] {
	return func(yield func(pipeline.StoredObject, error) bool) {
		for _, key := range slices.Sorted(maps.Keys(s)) {
			if !yield(pipeline.StoredObject{Key: key, Modified: time.Now().Add(-s[key])}, nil) {
				return
			}
		}
	}
}

func (s shelf) Delete(_ context.Context, key string) error {
	delete(s, key)
	return nil
}

// TestJanitorAfterTheClockWasSetForward checks that an object is not old because the clock jumped.
func TestJanitorAfterTheClockWasSetForward(t *testing.T) {
	all := shelf{
		"videos/vid_02/source/x.mp4": 25 * time.Hour, // being uploaded, an hour ago
		"videos/vid_03/source/x.mp4": 49 * time.Hour,
	}
	w := newWorld(t, planner{})
	j := &pipeline.Janitor{
		Log: w.log, Owners: owners{}, Shelf: all, Jumped: func() time.Duration { return 24 * time.Hour },
	}
	n, err := j.Clean(t.Context())
	if _, kept := all["videos/vid_02/source/x.mp4"]; err != nil || n != 1 || !kept {
		t.Errorf("deleted %d, %v; left %v", n, err, all)
	}
}

// owners knows the only video.
type owners struct{}

func (owners) Owner(_ context.Context, id string) (string, error) {
	if id == video {
		return project, nil
	}
	return "", pipeline.ErrNotFound
}

func TestJanitor(t *testing.T) {
	p := planner{"a": {{}}, "b": {{}}}
	w := newWorld(t, p)
	w.accept(uploadOf(p.pipeline()))
	w.run("inspect", accepted())
	w.run("a", pipeline.Result{})
	won := w.log.of(pipeline.JobCompleted)[1].Sequence - 1
	task, _ := w.tasks.take("b")
	runs := w.write(pipeline.JobStarted, task, pipeline.JobEvent{Attempt: 1, Owner: 1}).Sequence

	day, hours := 25*time.Hour, 2*time.Hour
	keep := shelf{
		"videos/vid_01/source/original.mp4":            day,
		fmt.Sprintf("videos/vid_01/a/%d/x", won):       day,
		fmt.Sprintf("videos/vid_01/b/%d/x", runs):      day,
		fmt.Sprintf("videos/vid_01/b/%d/x", runs+5):    day, // it began after the fold
		fmt.Sprintf("videos/vid_01/a/%d/young", won-1): time.Minute,
		"videos/vid_02/source/original.mp4":            hours, // perhaps being uploaded
		"videos/vid_01/source/second-try.mp4":          hours,
		"videos/vid_01/unknown/3/x":                    day,
		"other/thing":                                  day,
	}
	waste := shelf{
		"videos/vid_03/source/original.mp4":        day,
		"videos/vid_01/source/third-try.mp4":       day,
		fmt.Sprintf("videos/vid_01/a/%d/y", won-1): hours,
		fmt.Sprintf("videos/vid_01/b/%d/y", won):   hours,
	}
	all := maps.Clone(keep)
	maps.Copy(all, waste)
	j := &pipeline.Janitor{Log: w.log, Owners: owners{}, Shelf: all}
	n, err := j.Clean(t.Context())
	if err != nil || n != len(waste) {
		t.Errorf("deleted %d, %v; want %d", n, err, len(waste))
	}
	if left := slices.Sorted(maps.Keys(all)); !slices.Equal(left, slices.Sorted(maps.Keys(keep))) {
		t.Errorf("left %v", left)
	}
}
