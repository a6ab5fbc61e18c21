package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/reelmill/reelmill/pipeline"
)

const (
	bellPrefix = "bell."
	// pollInterval is the time between two looks at a queue: a task that is delivered again rings no bell.
	pollInterval = 2 * time.Second
	// bulkEvery says that every so many takes one begins with the lowest priority, which moves under any
	// load.
	bulkEvery = 8
	// takeTask is what NextAtLeast tries, for the log.
	takeTask = "take a task"
)

// NextAtLeast waits for a task of a worker type whose priority is least or higher, and takes it: nobody else
// gets it for Config.AckWait, which Extend begins anew. It returns ctx.Err() when ctx ends, and an error
// when the connection is closed for good; it logs every other failure and tries again. Callers may be many:
// each gets a task of its own. Callers with different priorities do not hold each other up, and cost no more
// requests than one.
//
// Tasks of high priority come first, then normal, then bulk. Every eighth take of this process begins with
// the lowest priority that has tasks, so no task waits for ever. Within a priority projects take turns: a
// project delays each other one by no more tasks at a time than it has weight, however many wait. Of a
// project the oldest task comes first.
//
// While the queue is paused (Pause), nobody takes a task.
//
// A message that is no task, or has another subject than its task, goes to the dead letters unchanged.
func (b *Bus) NextAtLeast(ctx context.Context, worker string, least pipeline.Priority) (*Delivery, error) {
	rank := slices.Index(pipeline.Priorities, least)
	if rank < 0 {
		return nil, fmt.Errorf("take a task of %s: unknown priority %q", worker, least)
	}
	q, err := b.queue(worker)
	if err != nil {
		return nil, err
	}
	l, served := &q.lines[rank], pipeline.Priorities[:rank+1]
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for failures := 0; ctx.Err() == nil; {
		d, err := b.take(ctx, q, l, served)
		pause := q.pause(b.poll, served)
		switch {
		case d != nil:
			b.recurring.Works(takeTask)
			return d, nil
		case b.nc.IsClosed():
			return nil, fmt.Errorf("take a task of %s: %w", worker, nats.ErrConnectionClosed)
		case err != nil && ctx.Err() == nil:
			b.recurring.Failed(takeTask, "worker", worker, "error", err)
			pause = min(firstDelay<<min(failures, 8), b.poll)
			failures++
		default:
			failures = 0
			b.recurring.Works(takeTask)
		}
		l.wait(ctx, pause)
	}
	return nil, ctx.Err()
}

// take tries once to take a task of these priorities. It returns nil when there is none.
func (b *Bus) take(ctx context.Context, q *queue, l *line, served []pipeline.Priority) (*Delivery, error) {
	select {
	case q.pulling <- struct{}{}:
		defer func() { <-q.pulling }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	var failed error
	if q.due(b.poll) {
		failed = b.look(ctx, q)
	}
	if held, err := b.held(ctx, q); held || err != nil {
		return nil, errors.Join(failed, err)
	}
	for _, p := range l.order(served) {
		for _, s := range q.order(p) {
			d, err := b.takeFrom(ctx, q, s)
			if err != nil {
				failed = err // another project's consumer may have another leader
			}
			if d != nil {
				l.taken++
				return d, nil
			}
		}
	}
	return nil, failed
}
