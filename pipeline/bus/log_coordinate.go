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

// What Coordinate tries.
const (
	takeEvents  = "take events"
	handleEvent = "handle event"
)

const (
	fetchWait      = 10 * time.Second
	fetchHeartbeat = 2 * time.Second // twice this without a sign of the server, and the fetch is made anew
	firstNak       = 250 * time.Millisecond
	maxNak         = 30 * time.Second
	maxBackoff     = 5 * time.Second

	coordinateBatch = 256 // events that are asked for at once
	coordinateLease = 15 * time.Second
)

// Coordinate has handle do what follows from the events of the log, Config.Coordinators at a time, shared
// with every other process that coordinates. Events that lead to nothing (pipeline.Leads) are left out; of
// several that wait for the same video, handle gets the last, since it looks at the whole video anyway, and
// no video is handled twice at a time in one process. Projects take turns: one with a thousand events does
// not hold up another's one.
//
// Events whose handle returned an error are delivered again, after a delay that grows to 30 s, and those
// whose process died after a lease of 15 s or AckWait, whichever is shorter. While an event waits here or is
// handled, it stays here.
//
// Coordinate blocks until ctx ends; then it takes nothing new, gives back what waits, lets running handles
// finish (their context ends Config.DrainTimeout later), and returns nil. It returns an error when the
// connection is closed for good.
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
	d := newDesk()
	defer context.AfterFunc(ctx, d.close)()
	var wg sync.WaitGroup
	for range b.cfg.Coordinators {
		wg.Go(func() {
			for f := d.take(); f != nil; f = d.take() {
				b.coordinateVideo(work, f, handle)
				d.done(f)
			}
		})
	}
	wg.Go(func() { b.keepAll(work, d) })
	b.takeAll(ctx, d)
	d.close()
	for _, m := range d.abandon() {
		b.settle(m.Nak())
	}
	stopKeeping := d.idle
	wg.Go(func() { <-stopKeeping; stop() })
	wg.Wait()
	if ctx.Err() == nil {
		return fmt.Errorf("coordinate: %w", nats.ErrConnectionClosed)
	}
	return nil
}

// takeAll puts events on the desk until ctx ends or the connection is closed.
func (b *Bus) takeAll(ctx context.Context, d *desk) {
	var consumer jetstream.Consumer
	pause := firstDelay
	for ctx.Err() == nil && !b.nc.IsClosed() {
		n := d.room(ctx)
		if n == 0 {
			continue
		}
		took, err := b.takeBatch(ctx, &consumer, min(n, coordinateBatch), d)
		if took {
			pause = firstDelay
		}
		if err == nil {
			b.recurring.Works(takeEvents)
		}
		if err != nil && ctx.Err() == nil {
			consumer = nil
			b.recurring.Failed(takeEvents, "consumer", coordinator, "error", err)
			_ = wait(ctx, pause)
			pause = min(2*pause, maxBackoff)
		}
	}
}

// takeBatch puts up to n events on the desk, each as it comes, and returns after a while if fewer come.
func (b *Bus) takeBatch(ctx context.Context, consumer *jetstream.Consumer, n int, d *desk) (
	took bool, err error,
) {
	linked, unlink, err := b.connected(ctx)
	if err != nil {
		return false, err
	}
	defer unlink()
	limited, cancel := context.WithTimeout(linked, fetchWait)
	defer cancel()
	if *consumer == nil {
		c, err := b.ensureConsumer(limited, streamEvents, b.coordinatorConfig())
		if err != nil {
			return false, fmt.Errorf("create consumer: %w", err)
		}
		*consumer = c
	}
	batch, err := (*consumer).Fetch(n, jetstream.FetchContext(limited), jetstream.FetchHeartbeat(fetchHeartbeat))
	if err != nil {
		return false, err
	}
	for m := range batch.Messages() { // it ends with limited
		took = true
		b.putOnDesk(m, d)
	}
	if err := batch.Error(); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return took, err
	}
	return took, nil
}

func (b *Bus) coordinatorConfig() jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Name: coordinator, Durable: coordinator, Description: "What follows from each event",
		AckPolicy: jetstream.AckExplicitPolicy, DeliverPolicy: jetstream.DeliverAllPolicy,
		AckWait: b.coordinatorLease(), MaxDeliver: -1, MaxAckPending: -1,
	}
}

// coordinatorLease is how long an event stays with a process that says nothing. It is short, because a
// process holds many, and none takes long.
func (b *Bus) coordinatorLease() time.Duration { return min(b.cfg.AckWait, coordinateLease) }

// putOnDesk puts an event where it waits to be handled, or settles it when nothing follows from it.
func (b *Bus) putOnDesk(m jetstream.Msg, d *desk) {
	log := b.log.With("subject", m.Subject())
	meta, err := m.Metadata()
	if err != nil {
		log.Error("event without metadata", "error", err)
		return
	}
	e, err := decodeEvent(m.Data(), meta.Sequence.Stream)
	if err == nil {
		_, _, _, err = pipeline.Address(e.Subject)
	}
	switch {
	case err != nil:
		log.Error("skip an event that cannot be read", "error", err)
		b.settle(m.Term())
	case !pipeline.Leads(e.Type):
		b.settle(m.Ack())
	case !d.put(m, e, meta.NumDelivered):
		b.settle(m.Nak())
	}
}

// coordinateVideo handles the events of a video that wait, and settles their messages.
func (b *Bus) coordinateVideo(ctx context.Context, f *file,
	handle func(context.Context, pipeline.Event) error,
) {
	err := handle(ctx, f.event)
	if err == nil {
		b.recurring.Works(handleEvent)
		for _, m := range f.taken {
			b.settle(m.Ack())
		}
		return
	}
	delay := nakDelay(f.delivered)
	b.recurring.Failed(handleEvent, "subject", f.event.Subject, "type", f.event.Type, "event", f.event.ID,
		"delivery", f.delivered, "again", delay, "error", err)
	for _, m := range f.taken {
		b.settle(m.NakWithDelay(delay))
	}
}

// settle logs what became of an ack; without it the event comes again, which does no harm.
func (b *Bus) settle(err error) {
	if err != nil {
		b.recurring.Failed("settle event", "consumer", coordinator, "error", err)
	}
}

// keepAll extends the leases of all that is on the desk until ctx ends.
func (b *Bus) keepAll(ctx context.Context, d *desk) {
	for wait(ctx, b.coordinatorLease()/3) == nil {
		for _, m := range d.all() {
			b.settle(m.InProgress())
		}
	}
}

// nakDelay is the delay after the n-th delivery failed: 250 ms, doubled each time, at most 30 s.
func nakDelay(n uint64) time.Duration {
	if n > 7 {
		return maxNak
	}
	return firstNak << (max(n, 1) - 1)
}

// CoordinatorLag returns how many events of the log Coordinate has not settled: those that no process has
// taken, and those that one has and is not done with. All count while nobody has coordinated yet.
func (b *Bus) CoordinatorLag(ctx context.Context) (uint64, error) {
	c, err := b.js.Consumer(ctx, streamEvents, coordinator)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return b.LastSequence(ctx)
	}
	if err != nil {
		return 0, fmt.Errorf("read how far the coordinator is: %w", err)
	}
	info := c.CachedInfo()
	return info.NumPending + uint64(max(info.NumAckPending, 0)), nil
}
