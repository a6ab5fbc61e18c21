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
	"github.com/reelmill/reelmill/pipeline/pause"
)

// coordinator is the name of the durable consumer of Coordinate.
const coordinator = "coordinator"

// What Coordinate tries, for the log.
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

// Coordinate calls handle for the events of the log, Config.Coordinators at a time, and shares them with
// every other process that coordinates. It leaves out events that lead to nothing (pipeline.Leads). When
// several events of a video wait, handle gets the last one, since it looks at the whole video anyway. A
// process never handles a video twice at a time. Projects take turns: a project with a thousand events does
// not hold up another one with a single event.
//
// When handle returns an error, its events are delivered again after a delay that grows to 30 s. When a
// process dies, its events are delivered again after a lease of 15 s or AckWait, whichever is shorter. A
// process renews the lease of each event that it holds.
//
// Coordinate blocks until ctx ends. Then it takes no more events, gives back those that wait, lets running
// handlers finish (their context ends Config.DrainTimeout later), and returns nil. It returns an error when
// the connection is closed for good.
//
// Not guaranteed: order, and delivery once.
func (b *Bus) Coordinate(ctx context.Context, handle func(context.Context, pipeline.Event) error) error {
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	p := newPending()
	defer context.AfterFunc(ctx, p.close)()
	var running sync.WaitGroup
	for range b.cfg.Coordinators {
		running.Go(func() {
			for v := p.take(); v != nil; v = p.take() {
				b.coordinateVideo(work, v, handle)
				p.done(v)
			}
		})
	}
	running.Go(func() { b.keepAll(work, p) })
	b.takeAll(ctx, p)
	b.shutDown(ctx, p)
	stop()
	running.Wait()
	if ctx.Err() == nil {
		return fmt.Errorf("coordinate: %w", nats.ErrConnectionClosed)
	}
	return nil
}

// shutDown closes p, gives back the events that wait, and returns when no handler runs any more, or
// Config.DrainTimeout after ctx ended.
func (b *Bus) shutDown(ctx context.Context, p *pending) {
	p.close()
	for _, m := range p.abandon() {
		b.settle(m.Nak())
	}
	select {
	case <-p.idle:
		return
	case <-ctx.Done():
	}
	limit := time.NewTimer(b.cfg.DrainTimeout)
	defer limit.Stop()
	select {
	case <-p.idle:
	case <-limit.C:
	}
}

// takeAll takes events into p until ctx ends or the connection is closed.
func (b *Bus) takeAll(ctx context.Context, p *pending) {
	var consumer jetstream.Consumer
	delay := firstDelay
	for ctx.Err() == nil && !b.nc.IsClosed() {
		n := p.space(ctx)
		if n == 0 {
			continue
		}
		took, err := b.takeBatch(ctx, &consumer, min(n, coordinateBatch), p)
		if took {
			delay = firstDelay
		}
		if err == nil {
			b.recurring.Works(takeEvents)
		}
		if err != nil && ctx.Err() == nil {
			consumer = nil
			b.recurring.Failed(takeEvents, "consumer", coordinator, "error", err)
			pause.For(ctx, delay)
			delay = min(2*delay, maxBackoff)
		}
	}
}

// takeBatch takes up to n events into p, each as it comes. It returns after a while if fewer come.
func (b *Bus) takeBatch(ctx context.Context, consumer *jetstream.Consumer, n int, p *pending) (
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
		b.hold(m, p)
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

// coordinatorLease is how long an event stays with a process that does not renew its lease. It is short,
// because a process holds many events, and none takes long.
func (b *Bus) coordinatorLease() time.Duration { return min(b.cfg.AckWait, coordinateLease) }

// hold adds an event to p, or settles it when nothing follows from it.
func (b *Bus) hold(m jetstream.Msg, p *pending) {
	log := b.log.With("subject", m.Subject())
	meta, err := m.Metadata()
	if err != nil {
		log.Error("event without metadata", "error", err)
		return
	}
	e, err := decodeEvent(m.Data(), meta.Sequence.Stream)
	if err == nil && !pipeline.Leads(e.Type) { // also what belongs to no video
		b.settle(m.Ack())
		return
	}
	if err == nil {
		_, _, _, err = pipeline.Address(e.Subject)
	}
	switch {
	case err != nil:
		log.Error("skip an event that cannot be read", "error", err)
		b.settle(m.Term())
	case !p.put(m, e, meta.NumDelivered):
		b.settle(m.Nak())
	}
}

// coordinateVideo handles the events of a video that were taken, and settles their messages.
func (b *Bus) coordinateVideo(ctx context.Context, v *pendingVideo,
	handle func(context.Context, pipeline.Event) error,
) {
	err := handle(ctx, v.event)
	if err == nil {
		b.recurring.Works(handleEvent)
		for _, m := range v.taken {
			b.settle(m.Ack())
		}
		return
	}
	delay := nakDelay(v.delivered)
	b.recurring.Failed(handleEvent, "subject", v.event.Subject, "type", v.event.Type, "event", v.event.ID,
		"delivery", v.delivered, "again", delay, "error", err)
	for _, m := range v.taken {
		b.settle(m.NakWithDelay(delay))
	}
}

// settle logs an ack that failed. The event is then delivered again, which does no harm.
func (b *Bus) settle(err error) {
	if err != nil {
		b.recurring.Failed("settle event", "consumer", coordinator, "error", err)
	}
}

// keepAll renews the leases of all events that p holds until ctx ends.
func (b *Bus) keepAll(ctx context.Context, p *pending) {
	for pause.For(ctx, b.coordinatorLease()/3) {
		for _, m := range p.all() {
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

// CoordinatorSettled returns a sequence up to which all events are settled, or lead to nothing; 0 until
// somebody coordinates.
func (b *Bus) CoordinatorSettled(ctx context.Context) (uint64, error) {
	last, err := b.LastSequence(ctx) // before it asks whether any event waits
	if err != nil {
		return 0, err
	}
	c, err := b.js.Consumer(ctx, streamEvents, coordinator)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read the coordinator's position: %w", err)
	}
	info := c.CachedInfo()
	if info.NumPending == 0 && info.NumAckPending <= 0 {
		return last, nil
	}
	return info.AckFloor.Stream, nil
}

// CoordinatorLag returns how many events of the log are not settled: those that no process has taken, and
// those that a process holds. All events count until somebody coordinates.
func (b *Bus) CoordinatorLag(ctx context.Context) (uint64, error) {
	c, err := b.js.Consumer(ctx, streamEvents, coordinator)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return b.LastSequence(ctx)
	}
	if err != nil {
		return 0, fmt.Errorf("read the coordinator's position: %w", err)
	}
	info := c.CachedInfo()
	return info.NumPending + uint64(max(info.NumAckPending, 0)), nil
}
