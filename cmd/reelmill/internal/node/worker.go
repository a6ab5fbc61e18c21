package node

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/bus"
	"github.com/reelmill/reelmill/storage"
	"github.com/reelmill/reelmill/storage/claim"
	"github.com/reelmill/reelmill/storage/guard"
	"github.com/reelmill/reelmill/workers"
)

// Worker is a node that runs jobs for a server elsewhere. OpenWorker makes one.
type Worker struct {
	*ground
	loop *workers.Loop
}

// OpenWorker opens all parts; none acts before Run. It waits until the server has made the streams. The
// caller closes the worker.
func OpenWorker(ctx context.Context, c WorkerConfig) (*Worker, error) {
	g, err := newGround(ctx, c.Config, true)
	if err != nil {
		return nil, err
	}
	if err := g.openStore(ctx); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	if err := g.openWorkers(ctx, c.Jobs); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	w, err := newWorker(g, c.Slots)
	if err == nil {
		_, err = enoughDescriptors(g.registry, c.Slots)
	}
	if err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return w, nil
}

// newWorker makes the loop that runs jobs.
func newWorker(g *ground, slots map[string]int) (w *Worker, err error) {
	if err := g.claimScratch(); err != nil {
		return nil, err
	}
	g.metrics.expect(g.registry)
	w = &Worker{ground: g}
	w.loop, err = workers.NewLoop(workers.Config{
		Log: g.faults.log(g.bus), Tasks: g.faults.queue(loopTasks{g.bus}), Store: g.objects, Registry: g.registry,
		Scratch: filepath.Join(g.config.Data, "scratch"), CrashOutput: filepath.Join(g.config.Data, "crash.txt"),
		Slots: slots, Heartbeat: g.config.Lease / 3, Admit: w.admit, Logger: g.config.Logger,
		Observe: g.metrics.attemptEnded, Interactive: interactive(),
	})
	if err != nil {
		return nil, err
	}
	g.disk.evict = append(g.disk.evict, w.loop.DropSources)
	g.metrics.add("attempts", w.measureAttempts)
	return w, nil
}

// claimScratch keeps other processes from running jobs in the data folder: each begins by emptying its
// scratch.
func (g *ground) claimScratch() error {
	lock, err := claim.Take(filepath.Join(g.config.Data, "scratch.lock"))
	if errors.Is(err, claim.ErrTaken) {
		err = fmt.Errorf("%w; processes that run jobs cannot share a data folder: give this one its own with "+
			"--data, or start the server with --no-workers", err)
	}
	if err != nil {
		return fmt.Errorf("run jobs: %w", err)
	}
	g.closers = append(g.closers, lock.Release)
	return nil
}

// Run runs jobs and answers scrapes until ctx ends.
func (w *Worker) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, run := range append(w.jobs(), w.readProjects, w.serveMetrics) {
		g.Go(func() error { return run(ctx) })
	}
	return g.Wait()
}

// readProjects keeps the book of projects, which has their weights, up to date until ctx ends.
func (w *Worker) readProjects(ctx context.Context) error { return w.keys.Run(ctx, w.bus) }

// jobs returns the functions that run jobs and announce this process.
func (w *Worker) jobs() []func(context.Context) error {
	return []func(context.Context) error{
		w.loop.Run,
		func(ctx context.Context) error { w.bus.KeepAnnouncing(ctx, w.presences()); return nil },
	}
}

// presences returns what this process announces: the worker types that it runs.
func (w *Worker) presences() []bus.Presence {
	var own []bus.Presence
	for _, t := range w.registry.Types() {
		slots := w.loop.SlotsOf(t.Name)
		own = append(own, bus.Presence{
			Type: t.Name, Version: w.config.Version, Process: w.loop.Process, Slots: &slots, Schema: t.Schema,
		})
	}
	return own
}

// minScratch is how many bytes must be free on the scratch disk before a job begins, but at most a tenth of
// it.
const minScratch = 256 << 20

// admit returns why no job may begin now, or nil.
func (w *Worker) admit(ctx context.Context) error {
	if err := w.bus.Fits(ctx, pipeline.JobStarted); err != nil {
		return fmt.Errorf("begin no job: %w", err)
	}
	if w.guard.State() == "open" {
		return fmt.Errorf("begin no job: %w", guard.ErrOpen)
	}
	scratch := filepath.Join(w.config.Data, "scratch")
	if err := writable(scratch, "scratch"); err != nil {
		return fmt.Errorf("begin no job: %w", err)
	}
	free, keep, err := w.disk.room(scratch, func(total int64) int64 {
		return min(minScratch, total/10)
	})
	if err != nil {
		return err
	}
	if free < keep {
		return fmt.Errorf("begin no job with %d MiB of scratch space: %w", free>>20, storage.ErrFull)
	}
	return nil
}

// loopTasks adapts the bus to workers.Tasks.
type loopTasks struct{ *bus.Bus }

// NextAtLeast implements workers.Tasks.
func (t loopTasks) NextAtLeast(ctx context.Context, worker string, least pipeline.Priority) (workers.Delivery,
	error,
) {
	d, err := t.Bus.NextAtLeast(ctx, worker, least)
	if err != nil {
		return nil, err
	}
	return d, nil
}
