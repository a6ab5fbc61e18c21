package webhooks

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pause"
)

// Leftovers finds what processes left behind that died between two writes.
type Leftovers interface {
	// Unqueued returns the pending records that were written after a sequence and before a time, and of which
	// no attempt is queued. seen is the sequence up to which it looked: what was queued for an earlier record
	// stays until the record is written again.
	Unqueued(ctx context.Context, after uint64, before time.Time) (
		records []DeliveryRecord, seen uint64, err error)
}

// Sweeper queues again what a process that died did not: the attempt at a delivery whose record is pending,
// and the message that an endpoint was disabled. Each process may have one; doing it twice does no harm.
type Sweeper struct {
	Sender    *Sender
	Leftovers Leftovers
	// Every is the time between two looks; 1 minute when 0. The first one comes at once, and reads the headers
	// of all records; the others read those of records that were written since.
	Every time.Duration
	// Age is how old a record must be, so that whoever wrote it had the time to queue its attempt; 1 minute
	// when 0, none when negative.
	Age time.Duration

	seen uint64
}

// sweepDeliveries is what Run tries, for the log.
const sweepDeliveries = "look for webhook deliveries that nothing is queued for"

// Run looks until ctx ends, and returns nil.
func (w *Sweeper) Run(ctx context.Context) error {
	for {
		if err := w.Sweep(ctx); err != nil && ctx.Err() == nil {
			w.Sender.recurring.Failed(sweepDeliveries, "error", err)
		} else if err == nil {
			w.Sender.recurring.Works(sweepDeliveries)
		}
		if !pause.For(ctx, cmp.Or(w.Every, time.Minute)) {
			return nil
		}
	}
}

// Sweep looks once.
func (w *Sweeper) Sweep(ctx context.Context) error {
	return errors.Join(w.sweepRecords(ctx), w.sweepEndpoints(ctx))
}

func (w *Sweeper) sweepRecords(ctx context.Context) error {
	before := time.Now().Add(-max(0, cmp.Or(w.Age, time.Minute)))
	found, seen, err := w.Leftovers.Unqueued(ctx, w.seen, before)
	if err != nil {
		return err
	}
	for _, r := range found {
		if r.Next == nil {
			r.Next = &r.UpdatedAt
		}
		if err := w.Sender.pushNext(ctx, r.taskOf(), r); err != nil {
			return err
		}
		w.Sender.Logger.Warn("queued a webhook delivery again; the process that was to do it died",
			"delivery", r.ID, "endpoint", r.Endpoint, "event", r.Event)
	}
	w.seen = seen
	return nil
}

// sweepEndpoints tells of disabled endpoints of which nobody was told.
func (w *Sweeper) sweepEndpoints(ctx context.Context) error {
	all, err := w.Sender.Bucket.AllEndpoints(ctx)
	if err != nil {
		return err
	}
	age := max(0, cmp.Or(w.Age, time.Minute))
	for _, e := range all {
		if !e.Untold || e.Disabled == nil || w.Sender.Now().Sub(e.Disabled.At) < age {
			continue
		}
		now, err := w.Sender.Bucket.Endpoint(ctx, e.Project, e.ID) // the list may be older
		if errors.Is(err, pipeline.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if now.Untold && now.Disabled != nil {
			if err := w.Sender.tell(ctx, now); err != nil {
				return err
			}
		}
	}
	return nil
}
