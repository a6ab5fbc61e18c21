package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/bus"
	"github.com/reelmill/reelmill/storage"
	"github.com/reelmill/reelmill/storage/guard"
	"github.com/reelmill/reelmill/workers"
	"github.com/reelmill/reelmill/workers/all"
	"github.com/reelmill/reelmill/workers/webhook"
)

func (n *node) openWorkers(ctx context.Context) (err error) {
	if n.webhook.Breakers, err = webhook.NewBreakers(webhook.BreakerConfig{}); err != nil {
		return err
	}
	if n.registry, err = all.New(all.Config{Webhook: n.webhook, Threads: n.threads}); err != nil {
		return err
	}
	n.faults.workers(n.registry)
	for worker, missing := range n.registry.CheckMachine(ctx) {
		err = errors.Join(err, fmt.Errorf("worker %s: %w", worker, missing))
	}
	return err
}

// openLoop makes the loop that runs jobs.
func (n *node) openLoop(context.Context) (err error) {
	if !n.workers {
		return nil
	}
	n.metrics.expect(n.registry)
	n.loop, err = workers.NewLoop(workers.Config{
		Log: n.faults.log(n.bus), Tasks: n.faults.queue(loopTasks{n.bus}), Store: n.objects, Registry: n.registry,
		Scratch: filepath.Join(n.data, "scratch"), CrashOutput: filepath.Join(n.data, "crash.txt"),
		Slots: n.slots, Heartbeat: n.Lease / 3, Admit: n.admit, Logger: n.log,
		Observe:     n.metrics.attemptEnded,
		Interactive: map[string]int{"inspect": 0}, // all its jobs are of high priority
	})
	return err
}

// runLoop has the group run jobs, tell that it does, and answer scrapes.
func (n *node) runLoop(ctx context.Context, g *errgroup.Group) {
	g.Go(func() error { return serveMetrics(ctx, n.metricsListen, n.metrics) })
	if n.loop == nil {
		return
	}
	g.Go(func() error { return n.loop.Run(ctx) })
	g.Go(func() error { n.bus.KeepAnnouncing(ctx, n.presences()); return nil })
}

// minScratch is the free space of the scratch disk below which no job is begun.
const minScratch = 256 << 20

// admit says why no job is to be begun now.
func (n *node) admit(ctx context.Context) error {
	if err := n.bus.Fits(ctx, pipeline.JobStarted); err != nil {
		return fmt.Errorf("no job is begun: %w", err)
	}
	if n.guard.State() == "open" {
		return fmt.Errorf("no job is begun: %w", guard.ErrOpen)
	}
	free, keep, err := n.roomFor(filepath.Join(n.data, "scratch"), func(total int64) int64 {
		return min(minScratch, total/10)
	})
	if err != nil {
		return err
	}
	if free < keep {
		return fmt.Errorf("no job is begun with %d MiB of scratch space: %w", free>>20, storage.ErrFull)
	}
	return nil
}

// loopTasks is the bus as the worker loop sees it.
type loopTasks struct{ *bus.Bus }

// Next implements workers.Tasks.
func (t loopTasks) Next(ctx context.Context, worker string) (workers.Delivery, error) {
	return t.NextAtLeast(ctx, worker, pipeline.Bulk)
}

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
