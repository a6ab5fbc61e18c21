package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/reelmill/reelmill/pipeline"
)

const (
	bellPrefix = "bell."
	// pollInterval is the time between two looks at a queue: a task that is delivered again rings no bell.
	pollInterval = 2 * time.Second
	// bulkEvery says that every so many takes one begins with the lowest priority, which moves under any load.
	bulkEvery = 8
	// takeTask is what NextAtLeast tries, for the log.
	takeTask = "take a task"
)

// NextAtLeast waits for a task of a worker type whose priority is least or higher, and takes it: nobody else
// gets it for Config.AckWait, which Extend begins anew. It returns ctx.Err() when ctx ends, and an error when
// the connection is closed for good; it logs every other failure and tries again. Callers may be many: each
// gets a task of its own. Callers with different priorities do not hold each other up, and cost no more
// requests than one.
//
// Tasks of high priority come first, then normal, then bulk. Every eighth take of this process begins with
// the lowest priority that has tasks, so no task waits for ever. Within a priority the lanes take turns, so a
// project delays other lanes by one task each, however many tasks it has. Within a lane the oldest task comes
// first.
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

// take tries once to take a task of these priorities. It returns nil when there is none. Within a priority it
// begins with the lane after the one that had the last task.
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
		first := q.cursors[p]
		for i := range pipeline.Lanes {
			n := (first + i) % pipeline.Lanes
			d, err := b.takeFrom(ctx, q, p, n)
			if err != nil {
				failed = err // another lane may have another leader
			}
			if d != nil {
				q.cursors[p] = (n + 1) % pipeline.Lanes
				l.taken++
				return d, nil
			}
		}
	}
	return nil, failed
}

// takeFrom takes a task from a lane, if something may wait there. It returns nil when there is none.
func (b *Bus) takeFrom(ctx context.Context, q *queue, p pipeline.Priority, n int) (*Delivery, error) {
	for q.wants(p, n) {
		m, err := b.pull(ctx, q, p, n)
		if err != nil {
			return nil, err
		}
		if m == nil {
			q.missed(p, n)
			return nil, nil
		}
		d, err := b.decodeDelivery(m)
		if err == nil {
			return d, nil
		}
		if err := b.moveToLetters(ctx, m, err); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// pull takes at most one message from a lane, and does not wait for one.
func (b *Bus) pull(ctx context.Context, q *queue, p pipeline.Priority, n int) (jetstream.Msg, error) {
	c, err := b.consumer(ctx, q, p, n)
	if err != nil {
		return nil, err
	}
	batch, err := c.FetchNoWait(1)
	if err != nil {
		return nil, err
	}
	// This does not end with ctx: a message on its way would be lost for AckWait. The fetch ends by itself
	// within a second.
	m, ok := <-batch.Messages()
	if ok {
		return m, nil
	}
	if err := batch.Error(); err != nil {
		q.lanes[p][n].consumer = nil // it may be gone: the next pull finds or creates it
		return nil, err
	}
	return nil, nil
}
