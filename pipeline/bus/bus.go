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
	// Replicas is how many servers of a cluster keep each message: 1, 3 or 5. 0 takes what is there, and 1 where
	// nothing is. Another number than that of a live stream is ErrDiffers.
	Replicas int
	// EventsMaxBytes is how large the event log may become; when it is full, appends fail with ErrFull and
	// nothing is lost. 0 takes whatever an existing log has, and for a new one 8 GiB, or half of what the
	// account may store. Another size than that of a live log is ErrDiffers.
	EventsMaxBytes int64
	// Join says that the log and the queue are another process's to create: without them Open fails with
	// ErrAbsent.
	Join bool
	// AckWait is how long a task or event stays with who took it, without a sign of life; 60 s when 0.
	AckWait time.Duration
	// Exclusive says that no other process uses the broker, as with the embedded server. Leases that an earlier
	// process left behind are then void: what they held is delivered at once instead of after AckWait.
	Exclusive bool
	// Coordinators is how many events Coordinate handles at once; 4 when 0.
	Coordinators int
	// PublishTimeout bounds one try to store or read a message; 5 s when 0. Tries are repeated a few times.
	PublishTimeout time.Duration
	// DrainTimeout bounds how long Coordinate lets running handlers finish after its context has ended; 10 s
	// when 0.
	DrainTimeout time.Duration
	// Logger gets what is retried or dropped; nothing is logged when nil.
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

// ErrFull says that there is no room for a message: the log has reached EventsMaxBytes, but for what is kept
// free for others (Room), or the disk is full. Nothing that is stored is dropped to make room. An error that
// is ErrFull also holds a *pipeline.Error with pipeline.CodeLogFull or pipeline.CodeDiskFull.
var ErrFull = errors.New("the broker has no room")

// Bus is the messaging of one process. It is a pipeline.Log and a pipeline.Tasks, and safe for concurrent
// use.
type Bus struct {
	cfg Config
	nc  *nats.Conn
	js  jetstream.JetStream
	log *slog.Logger
	// recurring logs what fails again and again while the broker is away.
	recurring *pipeline.Recurring
	// direct says that the log is read by direct get: with replicas, one that lags could answer.
	direct   atomic.Bool
	replicas int           // of the log, when it was opened
	fill     fullness      // of the log
	poll     time.Duration // of Next, when no bell rings

	mu     sync.Mutex
	queues map[string]*queue // by worker type
}

// Open creates the streams that are missing on nc's server and returns a Bus that uses nc. It changes none
// that exists, nor a consumer. What it can work with it takes as it is; what would drop our messages, let in
// somebody else's, or is not what cfg asks for, is ErrDiffers, and Change does it.
//
// The Bus starts nothing in the background but subscriptions, which end with nc; the caller closes nc.
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

// Attach returns a Bus to read the log with. It asks the server nothing yet, and makes no stream.
func Attach(nc *nats.Conn, cfg Config) (*Bus, error) {
	b, err := prepare(nc, cfg)
	if err != nil {
		return nil, fmt.Errorf("attach to the bus: %w", err)
	}
	return b, nil
}

// prepare returns a Bus that has asked the server nothing yet.
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
		poll: pollInterval, queues: map[string]*queue{},
	}, nil
}

// adopt takes the log as it is. With replicas it is read from its leader, whatever else it allows.
func (b *Bus) adopt(log jetstream.StreamConfig) {
	b.replicas = log.Replicas
	b.direct.Store(log.AllowDirect && log.Replicas == 1)
}

// voidLeases takes back what an earlier process holds. A work queue keeps a message until it is acknowledged,
// so its consumers can be deleted, and are created again when asked for. The coordinator's place in the log
// must not be lost: it is reset to its first event that is not acknowledged.
func (b *Bus) voidLeases(ctx context.Context) error {
	stream, err := b.js.Stream(ctx, streamTasks)
	if err != nil {
		return fmt.Errorf("open bus: read stream %s: %w", streamTasks, err)
	}
	names := stream.ConsumerNames(ctx)
	var old []string
	for name := range names.Name() {
		old = append(old, name)
	}
	if err := names.Err(); err != nil {
		return fmt.Errorf("open bus: list consumers of %s: %w", streamTasks, err)
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
	if err := g.Wait(); err != nil {
		return err
	}
	return b.resetCoordinator(ctx)
}

// resetCoordinator sets the coordinator back to its first event that is not acknowledged, if it exists: of a
// consumer that does not, the server would leave the request to reset it without an answer.
func (b *Bus) resetCoordinator(ctx context.Context) error {
	_, err := b.js.Consumer(ctx, streamEvents, coordinator)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return nil
	}
	if err == nil {
		_, err = b.js.ResetConsumer(ctx, streamEvents, coordinator)
	}
	if err != nil {
		return fmt.Errorf("open bus: reset consumer %s: %w", coordinator, err)
	}
	return nil
}

// connected waits for the connection and returns a context that ends with ctx, and earlier when the
// connection is lost: what was asked over a lost connection gets no answer.
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
