package workers_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/storage"
	"github.com/reelmill/reelmill/workers"
)

// TestInteractiveSlots: a job that somebody waits for begins at once even if bulk jobs hold all other slots.
// No other job may use its slot.
func TestInteractiveSlots(t *testing.T) {
	r := newRig(t, patient)
	begun, release := make(chan string, 10), make(chan struct{})
	r.start(working(func(ctx context.Context, j job) (pipeline.Result, error) {
		begun <- j.Task.Job.Name
		<-release
		return publish(ctx, j)
	}), func(c *workers.Config) { c.Slots, c.Interactive = map[string]int{"test": 2}, nil })
	named := func(name string, p pipeline.Priority) func(*pipeline.Job) {
		return func(j *pipeline.Job) { j.Name, j.Priority = name, p }
	}
	wants := func(what string, names ...string) {
		t.Helper()
		open := map[string]bool{}
		for _, name := range names {
			open[name] = true
		}
		for range names {
			name := <-begun
			if !open[name] {
				t.Fatalf("%s: %s was begun, want %v", what, name, names)
			}
			delete(open, name)
		}
	}
	for i := range 4 {
		r.enqueue(named(fmt.Sprint("bulk-", i), pipeline.Bulk))
	}
	wants("free slots", "bulk-0", "bulk-1")
	r.enqueue(named("high-0", pipeline.High))
	wants("every slot is taken", "high-0")
	r.enqueue(named("high-1", pipeline.High))
	r.done("next", "next", "next") // there is one interactive slot
	close(release)
	wants("slots are free again", "bulk-2", "bulk-3", "high-1")
	r.until("six acks", acks(6))
}

// acks waits until n tasks are acknowledged.
func acks(n int) func(acts []string) bool {
	return func(acts []string) bool {
		return len(slices.DeleteFunc(acts, func(a string) bool { return a != "ack" })) == n
	}
}

// farStore is a store whose objects are not local files.
type farStore struct {
	storage.Store
	gets atomic.Int32
}

func (s *farStore) Get(ctx context.Context, key string, rng storage.Range) (io.ReadCloser, storage.Info,
	error,
) {
	s.gets.Add(1)
	return s.Store.Get(ctx, key, rng)
}

// TestJobsOfAVideoShareItsSource: eight concurrent attempts read the store once, and the loop leaves no
// files.
func TestJobsOfAVideoShareItsSource(t *testing.T) {
	const jobs = 8
	r := newRig(t, patient)
	key := "videos/v/source/original.mp4"
	path := t.TempDir() + "/film"
	must(t, os.WriteFile(path, []byte("film"), 0o600))
	f, err := os.Open(path)
	must(t, err)
	_, err = r.store.Put(t.Context(), key, f, storage.PutOptions{})
	must(t, err)
	must(t, f.Close())
	far := &farStore{Store: r.store}
	together := make(chan struct{})
	var here atomic.Int32
	stop := r.start(working(func(ctx context.Context, j job) (pipeline.Result, error) {
		if here.Add(1) == jobs {
			close(together)
		}
		<-together
		p, err := j.Input(ctx)
		if err != nil {
			return pipeline.Result{}, err
		}
		if raw, err := os.ReadFile(p); err != nil || string(raw) != "film" {
			t.Errorf("%q, %v", raw, err)
		}
		return publish(ctx, j)
	}), func(c *workers.Config) { c.Slots, c.Store = map[string]int{"test": jobs}, far })
	for i := range jobs {
		must(t, r.bus.Enqueue(t.Context(), pipeline.Task{
			Project: "p", Video: "v", Job: pipeline.Job{Name: fmt.Sprint("j", i), Step: "s", Worker: "test"},
			Source: pipeline.Object{Key: key, Size: 4},
		}))
	}
	r.until("all are done", acks(jobs))
	if n := far.gets.Load(); n != 1 {
		t.Errorf("read %d times", n)
	}
	stop()
}
