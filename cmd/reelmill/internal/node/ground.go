package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/reelmill/reelmill/cmd/reelmill/internal/broker"
	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/access"
	"github.com/reelmill/reelmill/pipeline/bus"
	"github.com/reelmill/reelmill/pipeline/pause"
	"github.com/reelmill/reelmill/storage"
	"github.com/reelmill/reelmill/storage/guard"
	"github.com/reelmill/reelmill/workers"
	"github.com/reelmill/reelmill/workers/all"
	"github.com/reelmill/reelmill/workers/fetch"
	"github.com/reelmill/reelmill/workers/webhook"
)

// ground is what nodes of both roles share. newGround opens the broker; openStore and openWorkers open the
// rest, in the order that the role needs.
type ground struct {
	config    Config
	faults    faults
	broker    *broker.Broker
	bus       *bus.Bus
	keys      *access.Book // of projects and keys; Run keeps it up to date
	disk      *Disk
	objects   storage.Store
	guard     *guard.Guard // of objects
	registry  *workers.Registry
	cage      *all.Cage  // in which ffmpeg runs
	workers   all.Config // with the programs and the cage
	webhook   webhook.Config
	metrics   *metrics
	recurring *pipeline.Recurring // logs repeated failures once, as while the broker is away

	closers []func() error
}

// newGround makes the data folder and opens the broker. With join, it waits until a server has
// made the streams.
func newGround(ctx context.Context, c Config, join bool) (g *ground, err error) {
	c = c.withDefaults()
	g = &ground{
		config: c, recurring: &pipeline.Recurring{Logger: c.Logger},
		disk: &Disk{Dir: c.Data, MinFree: c.MinFree}, keys: access.NewBook(),
	}
	if err := os.MkdirAll(c.Data, 0o700); err != nil {
		return nil, fmt.Errorf("make data folder: %w", err)
	}
	if err := writable(c.Data, "the data folder"); err != nil {
		return nil, fmt.Errorf("%w, or name another with --data (%s)", err, c.Data)
	}
	if g.faults, err = newFaults(c.Logger); err != nil {
		return nil, err
	}
	if g.broker, err = broker.Open(ctx, c.NATS, c.Data, c.Logger); err != nil {
		return nil, err
	}
	g.closers = append(g.closers, g.broker.Close)
	if g.bus, err = g.openBus(ctx, join); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	g.metrics = newMetrics(g.bus, g.recurring)
	g.metrics.add("process", g.measureProcess)
	g.metrics.addOfBroker("queue", g.measureQueue)
	g.metrics.addOfBroker("log", g.measureLog)
	return g, nil
}

// openBus opens the bus. A process that joins makes no streams, since its defaults may differ from the
// server's settings. It waits for them as long as for the broker: all processes may start at once.
func (g *ground) openBus(ctx context.Context, join bool) (*bus.Bus, error) {
	config := bus.Config{
		Exclusive: g.broker.Exclusive(), Join: join, AckWait: g.config.Lease, Logger: g.config.Logger,
		Replicas: g.config.Replicas, EventsMaxBytes: g.config.EventsMax, Weight: g.weight,
		AtOnce: g.atOnce,
	}
	limit := time.Now().Add(broker.Patience)
	for waiting := false; ; waiting = true {
		b, err := bus.Open(ctx, g.broker.Conn, config)
		if !errors.Is(err, bus.ErrAbsent) || time.Now().After(limit) || ctx.Err() != nil {
			return b, err
		}
		if !waiting {
			g.config.Logger.Warn("wait for the server to make the streams", "for", broker.Patience, "error", err)
		}
		pause.For(ctx, 250*time.Millisecond)
	}
}

// weight returns the weight of a project as far as this process knows, and 1 before it has read the projects.
func (g *ground) weight(project string) int { return max(g.keys.KnownLimits(project).Weight, 1) }

// atOnce returns how many tasks of a worker type may run at once that are of one project. It does not know
// before this process has read the projects.
func (g *ground) atOnce(project, worker string) (tasks int, known bool) {
	if worker != "transcode" {
		return 0, true
	}
	return g.keys.KnownLimits(project).EncodesAtOnce, !g.keys.Heard().IsZero()
}

// openWorkers registers the worker types, and refuses a machine that lacks what they need.
func (g *ground) openWorkers(ctx context.Context, c Jobs) (err error) {
	g.webhook = c.Webhook
	if g.webhook.Breakers, err = webhook.NewBreakers(webhook.BreakerConfig{}); err != nil {
		return err
	}
	c.Fetch.Keep = fetch.NewKeep(filepath.Join(g.config.Data, "fetch"))
	g.disk.evict = append(g.disk.evict, c.Fetch.Keep.Drop)
	config, err := all.Find(all.Config{Webhook: g.webhook, Fetch: c.Fetch, Threads: c.Threads})
	if err != nil {
		return err
	}
	if err := g.openCage(ctx, c.Sandbox, &config); err != nil {
		return err
	}
	g.workers = config
	if g.registry, err = all.New(config); err != nil {
		return err
	}
	g.faults.workers(g.registry)
	for worker, missing := range g.registry.CheckMachine(ctx) {
		err = errors.Join(err, fmt.Errorf("worker %s: %w", worker, missing))
	}
	g.judgePrograms(ctx, config)
	return err
}

// judgePrograms warns of programs that are too old, and names those of unknown age and those that are newer
// than any that the tests had.
func (g *ground) judgePrograms(ctx context.Context, c all.Config) {
	for _, p := range all.Programs(ctx, c) {
		switch {
		case p.Old:
			g.config.Logger.Warn(p.Name+" "+p.Version+": "+p.Note, "to_do", p.Remedy)
		case p.Note != "":
			g.config.Logger.Info(p.Name + " " + p.Version + ": " + p.Note)
		}
	}
}

// openCage builds the cage in which ffmpeg runs, and says what it reaches.
func (g *ground) openCage(ctx context.Context, mode string, c *all.Config) (err error) {
	if mode == "" {
		mode = "off"
	}
	if g.cage, err = all.NewCage(ctx, mode, *c); err != nil {
		return err
	}
	g.closers = append(g.closers, g.cage.Close)
	c.Cage = g.cage
	log, tier := g.config.Logger, g.cage.Tier()
	switch tier {
	case all.TierOff:
		log.Warn("ffmpeg runs without a sandbox", "tier", tier, "missing", g.cage.Missing())
	case all.TierPartial:
		log.Warn("ffmpeg runs in a part of the sandbox", "tier", tier, "missing", g.cage.Missing())
	default:
		log.Info("ffmpeg runs in a sandbox", "tier", tier, "missing", g.cage.Missing())
	}
	return nil
}

// Close closes what was opened, in reverse order.
func (g *ground) Close() error {
	var err error
	for i := len(g.closers) - 1; i >= 0; i-- {
		err = errors.Join(err, g.closers[i]())
	}
	g.closers = nil
	return err
}
