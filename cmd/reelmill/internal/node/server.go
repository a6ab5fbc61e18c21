package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/reelmill/reelmill/cmd/reelmill/internal/broker"
	"github.com/reelmill/reelmill/cmd/reelmill/internal/loss"
	"github.com/reelmill/reelmill/cmd/reelmill/internal/rebuild"
	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/access"
	"github.com/reelmill/reelmill/pipeline/access/oidc"
	"github.com/reelmill/reelmill/pipeline/api"
	"github.com/reelmill/reelmill/pipeline/bulk"
	"github.com/reelmill/reelmill/pipeline/bus"
	"github.com/reelmill/reelmill/pipeline/playback"
	"github.com/reelmill/reelmill/pipeline/quota"
	"github.com/reelmill/reelmill/storage"
	"github.com/reelmill/reelmill/storage/catalog"
	"github.com/reelmill/reelmill/workers/all"
	"github.com/reelmill/reelmill/workers/webhook"
)

// Server is a node that has the API, the coordinator and the read model, and may run jobs too. OpenServer
// makes one.
type Server struct {
	*ground
	server   ServerConfig
	catalog  *catalog.Catalog
	watch    *loss.Watch // for losses of the event log
	sweeper  *pipeline.Sweeper
	handler  *api.Handler
	opened   time.Time
	stopping atomic.Bool
	deployed bus.Slots // of all processes
	pace     pace
	hooks    hooks
	bulk     *bulk.Runner // of dead letters
	tokens   *access.Tokens
	issuer   *oidc.Issuer // nil: there is none
	quotas   *quota.Keeper
	judge    *playback.Judge // of viewers
	uses     *access.Uses    // when keys were last used

	connections int // that it may have at once; see Descriptors

	jobs      []func(context.Context) error // run the jobs of this process; none without RunJobs
	presences []bus.Presence                // what this process announces
}

// OpenServer opens all parts; none acts before Run. It refuses an event log that has lost events. The caller
// closes the server.
func OpenServer(ctx context.Context, c ServerConfig) (*Server, error) {
	descriptors, err := enoughDescriptors(nil, nil)
	if err != nil {
		return nil, err
	}
	g, err := newGround(ctx, c.Config, false)
	if err != nil {
		return nil, err
	}
	s := &Server{ground: g, server: c, opened: time.Now(), connections: descriptors.Connections}
	for _, open := range []func(context.Context) error{
		s.openCatalog, s.openWatch, s.openKeys, s.openStore, s.openRegistry, s.openFlow, s.openQuotas,
		s.openHooks, s.openBulk, s.openJobs, s.openAPI,
	} {
		if err := open(ctx); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	g.metrics.add("sweeper", s.measureSweeper)
	g.metrics.add("subscribers", s.measureSubscribers)
	if c.PlayableObjective > 0 {
		g.metrics.add("objective", s.measureObjective)
	}
	if c.Certificate != nil {
		g.metrics.add("certificate", c.Certificate.measure)
	}
	g.metrics.addOfBroker("flow", s.measureFlow)
	return s, nil
}

func (s *Server) openCatalog(ctx context.Context) (err error) {
	s.catalog, err = catalog.Open(ctx, s.config.CatalogPath())
	if errors.Is(err, catalog.ErrDamaged) {
		s.catalog, err = s.remakeCatalog(ctx, err)
	}
	if err != nil {
		return err
	}
	s.catalog.Logger = s.config.Logger
	s.closers = append(s.closers, s.catalog.Close)
	return nil
}

// remakeCatalog makes a damaged read model anew, since the log has everything. It refuses a log that has lost
// events.
func (s *Server) remakeCatalog(ctx context.Context, damage error) (*catalog.Catalog, error) {
	if last, err := s.bus.LastSequence(ctx); err != nil || last == 0 {
		return nil, errors.Join(fmt.Errorf("%w; the event log is empty, so it was not made anew", damage), err)
	}
	log, path := s.config.Logger, s.config.CatalogPath()
	log.Warn("the read model is damaged, so it is made anew from the event log; wait",
		"file", path, "error", damage)
	release, err := catalog.Claim(path)
	if err != nil {
		return nil, errors.Join(damage, err)
	}
	err = rebuild.Run(ctx, rebuild.Config{
		Catalog: path, Bus: s.bus, Place: broker.LogPlace(s.config.NATS, s.config.Data), Logger: log,
		Tell: func(text string) error { log.Warn(text, "file", path); return nil },
	})
	if err = errors.Join(err, release()); err != nil {
		return nil, fmt.Errorf("%w; and it cannot be made anew: %w", damage, err)
	}
	return catalog.Open(ctx, path)
}

func (s *Server) openRegistry(ctx context.Context) error { return s.openWorkers(ctx, s.server.Jobs) }

// openFlow makes the coordinator and the sweeper.
func (s *Server) openFlow(context.Context) error {
	s.sweeper = &pipeline.Sweeper{
		Coordinator: &pipeline.Coordinator{
			Log: s.faults.log(s.bus), Archive: s.bus, Tasks: s.faults.tasks(s.bus),
			Objects: prefixDeleter{s.objects}, Planner: s.registry, Slots: s.deployed.Of,
			PublicURL: s.server.PublicURL,
		},
		Videos: s.catalog, Queue: s.bus, Every: s.config.SweepEvery, Age: s.config.SweepAge,
		Settled: s.bus.CoordinatorSettled, Logger: s.config.Logger,
	}
	return nil
}

// openBulk makes the part that redrives and discards many dead letters.
func (s *Server) openBulk(context.Context) error {
	s.bulk = bulk.New(bulk.Config{
		Bucket: s.bus, Letters: s.bus, Log: s.faults.log(s.bus), Load: s.bus.Load,
		Process: pipeline.NewID("proc"), Alone: s.broker.Exclusive(), Logger: s.config.Logger,
	})
	return nil
}

// openJobs makes the server's own worker, if the server runs jobs.
func (s *Server) openJobs(context.Context) error {
	if !s.server.RunJobs {
		return nil
	}
	w, err := newWorker(s.ground, s.server.Slots)
	if err != nil {
		return err
	}
	s.jobs, s.presences = w.jobs(), w.presences()
	descriptors, err := enoughDescriptors(s.registry, s.server.Slots)
	s.connections = descriptors.Connections
	return err
}

func (s *Server) openAPI(context.Context) error {
	pipelines, err := s.server.Pipelines(s.registry)
	if err != nil {
		return err
	}
	stills, err := s.openStills()
	if err != nil {
		return err
	}
	s.handler, err = api.New(api.Config{
		Stills: stills,
		Store:  s.objects, Log: s.faults.log(s.bus), Catalog: s.catalog, Progress: s.bus,
		Pipelines: pipelines, Planner: s.registry,
		DeadLetters: s.bus, Queue: s.bus, Queues: s.bus, Paces: s.catalog, Stats: statistics{s},
		Backlog: s.catalog, Workers: s.bus.Workers, LogEnd: s.bus.LastSequence,
		Webhooks: s.hooks.desk,
		Bulk:     &bulk.Desk{Bucket: s.bus, Letters: s.bus, Wake: s.bulk.Wake},
		Keys:     credentials{s.keys, s.issuer}, Tokens: s.tokens, Uses: s.uses, CredentialsRequired: s.asksForKeys,
		Quotas: s.quotas, Playback: s.judge,
		Limits: s.server.Limits, Access: s.config.Access,
		WebhookDefault:  !s.webhook.URL.Empty(),
		CheckWebhookURL: webhook.CheckURL,
		CheckFetchURL:   s.server.Fetch.CheckURL,
		Sandbox:         string(s.cage.Tier()),
		Ready:           s.ready, FreeSpace: s.disk.FreeSpace, LogRoom: s.logRoom, Stopping: s.stopping.Load,
		Jumped: s.jumped, Retention: s.keys.KnownRetention, RetentionDay: s.config.RetentionDay,
		Logger: s.config.Logger, Version: s.config.Version, PublicURL: s.server.PublicURL,
	})
	return err
}

// openStills makes what makes thumbnails that are asked for. It removes what a killed process left of them.
func (s *Server) openStills() (api.Stills, error) {
	dir := filepath.Join(s.config.Data, "stills")
	if err := os.RemoveAll(dir); err != nil {
		return nil, fmt.Errorf("empty the scratch folder of thumbnails: %w", err)
	}
	return all.NewStills(s.workers, s.objects, dir)
}

// Run serves on the listener until ctx ends, then stops in order: it takes no new requests and tasks, gives
// running attempts back, and acts on and projects the last events. Close then shuts the broker down.
func (s *Server) Run(ctx context.Context, listener net.Listener) error {
	back, stopBack := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBack()
	reactors, back := errgroup.WithContext(back)
	reactors.Go(func() error { return s.broker.Watch(back, s.disk.FreeSpace) })
	reactors.Go(func() error { return s.project(back) })
	reactors.Go(func() error { return s.keys.Run(back, s.bus) })
	reactors.Go(func() error { return s.uses.Run(back, s.config.Logger) })
	reactors.Go(func() error { s.deployed.Run(back, s.bus, s.presences); return nil })
	reactors.Go(func() error { return s.coordinate(back) })
	reactors.Go(func() error { return s.bus.Dispatch(back, s.hooks.dispatching()) })

	front, frontCtx := errgroup.WithContext(ctx)
	front.Go(func() error { return s.serve(frontCtx, listener) })
	for _, run := range append([]func(context.Context) error{
		s.sweeper.Run, s.handler.Run, s.clean, s.watchLog, s.serveMetrics, s.hooks.sender.Run,
		s.hooks.sweeper.Run, s.bulk.Run, s.askIssuer,
	}, s.jobs...) {
		front.Go(func() error { return run(frontCtx) })
	}
	front.Go(func() error { // stop the front when a reactor fails
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

func (s *Server) coordinate(ctx context.Context) error {
	return ignoreCanceled(s.bus.Coordinate(ctx, s.faults.handle(s.sweeper.Coordinator.Handle)))
}

// Outputs returns what was made of a video.
func (s *Server) Outputs(ctx context.Context, project, video string) ([]pipeline.OutputView, error) {
	return s.catalog.Outputs(ctx, project, video)
}

// Store returns the store that has the objects.
func (s *Server) Store() storage.Store { return s.objects }

func ignoreCanceled(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
