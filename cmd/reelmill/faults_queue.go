//go:build chaos

package main

import (
	"context"
	"sync"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers"
)

// chaosQueue is a queue, as the worker loop sees it, that is killed at every step, and delivers twice, late
// and out of order.
type chaosQueue struct {
	workers.Tasks
	chaos *chaos

	mu   sync.Mutex
	held map[string][]workers.Delivery // by worker type: held back, or to be delivered once more
}

// Next implements workers.Tasks.
func (q *chaosQueue) Next(ctx context.Context, worker string) (workers.Delivery, error) {
	d := q.take(worker)
	if d == nil {
		next, err := q.Tasks.Next(ctx, worker)
		if err != nil {
			return nil, err
		}
		d = chaosDelivery{next, q.chaos}
		if q.chaos.chance(q.chaos.Double) {
			q.hold(worker, d) // another slot gets it too, while the first runs
		}
		if q.chaos.chance(q.chaos.Reorder) {
			d = q.overtake(ctx, worker, d)
		}
	}
	q.chaos.delay(ctx)
	return d, nil
}

// overtake holds first back if another task comes soon, and returns that.
func (q *chaosQueue) overtake(ctx context.Context, worker string, first workers.Delivery) workers.Delivery {
	ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	second, err := q.Tasks.Next(ctx, worker)
	if err != nil {
		return first
	}
	q.hold(worker, first)
	return chaosDelivery{second, q.chaos}
}

func (q *chaosQueue) hold(worker string, d workers.Delivery) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.held[worker] = append(q.held[worker], d)
}

func (q *chaosQueue) take(worker string) workers.Delivery {
	q.mu.Lock()
	defer q.mu.Unlock()
	held := q.held[worker]
	if len(held) == 0 {
		return nil
	}
	q.held[worker] = held[1:]
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

// chaosDelivery is a delivery with points. It may be in two hands at once: the bus takes the second Ack or
// Return for the late one that it is.
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
