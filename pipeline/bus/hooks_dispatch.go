package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pause"
)

// dispatcher is the name of the durable consumer of Dispatch.
const dispatcher = "webhooks"

// dispatchBatch is the most events that handle gets at once. A batch must be handled within its lease.
const dispatchBatch = 64

// Dispatching is what becomes of events.
type Dispatching struct {
	// Handle gets events, and returns for each of them why it must come again; nil when it is done.
	Handle func(ctx context.Context, events []pipeline.Event) []error
	// GiveUp gets an event that failed Tries times, each time for a reason that does not pass by itself, and
	// the last reason. When it returns nil, the event does not come again.
	GiveUp func(ctx context.Context, e pipeline.Event, why error) error
	// Tries is how often an event may fail; 20 when 0, which takes about ten minutes.
	Tries int
}

// Dispatch calls d.Handle with the events of the log, some at a time, and shares them with every other
// process that dispatches. Events that are done come again only after a crash. Each of the others comes again
// by itself, after a delay that grows to 30 s. Dispatch blocks until ctx ends, and then returns nil. It
// returns an error when the connection is closed for good.
//
// Not guaranteed: order, and delivery once.
func (b *Bus) Dispatch(ctx context.Context, d Dispatching) error {
	d.Tries = cmp.Or(d.Tries, dispatchTries)
	var consumer jetstream.Consumer
	for delay := firstDelay; ctx.Err() == nil && !b.nc.IsClosed(); {
		err := b.dispatchSome(ctx, &consumer, d)
		if err == nil {
			delay = firstDelay
			b.recurring.Works(dispatchEvents)
			continue
		}
		if ctx.Err() == nil {
			consumer = nil
			b.recurring.Failed(dispatchEvents, "consumer", dispatcher, "error", err)
			pause.For(ctx, delay)
			delay = min(2*delay, maxBackoff)
		}
	}
	if ctx.Err() == nil {
		return fmt.Errorf("dispatch: %w", nats.ErrConnectionClosed)
	}
	return nil
}

// dispatchTries is how often an event may fail by default.
const dispatchTries = 20

// dispatchEvents is what Dispatch tries, for the log.
const dispatchEvents = "dispatch events to webhook endpoints"

func (b *Bus) dispatcherConfig() jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Name: dispatcher, Durable: dispatcher, Description: "Which endpoints an event is delivered to",
		AckPolicy: jetstream.AckExplicitPolicy, DeliverPolicy: jetstream.DeliverAllPolicy,
		AckWait: b.coordinatorLease(), MaxDeliver: -1, MaxAckPending: -1,
	}
}

// dispatchSome takes the events that are there, or waits a while for one, and handles them.
func (b *Bus) dispatchSome(ctx context.Context, consumer *jetstream.Consumer, d Dispatching) error {
	linked, unlink, err := b.connected(ctx)
	if err != nil {
		return err
	}
	defer unlink()
	limited, cancel := context.WithTimeout(linked, fetchWait)
	defer cancel()
	if *consumer == nil {
		c, err := b.ensureConsumer(limited, streamEvents, b.dispatcherConfig())
		if err != nil {
			return fmt.Errorf("create consumer: %w", err)
		}
		*consumer = c
	}
	batch, err := (*consumer).FetchNoWait(dispatchBatch)
	if err != nil {
		return err
	}
	n, err := b.dispatchBatch(linked, batch, d)
	if n > 0 || err != nil {
		return err
	}
	batch, err = (*consumer).Fetch(1, jetstream.FetchContext(limited), jetstream.FetchHeartbeat(fetchHeartbeat))
	if err != nil {
		return err
	}
	_, err = b.dispatchBatch(linked, batch, d)
	return err
}

// dispatchBatch handles the events of a fetch, and settles the message of each. It returns how many came.
func (b *Bus) dispatchBatch(ctx context.Context, batch jetstream.MessageBatch, d Dispatching) (int, error) {
	var events []pipeline.Event
	var messages []jetstream.Msg
	for m := range batch.Messages() {
		meta, err := m.Metadata()
		if err != nil {
			return 0, err
		}
		e, err := decodeEvent(m.Data(), meta.Sequence.Stream)
		if err != nil {
			b.log.Error("skip an event that cannot be read", "subject", m.Subject(), "error", err)
			b.settleDispatch(m.Term())
			continue
		}
		events, messages = append(events, e), append(messages, m)
	}
	if len(events) == 0 {
		if err := batch.Error(); err != nil && !errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			return 0, err
		}
		return 0, nil
	}
	for i, err := range b.handleBatch(ctx, events, messages, d.Handle) {
		if err == nil || b.giveUp(ctx, d, events[i], messages[i], err) {
			b.settleDispatch(messages[i].Ack())
			continue
		}
		if ctx.Err() == nil {
			b.recurring.Failed("dispatch an event to webhook endpoints", "event", events[i].ID, "error", err)
		}
		b.settleDispatch(messages[i].NakWithDelay(b.dispatchDelay(messages[i])))
	}
	return len(events), nil
}

// giveUp ends an event that failed too often, and reports whether it did. An error that a full or absent
// broker explains is no reason.
func (b *Bus) giveUp(ctx context.Context, d Dispatching, e pipeline.Event, m jetstream.Msg, why error) bool {
	meta, err := m.Metadata()
	if err != nil || d.GiveUp == nil || meta.NumDelivered < uint64(d.Tries) ||
		ctx.Err() != nil || passing(why) || isFull(why) {
		return false
	}
	if err := d.GiveUp(ctx, e, why); err != nil {
		b.recurring.Failed("give up an event that cannot be dispatched", "event", e.ID, "error", err)
		return false
	}
	b.log.Error("gave up an event that cannot be dispatched to webhook endpoints; its deliveries have failed",
		"event", e.ID, "type", string(e.Type), "subject", e.Subject, "tries", meta.NumDelivered, "error", why,
		"to_do", "read the records: reelmill webhooks deliveries ENDPOINT --status failed")
	return true
}

// handleBatch calls handle, and renews the leases of the messages meanwhile.
func (b *Bus) handleBatch(ctx context.Context, events []pipeline.Event, messages []jetstream.Msg,
	handle func(context.Context, []pipeline.Event) []error,
) []error {
	tick, stop := time.NewTicker(b.coordinatorLease()/3), make(chan struct{})
	defer tick.Stop()
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-tick.C:
				for _, m := range messages {
					b.settleDispatch(m.InProgress())
				}
			case <-stop:
				return
			}
		}
	}()
	defer func() { close(stop); <-stopped }()
	return handle(ctx, events)
}

// dispatchDelay is after what time an event comes again that could not be dispatched.
func (b *Bus) dispatchDelay(m jetstream.Msg) time.Duration {
	meta, err := m.Metadata()
	if err != nil {
		return maxNak
	}
	return nakDelay(meta.NumDelivered)
}

// settleDispatch logs an ack that failed. The event is then dispatched again, which does no harm.
func (b *Bus) settleDispatch(err error) {
	if err != nil {
		b.recurring.Failed("settle event", "consumer", dispatcher, "error", err)
	}
}

// DispatchLag returns how many events of the log are not dispatched to webhook endpoints. All events count
// until somebody dispatches.
func (b *Bus) DispatchLag(ctx context.Context) (uint64, error) {
	c, err := b.js.Consumer(ctx, streamEvents, dispatcher)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return b.LastSequence(ctx)
	}
	if err != nil {
		return 0, fmt.Errorf("read the dispatcher's position: %w", err)
	}
	info := c.CachedInfo()
	return info.NumPending + uint64(max(info.NumAckPending, 0)), nil
}
