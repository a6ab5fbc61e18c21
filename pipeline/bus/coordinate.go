package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/reelmill/reelmill/pipeline"
)

// coordinator is the name of the durable consumer of Coordinate.
const coordinator = "coordinator"

const (
	fetchWait      = 10 * time.Second
	fetchHeartbeat = 2 * time.Second // twice this without a sign of the server, and the fetch is made anew
	firstNak       = 250 * time.Millisecond
	maxNak         = 30 * time.Second
	maxBackoff     = 5 * time.Second
)

// Coordinate hands every event of the log to handle, Config.Coordinators at a time, shared with every other
// process that coordinates. An event whose handle returned an error is delivered again, after a delay that
// grows to 30 s, and one whose process died after AckWait. While a handle runs its event stays with it.
//
// Coordinate blocks until ctx ends; then it takes nothing new, lets running handles finish (their context
// ends Config.DrainTimeout later), and returns nil. It returns an error when the connection is closed for
// good.
//
// Not given: order, and delivery once.
func (b *Bus) Coordinate(ctx context.Context, handle func(context.Context, pipeline.Event) error) error {
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer context.AfterFunc(ctx, func() {
		if wait(work, b.cfg.DrainTimeout) == nil {
			stop()
		}
	})()
	var wg sync.WaitGroup
	for range b.cfg.Coordinators {
		wg.Go(func() { b.coordinateOne(ctx, work, handle) })
	}
	wg.Wait()
	if ctx.Err() == nil {
		return fmt.Errorf("coordinate: %w", nats.ErrConnectionClosed)
	}
	return nil
}

// coordinateOne takes events one by one until ctx ends or the connection is closed.
func (b *Bus) coordinateOne(ctx, work context.Context, handle func(context.Context, pipeline.Event) error) {
	var consumer jetstream.Consumer
	pause := firstDelay
	for ctx.Err() == nil && !b.nc.IsClosed() {
		m, err := b.nextEvent(ctx, &consumer)
		switch {
		case m != nil:
			pause = firstDelay
			b.coordinateEvent(work, m, handle)
		case err != nil && ctx.Err() == nil:
			consumer = nil
			b.log.Warn("take an event", "consumer", coordinator, "error", err)
			_ = wait(ctx, pause)
			pause = min(2*pause, maxBackoff)
		}
	}
}

// nextEvent waits for an event for a while; nil when none came.
func (b *Bus) nextEvent(ctx context.Context, consumer *jetstream.Consumer) (jetstream.Msg, error) {
	linked, unlink, err := b.connected(ctx)
	if err != nil {
		return nil, err
	}
	defer unlink()
	limited, cancel := context.WithTimeout(linked, fetchWait)
	defer cancel()
	if *consumer == nil {
		c, err := b.js.CreateOrUpdateConsumer(limited, streamEvents, jetstream.ConsumerConfig{
			Name: coordinator, Durable: coordinator, Description: "What follows from each event",
			AckPolicy: jetstream.AckExplicitPolicy, DeliverPolicy: jetstream.DeliverAllPolicy,
			AckWait: b.cfg.AckWait, MaxDeliver: -1, MaxAckPending: -1,
		})
		if err != nil {
			return nil, fmt.Errorf("create consumer: %w", err)
		}
		*consumer = c
	}
	batch, err := (*consumer).Fetch(1, jetstream.FetchContext(limited), jetstream.FetchHeartbeat(fetchHeartbeat))
	if err != nil {
		return nil, err
	}
	if m, ok := <-batch.Messages(); ok { // it ends with limited
		return m, nil
	}
	if err := batch.Error(); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return nil, err
	}
	return nil, nil
}

// coordinateEvent handles one event and settles its message.
func (b *Bus) coordinateEvent(ctx context.Context, m jetstream.Msg,
	handle func(context.Context, pipeline.Event) error,
) {
	log := b.log.With("subject", m.Subject())
	meta, err := m.Metadata()
	if err != nil {
		log.Error("event without metadata", "error", err)
		return
	}
	e, err := decodeEvent(m.Data(), meta.Sequence.Stream)
	if err != nil {
		log.Error("skip an event that cannot be read", "error", err)
		b.settle(m.Term())
		return
	}
	stop := b.keep(ctx, m)
	err = handle(ctx, e)
	stop()
	if err != nil {
		delay := nakDelay(meta.NumDelivered)
		log.Warn("handle event", "type", e.Type, "event", e.ID, "delivery", meta.NumDelivered,
			"again", delay, "error", err)
		b.settle(m.NakWithDelay(delay))
		return
	}
	b.settle(m.Ack())
}

// settle logs what became of an ack; without it the event comes again, which does no harm.
func (b *Bus) settle(err error) {
	if err != nil {
		b.log.Warn("settle event", "consumer", coordinator, "error", err)
	}
}

// keep extends the lease of m until stop is called, which waits for it.
func (b *Bus) keep(ctx context.Context, m jetstream.Msg) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		for wait(ctx, b.cfg.AckWait/3) == nil {
			b.settle(m.InProgress())
		}
	})
	return func() { cancel(); wg.Wait() }
}

// nakDelay is the delay after the n-th delivery failed: 250 ms, doubled each time, at most 30 s.
func nakDelay(n uint64) time.Duration {
	if n > 7 {
		return maxNak
	}
	return firstNak << (max(n, 1) - 1)
}
