package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/reelmill/reelmill/pipeline"
)

// Config says how the bus uses its broker. The zero value is that of a single server.
type Config struct {
	// Replicas is how many servers of a cluster keep each message: 1, 3 or 5. 0 keeps the number that a live
	// stream has, and means 1 for a new one. A number that differs from a live stream's is ErrDiffers.
	Replicas int
	// EventsMaxBytes is how large the event log may become. When it is full, appends fail with ErrFull and
	// nothing is lost. 0 keeps the limit of a live log, and means 8 GiB for a new one, or half of what the
	// account may store if that is less. A size that differs from a live log's is ErrDiffers.
	EventsMaxBytes int64
	// Join leaves it to another process to create the log and the queue. Open fails with ErrAbsent when they are
	// missing.
	Join bool
	// AckWait is the lease of a task or event: how long it stays with the process that took it, unless that
	// renews the lease; 60 s when 0.
	AckWait time.Duration
	// Exclusive says that no other process uses the broker, as with the embedded server. Open then ends the
	// leases that an earlier process left behind, so their tasks are delivered at once instead of after AckWait.
	Exclusive bool
	// Coordinators is how many events Coordinate handles at once; 4 when 0.
	Coordinators int
	// PublishTimeout bounds one try to store or read a message; 5 s when 0. There are a few tries.
	PublishTimeout time.Duration
	// DrainTimeout is how long Coordinate lets running handlers finish after its context has ended; 10 s when 0.
	DrainTimeout time.Duration
	// Weight returns how many turns a project has in the queue for one of a project of weight 1. It is called at
	// each take and must not block. nil, and a result below 1, mean 1.
	Weight func(project string) int
	// AtOnce returns how many tasks of a worker type may be with all processes at once that are of one project;
	// 0: as many as there are. It is called at each take and must not block. known is false as long as it cannot
	// tell. nil means no limits.
	AtOnce func(project, worker string) (tasks int, known bool)
	// Logger logs what the bus retries or drops; nil logs nothing.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.AckWait == 0 {
		c.AckWait = 60 * time.Second
	}
	if c.Coordinators == 0 {
		c.Coordinators = 4
	}
	if c.PublishTimeout == 0 {
		c.PublishTimeout = 5 * time.Second
	}
	if c.DrainTimeout == 0 {
		c.DrainTimeout = 10 * time.Second
	}
	if c.Weight == nil {
		c.Weight = func(string) int { return 1 }
	}
	if c.AtOnce == nil {
		c.AtOnce = func(string, string) (int, bool) { return 0, true }
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func (c Config) validate() error {
	switch {
	case c.Replicas != 0 && c.Replicas != 1 && c.Replicas != 3 && c.Replicas != 5:
		return fmt.Errorf("Replicas is %d, want 1, 3 or 5", c.Replicas)
	case c.EventsMaxBytes < 0:
		return errors.New("EventsMaxBytes is negative")
	case c.AckWait < 100*time.Millisecond:
		return fmt.Errorf("AckWait is %s, want at least 100ms", c.AckWait)
	case c.Coordinators < 1:
		return errors.New("Coordinators is negative")
	case c.PublishTimeout < 0, c.DrainTimeout < 0:
		return errors.New("a timeout is negative")
	case c.Exclusive && c.Replicas > 1:
		return errors.New("Exclusive makes no sense with replicas: a cluster has many processes")
	}
	return nil
}

// ErrFull says that there is no room for a message: the log is too full for its type (Room), or the disk is
// full. The broker drops nothing that is stored to make room. An error that is ErrFull also wraps a
// *pipeline.Error with pipeline.CodeLogFull or pipeline.CodeDiskFull.
var ErrFull = errors.New("the broker has no room")

// Bus is the messaging of one process. It is a pipeline.Log and a pipeline.Tasks, and safe for concurrent
// use.
type Bus struct {
	cfg Config
	nc  *nats.Conn
	js  jetstream.JetStream
	log *slog.Logger
	// recurring logs failures that repeat while the broker is away.
	recurring *pipeline.Recurring
	// direct says to read the log by direct get. With replicas it is false: one that lags could answer.
	direct   atomic.Bool
	replicas int           // of the log, when it was opened
	fill     fullness      // of the log
	poll     time.Duration // of NextAtLeast, when no bell rings
	idle     time.Duration // how long the server keeps the consumer of a project that nobody pulls

	mu     sync.Mutex
	queues map[string]*queue // by worker type
	bulk   bulkRuns
}

// Open creates the streams that are missing on nc's server and returns a Bus that uses nc. It never changes a
// stream or consumer that exists. It returns ErrDiffers when one would drop our messages, let in somebody
// else's, or is not what cfg asks for; Change changes it.
//
// The Bus starts nothing in the background but subscriptions, which end with nc. The caller closes nc.
func Open(ctx context.Context, nc *nats.Conn, cfg Config) (*Bus, error) {
	b, err := prepare(nc, cfg)
	if err != nil {
		return nil, fmt.Errorf("open bus: %w", err)
	}
	for _, want := range b.streams() {
		live, err := b.ensureStream(ctx, want)
		if err != nil {
			return nil, err
		}
		if want.Name == streamEvents {
			b.adopt(live)
		}
	}
	if b.cfg.Exclusive {
		err = b.voidLeases(ctx)
	}
	if err == nil {
		err = b.checkConsumers(ctx)
	}
	if err != nil {
		return nil, err
	}
	return b, nil
}

// Attach returns a Bus for reading the log. It makes no request to the server and creates no stream.
func Attach(nc *nats.Conn, cfg Config) (*Bus, error) {
	b, err := prepare(nc, cfg)
	if err != nil {
		return nil, fmt.Errorf("attach to the bus: %w", err)
	}
	return b, nil
}

// prepare returns a Bus without a request to the server.
func prepare(nc *nats.Conn, cfg Config) (*Bus, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	return &Bus{
		cfg: cfg, nc: nc, js: js, log: cfg.Logger, recurring: &pipeline.Recurring{Logger: cfg.Logger},
		poll: pollInterval, idle: consumerIdle, queues: map[string]*queue{},
	}, nil
}

// adopt notes how the live log is set. A log with replicas is read from its leader, even if it allows direct
// gets.
func (b *Bus) adopt(log jetstream.StreamConfig) {
	b.replicas = log.Replicas
	b.direct.Store(log.AllowDirect && log.Replicas == 1)
}

// voidLeases ends the leases of an earlier process. A work queue keeps a message until it is acknowledged, so
// voidLeases can delete its consumers; they are created again when needed. The places in the log of the
// coordinator and the dispatcher must not be lost, so their consumers are reset to the first event that is
// not acknowledged.
func (b *Bus) voidLeases(ctx context.Context) error {
	for _, name := range []string{streamTasks, streamHookTasks} {
		if err := b.deleteConsumers(ctx, name); err != nil {
			return err
		}
	}
	return errors.Join(b.resetConsumer(ctx, coordinator), b.resetConsumer(ctx, dispatcher))
}

// deleteConsumers deletes all consumers of a work queue.
func (b *Bus) deleteConsumers(ctx context.Context, queue string) error {
	stream, err := b.js.Stream(ctx, queue)
	if err != nil {
		return fmt.Errorf("open bus: read stream %s: %w", queue, err)
	}
	names := stream.ConsumerNames(ctx)
	var old []string
	for name := range names.Name() {
		old = append(old, name)
	}
	if err := names.Err(); err != nil {
		return fmt.Errorf("open bus: list consumers of %s: %w", queue, err)
	}
	g, limited := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for _, name := range old {
		g.Go(func() error {
			err := stream.DeleteConsumer(limited, name)
			if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
				return fmt.Errorf("open bus: delete consumer %s: %w", name, err)
			}
			return nil
		})
	}
	return g.Wait()
}

// resetConsumer sets a consumer of the log back to its first event that is not acknowledged. It checks first
// that the consumer exists: the server would not answer a request to reset one that does not.
func (b *Bus) resetConsumer(ctx context.Context, name string) error {
	_, err := b.js.Consumer(ctx, streamEvents, name)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return nil
	}
	if err == nil {
		_, err = b.js.ResetConsumer(ctx, streamEvents, name)
	}
	if err != nil {
		return fmt.Errorf("open bus: reset consumer %s: %w", name, err)
	}
	return nil
}

// connected waits for the connection and returns a context that ends when the connection is lost, or with
// ctx: a request over a lost connection gets no answer.
func (b *Bus) connected(ctx context.Context) (context.Context, context.CancelFunc, error) {
	changes := b.nc.StatusChanged(nats.CONNECTED, nats.RECONNECTING, nats.CLOSED)
	for !b.nc.IsConnected() {
		err := ctx.Err()
		if b.nc.IsClosed() {
			err = nats.ErrConnectionClosed
		}
		if err != nil {
			b.nc.RemoveStatusListener(changes)
			return nil, nil, err
		}
		select {
		case <-changes:
		case <-ctx.Done():
		}
	}
	linked, cancel := context.WithCancel(ctx)
	go func() {
		defer b.nc.RemoveStatusListener(changes)
		defer cancel()
		for {
			select {
			case s := <-changes:
				if s != nats.CONNECTED {
					return
				}
			case <-linked.Done():
				return
			}
		}
	}()
	return linked, cancel, nil
}
