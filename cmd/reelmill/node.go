package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/reelmill/reelmill/cmd/reelmill/internal/broker"
	"github.com/reelmill/reelmill/cmd/reelmill/internal/loss"
	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/api"
	"github.com/reelmill/reelmill/pipeline/bus"
	"github.com/reelmill/reelmill/pipeline/pause"
	"github.com/reelmill/reelmill/storage"
	"github.com/reelmill/reelmill/storage/catalog"
	"github.com/reelmill/reelmill/storage/guard"
	"github.com/reelmill/reelmill/workers"
	"github.com/reelmill/reelmill/workers/webhook"
)

// nodeConfig says what a node runs on.
type nodeConfig struct {
	data         string
	nats         string // empty: embedded, in a folder below data; else the address of a server
	replicas     int    // of each message, in a cluster; 0: as it is
	eventsMax    int64  // bytes of the event log; 0: as it is
	join         bool   // wait for another process to make the streams
	store        string // empty: a folder below data; else s3://... or a folder
	slots        map[string]int
	threads      int  // of each encoder; 0 for the default
	workers      bool // whether this node runs jobs
	limits       api.Limits
	webhook      webhook.Config
	s3AccessKey  string
	s3SecretKey  string
	pipelines    func(pipeline.Planner) (map[string]pipeline.Pipeline, error)
	publicURL    string // where people reach the server, for the URLs that are told; empty: paths
	minFreeSpace int64  // bytes of the data disk below which uploads are refused
	// metricsListen is an address for metrics alone; empty for none.
	metricsListen string
	tuning
	log *slog.Logger
}

// tuning are times that tests and harnesses shorten; zero means the default of whoever has it.
type tuning struct {
	Lease      time.Duration `help:"Lease of a task." hidden:"" env:"REELMILL_LEASE"`
	SweepEvery time.Duration `help:"Between rounds of the sweeper." hidden:"" env:"REELMILL_SWEEP_EVERY"`
	SweepAge   time.Duration `help:"Age of videos that it looks at." hidden:"" env:"REELMILL_SWEEP_AGE"`
}

// node is a process of ReelMill: broker connection, store, and, as far as it has these parts, read model,
// coordinator, workers and the API's handler.
type node struct {
	nodeConfig
	faults   faults
	broker   *broker.Broker
	bus      *bus.Bus
	objects  storage.Store
	guard    *guard.Guard
	catalog  *catalog.Catalog
	watch    *loss.Watch // whether the log is whole
	registry *workers.Registry
	loop     *workers.Loop
	sweeper  *pipeline.Sweeper
	metrics  *metrics
	handler  http.Handler // of the API
	stopping atomic.Bool
	deployed bus.Slots // of all processes
	pace     pace
	// recurring logs what fails again and again while the broker is away.
	recurring pipeline.Recurring

	closers []func() error
}

// newNode opens everything and starts nothing that acts by itself. The caller closes it.
func newNode(ctx context.Context, c nodeConfig) (*node, error) {
	return open(ctx, c, (*node).openCatalog, (*node).openWatch, (*node).openStore, (*node).openWorkers,
		(*node).openFlow, (*node).openLoop, (*node).openAPI)
}

// newWorkerNode opens what a process needs that does nothing but run jobs.
func newWorkerNode(ctx context.Context, c nodeConfig) (*node, error) {
	return open(ctx, c, (*node).openStore, (*node).openWorkers, (*node).openLoop)
}

// open opens a node's parts, in order, after the broker.
func open(ctx context.Context, c nodeConfig, parts ...func(*node, context.Context) error) (
	n *node, err error,
) {
	n = &node{nodeConfig: c, recurring: pipeline.Recurring{Logger: c.log}}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.close())
		}
	}()
	if err := os.MkdirAll(c.data, 0o700); err != nil {
		return n, fmt.Errorf("make data folder: %w", err)
	}
	if n.faults, err = newFaults(c.log); err != nil {
		return n, err
	}
	n.metrics = newMetrics(n)
	for _, part := range append([]func(*node, context.Context) error{(*node).openBroker}, parts...) {
		if err := part(n, ctx); err != nil {
			return n, err
		}
	}
	return n, nil
}

func (n *node) openBroker(ctx context.Context) (err error) {
	if n.broker, err = broker.Open(ctx, n.nats, n.data, n.log); err != nil {
		return err
	}
	n.closers = append(n.closers, n.broker.Close)
	n.bus, err = n.openBus(ctx)
	return err
}

// openBus opens the bus. A process that joins waits for the streams as long as for the broker itself: all may
// be started at once, and what it made by its own defaults would not be what the server wants.
func (n *node) openBus(ctx context.Context) (*bus.Bus, error) {
	limit := time.Now().Add(broker.Patience)
	for waiting := false; ; waiting = true {
		b, err := bus.Open(ctx, n.broker.Conn, n.busConfig())
		if !errors.Is(err, bus.ErrAbsent) || time.Now().After(limit) || ctx.Err() != nil {
			return b, err
		}
		if !waiting {
			n.log.Warn("wait for the server to make the streams", "for", broker.Patience, "error", err)
		}
		pause.For(ctx, 250*time.Millisecond)
	}
}

func (n *node) busConfig() bus.Config {
	return bus.Config{
		Exclusive: n.broker.Exclusive(), Replicas: n.replicas, EventsMaxBytes: n.eventsMax, Join: n.join,
		AckWait: n.Lease, Logger: n.log,
	}
}

func (n *node) openCatalog(ctx context.Context) (err error) {
	if n.catalog, err = catalog.Open(ctx, n.catalogPath()); err != nil {
		return err
	}
	n.closers = append(n.closers, n.catalog.Close)
	return nil
}

func (n *node) catalogPath() string { return filepath.Join(n.data, "catalog.db") }

// openFlow makes what reacts to events.
func (n *node) openFlow(context.Context) error {
	n.sweeper = &pipeline.Sweeper{
		Coordinator: &pipeline.Coordinator{
			Log: n.faults.log(n.bus), Archive: n.bus, Tasks: n.faults.tasks(n.bus),
			Objects: prefixDeleter{n.objects}, Planner: n.registry, Slots: n.deployed.Of,
			PublicURL: n.publicURL,
		},
		Videos: n.catalog, Queue: n.bus, Every: n.SweepEvery, Age: n.SweepAge, Logger: n.log,
	}
	return nil
}

func (n *node) openAPI(context.Context) error {
	pipelines, err := n.pipelines(n.registry)
	if err != nil {
		return err
	}
	n.handler, err = api.New(api.Config{
		Store: n.objects, Log: n.faults.log(n.bus), Catalog: n.catalog, Progress: n.bus,
		Pipelines: pipelines, Planner: n.registry,
		DeadLetters: n.bus, Queue: n.bus, Stats: statistics{n}, Backlog: n.catalog, Workers: n.bus.Workers,
		Limits:          n.limits,
		WebhookDefault:  n.webhook.URL != "",
		CheckWebhookURL: webhook.CheckURL,
		Ready:           n.ready, FreeSpace: n.freeSpace, LogRoom: n.logRoom, Stopping: n.stopping.Load,
		Logger: n.log, Version: version, PublicURL: n.publicURL,
	})
	return err
}

// run runs the node until ctx ends, then stops in order: no new requests and tasks, running attempts are
// given back, the last events are acted on and projected, and the broker is shut down by close.
func (n *node) run(ctx context.Context, listener net.Listener) error {
	back, stopBack := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBack()
	reactors, back := errgroup.WithContext(back)
	reactors.Go(func() error { return n.broker.Watch(back, n.freeSpace) })
	reactors.Go(func() error { return n.project(back) })
	reactors.Go(func() error { n.deployed.Run(back, n.bus, n.presences()); return nil })
	reactors.Go(func() error { return n.coordinate(back) })

	front, frontCtx := errgroup.WithContext(ctx)
	front.Go(func() error { return n.serve(frontCtx, listener) })
	front.Go(func() error { return n.sweeper.Run(frontCtx) })
	front.Go(func() error { return n.clean(frontCtx) })
	front.Go(func() error { return n.watchLog(frontCtx) })
	n.runLoop(frontCtx, front)
	front.Go(func() error { // a reactor that dies takes the front down with it
		select {
		case <-back.Done():
			return context.Cause(back)
		case <-frontCtx.Done():
			return nil
		}
	})
	err := front.Wait()
	stopBack()
	return errors.Join(err, ignoreCanceled(reactors.Wait()))
}

func (n *node) coordinate(ctx context.Context) error {
	return ignoreCanceled(n.bus.Coordinate(ctx, n.faults.handle(n.sweeper.Coordinator.Handle)))
}

// close closes what was opened, in reverse order.
func (n *node) close() error {
	var err error
	for i := len(n.closers) - 1; i >= 0; i-- {
		err = errors.Join(err, n.closers[i]())
	}
	n.closers = nil
	return err
}

func ignoreCanceled(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
