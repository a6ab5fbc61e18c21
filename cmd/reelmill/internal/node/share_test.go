package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/reelmill/reelmill/cmd/reelmill/internal/broker"
	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/bus"
	"github.com/reelmill/reelmill/pipeline/bus/bustest"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
	"github.com/reelmill/reelmill/storage/storagetest"
	"github.com/reelmill/reelmill/workers"
)

// slicer is a worker with many cheap jobs for each video. A job waits until it receives from the channel, or
// the channel is closed; it does not wait on nil.
type slicer struct{ until <-chan struct{} }

type slicesParams struct {
	N int `json:"n"`
}

func (slicer) Plan(p slicesParams, _ pipeline.Media) ([]pipeline.Job, error) {
	jobs := make([]pipeline.Job, p.N)
	for i := range jobs {
		jobs[i].Name = fmt.Sprintf("%04d", i)
	}
	return jobs, nil
}

func (w slicer) Work(ctx context.Context, _ workers.Job[slicesParams]) (pipeline.Result, error) {
	if w.until != nil {
		select {
		case <-w.until:
		case <-ctx.Done():
		}
	}
	return pipeline.Result{}, ctx.Err()
}

// share is a server without API, read model and media: broker, coordinator and a worker. Its worker type
// slices has two slots.
type share struct {
	*Server
	worker *Worker
}

func newShare(t *testing.T, until <-chan struct{}) share {
	t.Helper()
	return newShareOf(t, slicer{until}, bus.Config{}, slog.New(slog.DiscardHandler))
}

func newShareOf(t *testing.T, slices slicer, c bus.Config, log *slog.Logger) share {
	t.Helper()
	c.Exclusive = true
	dir := t.TempDir()
	g := &ground{config: Config{Data: dir, Version: "test", Logger: log}, registry: workers.NewRegistry()}
	var err error
	g.bus, err = bus.Open(t.Context(), bustest.Connect(t, broker.Dir(dir)), c)
	check(t, err)
	store := storagetest.Disk(t, filepath.Join(dir, "objects"))
	g.objects = store
	workers.Add(g.registry, "inspect", idle{accept: true})
	workers.Add(g.registry, "slices", slices)
	n := share{&Server{ground: g}, &Worker{ground: g}}
	n.worker.loop, err = workers.NewLoop(workers.Config{
		Log: g.bus, Tasks: loopTasks{g.bus}, Store: store, Registry: g.registry,
		Scratch: filepath.Join(dir, "scratch"), Slots: map[string]int{"inspect": 2, "slices": 2},
		Heartbeat: c.AckWait / 3, Logger: log,
		Admit: func(ctx context.Context) error { return g.bus.Fits(ctx, pipeline.JobStarted) },
	})
	check(t, err)
	n.presences = n.worker.presences()
	check(t, n.openFlow(t.Context()))
	return n
}

// start runs the server, and calls seen with every event, in order.
func (n share) start(t *testing.T, seen func(pipeline.Event)) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for _, run := range []func() error{
		func() error { return n.worker.loop.Run(ctx) },
		func() error { n.deployed.Run(ctx, n.bus, n.presences); return nil },
		func() error { return n.bus.Coordinate(ctx, n.sweeper.Coordinator.Handle) },
		func() error {
			return n.bus.Follow(ctx, 0, func(_ context.Context, events []pipeline.Event) error {
				for _, e := range events {
					seen(e)
				}
				return nil
			})
		},
	} {
		running.Go(func() {
			if err := run(); err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() { stop(); running.Wait() })
}

// uploadSlices accepts a video of n slices.
func (n share) uploadSlices(t *testing.T, video string, count int) {
	t.Helper()
	_, _, err := pipeline.Accept(t.Context(), n.bus, "p", video, pipeline.Upload{
		Source: pipeline.Object{Key: "videos/" + video + "/source/x.mp4", Size: 1},
		Pipeline: pipeline.Pipeline{Name: "slices", Version: 1, Steps: []pipeline.Step{
			{Name: "slices", Worker: "slices", With: map[string]any{"n": count}},
		}},
	}, "")
	check(t, err)
}

// TestShare checks that a short video does not wait for a long one that came earlier in the same project.
func TestShare(t *testing.T) {
	const long, short, first, slots = 40, 2, 8, 2
	work := make(chan struct{})
	n := newShare(t, work)
	underway, begun, ended := make(chan struct{}), make(chan int, short), make(chan struct{}, 2)
	var started, done int // slices of the long video
	n.start(t, func(e pipeline.Event) {
		switch {
		case e.Type == pipeline.JobStarted && strings.HasPrefix(e.Subject, "job.p.long.slices"):
			if started++; started == first+slots {
				close(underway)
			}
		case e.Type == pipeline.JobCompleted && strings.HasPrefix(e.Subject, "job.p.long.slices"):
			done++
		case e.Type == pipeline.JobStarted && strings.HasPrefix(e.Subject, "job.p.short.slices"):
			begun <- started
		case e.Type == pipeline.VideoReady:
			ended <- struct{}{}
		}
	})
	n.uploadSlices(t, "long", long)
	for range first {
		work <- struct{}{}
	}
	pipelinetest.Receive(t, "the long video is under way", underway) // its first jobs are in the queue
	n.uploadSlices(t, "short", short)
	pipelinetest.Until(t, "the short video is in the queue", func() bool { return n.queued(t, "short") == short })
	close(work)
	for range short {
		if at := pipelinetest.Receive(t, "a slice of the short video", begun); at > first+slots+long/3 {
			t.Errorf("begun after %d slices of the long video, want at most %d", at, first+slots+long/3)
		}
	}
	for range 2 {
		pipelinetest.Receive(t, "a video that is ready", ended)
	}
	if done != long {
		t.Errorf("%d slices were made", done)
	}
}

// queued returns how many slices of a video are in the queue.
func (n share) queued(t *testing.T, video string) (count int) {
	t.Helper()
	tasks, err := pipeline.TasksOf(t.Context(), n.bus, "p", video)
	check(t, err)
	for _, task := range tasks {
		is, err := n.bus.Queued(t.Context(), task)
		check(t, err)
		if is && task.Job.Worker == "slices" {
			count++
		}
	}
	return count
}

// TestPresences checks that a node announces the worker types that it runs, with their slots.
func TestPresences(t *testing.T) {
	n := newShare(t, nil)
	slots := map[string]int{}
	for _, p := range n.presences {
		slots[p.Type] = *p.Slots
		if p.Process != n.worker.loop.Process || p.Version != "test" || !json.Valid(p.Schema) {
			t.Errorf("announces %+v", p)
		}
	}
	if want := map[string]int{"inspect": 2, "slices": 2}; !maps.Equal(slots, want) {
		t.Errorf("announces the slots %v, want %v", slots, want)
	}
}

// TestFreeSpace checks that uploads leave --min-free on the disk, and that files that can be fetched again
// are evicted first.
func TestFreeSpace(t *testing.T) {
	evicted := 0
	d := Disk{Dir: t.TempDir(), MinFree: 1 << 62, evict: []func(){func() { evicted++ }}}
	if err := d.FreeSpace(); err == nil || evicted != 1 {
		t.Errorf("there is room for anything (%v), after %d evictions", err, evicted)
	}
}
