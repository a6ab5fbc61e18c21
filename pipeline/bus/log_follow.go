package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pause"
)

// followBatch is the most events that one apply gets.
const followBatch = 256

// What Follow tries, for the log.
const (
	followLog   = "follow the log"
	applyEvents = "apply events"
)

// Follow passes the events after a sequence to apply, in order, each once, in batches of 1 to 256. apply
// stores what it makes of the events together with their last sequence, and returns nil when both are stored.
// When apply fails, Follow applies the batch again after a pause that grows to 5 s. It skips only documents
// that cannot be read, and logs them.
//
// Follow blocks until ctx ends and then returns nil. It returns an error when the connection is closed for
// good, and when after lies beyond the log: then the log has lost events, or the caller followed another log.
// When the log is replaced by another one meanwhile, Follow applies nothing of it and keeps logging that.
func (b *Bus) Follow(ctx context.Context, after uint64,
	apply func(context.Context, []pipeline.Event) error,
) error {
	last, err := b.LastSequence(ctx)
	switch {
	case ctx.Err() != nil:
		return nil //nolint:nilerr // it was asked to stop
	case err != nil:
		return fmt.Errorf("follow: %w", err)
	}
	if after > last {
		return fmt.Errorf("follow: %w", shortError{after, last})
	}
	f := &follower{bus: b, next: after + 1, apply: apply}
	delay := firstDelay
	for ctx.Err() == nil && !b.nc.IsClosed() {
		at := f.next
		err := f.run(ctx)
		if ctx.Err() != nil || b.nc.IsClosed() {
			break
		}
		b.recurring.Failed(followLog, "at", f.next, "error", err)
		if f.next != at {
			delay = firstDelay
		}
		pause.For(ctx, delay)
		delay = min(2*delay, maxBackoff)
	}
	if ctx.Err() == nil {
		return fmt.Errorf("follow: %w", nats.ErrConnectionClosed)
	}
	return nil
}

// shortError says that a log ends before the last event that was applied.
type shortError struct{ applied, last uint64 }

// Error implements error.
func (e shortError) Error() string {
	return fmt.Sprintf("the events up to %d were applied, and the log ends at %d: it has lost events, or is "+
		"another one", e.applied, e.last)
}

// follower follows the log for one call of Follow.
type follower struct {
	bus     *Bus
	next    uint64 // the first sequence that was not applied
	apply   func(context.Context, []pipeline.Event) error
	applied pipeline.Event // the last one
}

// same returns an error when the log is not the one whose events were applied.
func (f *follower) same(ctx context.Context) error {
	last, err := f.bus.LastSequence(ctx)
	if err != nil {
		return err
	}
	if last < f.next-1 {
		return shortError{f.next - 1, last}
	}
	if f.applied.Sequence == 0 {
		return nil
	}
	id, err := f.bus.IDAt(ctx, f.applied.Sequence)
	if err == nil && id != "" && id != f.applied.ID {
		err = fmt.Errorf("the log is another one: its event %d is %s, and %s was applied", f.applied.Sequence, id,
			f.applied.ID)
	}
	return err
}

// run follows on one consumer until something fails. The consumer is in the server's memory and holds no
// state that matters: the next run creates another one that begins at next. (jetstream's own ordered
// consumer does the same, but does not end with its context while the connection is lost.)
func (f *follower) run(ctx context.Context) error {
	ctx, cancel, err := f.bus.connected(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	if err := f.same(ctx); err != nil {
		return err
	}
	c, err := f.consumer(ctx)
	if err != nil {
		return err
	}
	defer f.bus.forget(ctx, c)
	delivered := uint64(0)
	for {
		batch, err := c.Fetch(followBatch, jetstream.FetchContext(ctx), jetstream.FetchHeartbeat(fetchHeartbeat))
		if err != nil {
			return err
		}
		if err := f.drain(ctx, batch.Messages(), &delivered); err != nil {
			return err
		}
		if err := batch.Error(); err != nil {
			return err
		}
		f.bus.recurring.Works(followLog)
	}
}

// consumer creates a consumer that begins at next.
func (f *follower) consumer(ctx context.Context) (jetstream.Consumer, error) {
	limited, cancel := context.WithTimeout(ctx, f.bus.cfg.PublishTimeout)
	defer cancel()
	c, err := f.bus.js.CreateConsumer(limited, streamEvents, jetstream.ConsumerConfig{
		Description: "Feed of a read model", AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1,
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: f.next,
		InactiveThreshold: time.Minute,
	})
	if err != nil {
		return nil, fmt.Errorf("create consumer: %w", err)
	}
	return c, nil
}

// forget deletes the consumer if the server answers quickly. Otherwise the server deletes it by itself when
// nobody uses it.
func (b *Bus) forget(ctx context.Context, c jetstream.Consumer) {
	if !b.nc.IsConnected() {
		return
	}
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	err := b.js.DeleteConsumer(limited, streamEvents, c.CachedInfo().Name)
	if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		b.log.Debug("delete consumer of a feed", "error", err)
	}
}

// drain applies the messages of one fetch, as many at a time as are there. delivered is the consumer's own
// count: a gap in it means that a message was lost on the way.
func (f *follower) drain(ctx context.Context, messages <-chan jetstream.Msg, delivered *uint64) error {
	for m := range messages {
		var events []pipeline.Event
		end := f.next
		for more := true; more; {
			meta, err := m.Metadata()
			if err != nil {
				return err
			}
			if meta.Sequence.Consumer != *delivered+1 {
				return fmt.Errorf("delivery %d came after %d", meta.Sequence.Consumer, *delivered)
			}
			*delivered, end = meta.Sequence.Consumer, meta.Sequence.Stream+1
			e, err := decodeEvent(m.Data(), meta.Sequence.Stream)
			if err != nil {
				f.bus.log.Error("skip an event that cannot be read", "subject", m.Subject(), "error", err)
			} else {
				events = append(events, e)
			}
			more = false
			if len(events) < followBatch {
				select {
				case m, more = <-messages:
				default:
				}
			}
		}
		if err := f.applyAll(ctx, events); err != nil {
			return err
		}
		f.next = end
	}
	return ctx.Err()
}

// applyAll applies a batch until it succeeds or ctx ends.
func (f *follower) applyAll(ctx context.Context, events []pipeline.Event) error {
	if len(events) == 0 {
		return nil
	}
	for delay := firstDelay; ; delay = min(2*delay, maxBackoff) {
		err := f.apply(ctx, events)
		if err == nil {
			f.applied = events[len(events)-1]
			f.bus.recurring.Works(applyEvents)
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		f.bus.recurring.Failed(applyEvents, "from", events[0].Sequence, "count", len(events), "again", delay,
			"error", err)
		if !pause.For(ctx, delay) {
			return err
		}
	}
}
