//go:build chaos

package node

import (
	"context"
	"sync"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers"
)

// chaosQueue is the worker loop's queue. It kills the process at any step, and delivers twice, late and out
// of order.
type chaosQueue struct {
	workers.Tasks
	chaos *chaos

	mu   sync.Mutex
	held map[string][]workers.Delivery // by caller: to deliver later, or again
}

// NextAtLeast implements workers.Tasks. It may return a task held back for a caller with the same arguments.
func (q *chaosQueue) NextAtLeast(ctx context.Context, worker string, least pipeline.Priority) (
	workers.Delivery, error,
) {
	caller := worker + " " + string(least)
	take := func(ctx context.Context) (workers.Delivery, error) { return q.Tasks.NextAtLeast(ctx, worker, least) }
	d := q.take(caller)
	if d == nil {
		next, err := take(ctx)
		if err != nil {
			return nil, err
		}
		d = chaosDelivery{next, q.chaos}
		if q.chaos.chance(q.chaos.Double) {
			q.hold(caller, d) // another slot gets it too while the first runs it
		}
		if q.chaos.chance(q.chaos.Reorder) {
			d = q.overtake(ctx, caller, d, take)
		}
	}
	q.chaos.delay(ctx)
	return d, nil
}

// overtake holds first back and returns another task, if one comes soon.
func (q *chaosQueue) overtake(ctx context.Context, caller string, first workers.Delivery,
	take func(ctx context.Context) (workers.Delivery, error),
) workers.Delivery {
	ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	second, err := take(ctx)
	if err != nil {
		return first
	}
	q.hold(caller, first)
	return chaosDelivery{second, q.chaos}
}

func (q *chaosQueue) hold(caller string, d workers.Delivery) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.held[caller] = append(q.held[caller], d)
}

func (q *chaosQueue) take(caller string) workers.Delivery {
	q.mu.Lock()
	defer q.mu.Unlock()
	held := q.held[caller]
	if len(held) == 0 {
		return nil
	}
	q.held[caller] = held[1:]
	return held[0]
}

// Schedule implements workers.Tasks.
func (q *chaosQueue) Schedule(ctx context.Context, t pipeline.Task, at time.Time) error {
	if bound := time.Duration(q.chaos.RetryMaxMS) * time.Millisecond; bound > 0 {
		if latest := time.Now().Add(bound); at.After(latest) {
			at = latest
		}
	}
	return q.chaos.around("schedule", func() error { return q.Tasks.Schedule(ctx, t, at) })
}

// DeadLetter implements workers.Tasks.
func (q *chaosQueue) DeadLetter(ctx context.Context, d pipeline.DeadLetter) error {
	return q.chaos.around("deadletter", func() error { return q.Tasks.DeadLetter(ctx, d) })
}

// chaosDelivery is a delivery with kill points. Two slots may have it at once: the bus treats the second Ack
// or Return as a late one.
type chaosDelivery struct {
	workers.Delivery
	chaos *chaos
}

// Ack implements workers.Delivery.
func (d chaosDelivery) Ack(ctx context.Context) error {
	return d.chaos.around("ack", func() error { return d.Delivery.Ack(ctx) })
}

// Extend implements workers.Delivery.
func (d chaosDelivery) Extend(ctx context.Context) error {
	return d.chaos.around("extend", func() error { return d.Delivery.Extend(ctx) })
}

// Return implements workers.Delivery.
func (d chaosDelivery) Return(ctx context.Context, delay time.Duration) error {
	return d.chaos.around("return", func() error { return d.Delivery.Return(ctx, delay) })
}
