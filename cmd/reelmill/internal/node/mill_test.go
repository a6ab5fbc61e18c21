package node

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/reelmill/reelmill/cmd/reelmill/internal/broker"
	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/bus"
	"github.com/reelmill/reelmill/pipeline/bus/bustest"
	"github.com/reelmill/reelmill/storage/storagetest"
	"github.com/reelmill/reelmill/workers"
)

// mill is a pipeline without API, read model and media. Its one heavy worker type is idle, whose jobs only
// take time.
type mill struct {
	tb    testing.TB
	conn  *nats.Conn
	bus   *bus.Bus
	ready atomic.Int64
	bell  chan struct{}
	next  int
	seen  func(pipeline.Event) // gets every event, in order; may be nil
}

func newMill(tb testing.TB, slots int, work time.Duration, seen func(pipeline.Event)) *mill {
	tb.Helper()
	return newMillOf(tb, slots, idle{work: work}, seen)
}

// newMillOf makes a mill whose heavy worker type is w.
func newMillOf(tb testing.TB, slots int, w idle, seen func(pipeline.Event)) *mill {
	tb.Helper()
	dir := tb.TempDir()
	conn := bustest.Connect(tb, broker.Dir(dir))
	m := &mill{tb: tb, conn: conn, bell: make(chan struct{}, 1), seen: seen}
	var err error
	m.bus, err = bus.Open(tb.Context(), conn, bus.Config{Exclusive: true})
	check(tb, err)
	store := storagetest.Disk(tb, filepath.Join(dir, "objects"))
	registry := workers.NewRegistry()
	workers.Add(registry, "inspect", idle{accept: true})
	workers.Add(registry, "idle", w)
	loop, err := workers.NewLoop(workers.Config{
		Log: m.bus, Tasks: loopTasks{m.bus}, Store: store, Registry: registry,
		Scratch: filepath.Join(dir, "scratch"), Slots: map[string]int{"inspect": 8, "idle": slots},
	})
	check(tb, err)
	c := &pipeline.Coordinator{
		Log: m.bus, Archive: m.bus, Tasks: m.bus, Objects: prefixDeleter{store}, Planner: registry,
	}
	ctx, stop := context.WithCancel(tb.Context())
	var running sync.WaitGroup
	for _, run := range []func() error{
		func() error { return loop.Run(ctx) },
		func() error { return m.bus.Coordinate(ctx, c.Handle) },
		func() error { return m.bus.Follow(ctx, 0, m.count) },
	} {
		running.Go(func() {
			if err := run(); err != nil && !errors.Is(err, context.Canceled) {
				tb.Error(err)
			}
		})
	}
	tb.Cleanup(func() { stop(); running.Wait() })
	return m
}

func check(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// idle is a worker whose jobs do nothing for a while.
type idle struct {
	accept bool
	work   time.Duration
	jobs   []pipeline.Job // of its plan; a, b, c, and last after c when nil
	// wait takes the place of work; it may be nil.
	wait func(ctx context.Context, t pipeline.Task) error
}

type idleParams struct{}

func (w idle) Plan(idleParams, pipeline.Media) ([]pipeline.Job, error) {
	if w.jobs != nil {
		return w.jobs, nil
	}
	return []pipeline.Job{{Name: "a"}, {Name: "b"}, {Name: "c"}, {Name: "last", After: []string{"c"}}}, nil
}

func (w idle) Work(ctx context.Context, j workers.Job[idleParams]) (pipeline.Result, error) {
	if w.wait != nil {
		return pipeline.Result{}, w.wait(ctx, j.Task)
	}
	select {
	case <-time.After(w.work):
	case <-ctx.Done():
		return pipeline.Result{}, ctx.Err()
	}
	if !w.accept {
		return pipeline.Result{}, nil
	}
	return pipeline.Result{Inspection: &pipeline.Inspection{
		Verdict: pipeline.VerdictAccept, Media: &pipeline.Media{Container: "mov", Duration: 1},
	}}, nil
}

// count returns how many videos are ready.
func (m *mill) count(_ context.Context, events []pipeline.Event) error {
	for _, e := range events {
		if e.Type == pipeline.VideoReady {
			m.ready.Add(1)
		}
		if m.seen != nil {
			m.seen(e)
		}
	}
	select {
	case m.bell <- struct{}{}:
	default:
	}
	return nil
}

// written returns how many messages the broker has stored.
func (m *mill) written() (total uint64) {
	m.tb.Helper()
	js, err := jetstream.New(m.conn)
	check(m.tb, err)
	for _, name := range []string{"EVENTS", "TASKS", "DEAD"} {
		s, err := js.Stream(m.tb.Context(), name)
		check(m.tb, err)
		total += s.CachedInfo().State.LastSeq
	}
	return total
}

// upload accepts a video.
func (m *mill) upload(project, video string) {
	m.tb.Helper()
	up := pipeline.Upload{
		Source: pipeline.Object{Key: "videos/" + video + "/source/x.mp4", Size: 1},
		Pipeline: pipeline.Pipeline{
			Name: "idle", Version: 1, Steps: []pipeline.Step{{Name: "idle", Worker: "idle"}},
		},
	}
	_, _, err := pipeline.Accept(m.tb.Context(), m.bus, project, video, up, "")
	check(m.tb, err)
}
