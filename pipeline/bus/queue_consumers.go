package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/reelmill/reelmill/pipeline"
)

// consumerIdle is how long the server keeps a consumer that nobody pulls and that holds no lease. A process
// of a version with consumers for lanes can take tasks only after that time, since the server refuses
// consumers whose filters overlap.
const consumerIdle = 5 * time.Minute

// pull takes at most one task of a project, and does not wait for one. When the server has removed the
// consumer, it makes it anew.
func (b *Bus) pull(ctx context.Context, q *queue, s *share) (jetstream.Msg, error) {
	m, err := b.pullOnce(ctx, q, s)
	if errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrConsumerDeleted) ||
		errors.Is(err, jetstream.ErrConsumerNotFound) {
		s.consumer = nil
		m, err = b.pullOnce(ctx, q, s)
	}
	return m, err
}

func (b *Bus) pullOnce(ctx context.Context, q *queue, s *share) (jetstream.Msg, error) {
	l := b.limitOf(s.project, s.worker)
	if err := b.consume(ctx, s, l); err != nil {
		return nil, err
	}
	if l.tasks > 0 {
		return b.pullWithin(ctx, q, s, l)
	}
	q.release(s)
	batch, err := s.consumer.FetchNoWait(1)
	if err != nil {
		return nil, err
	}
	return b.received(batch, s)
}

// received waits for the message of a pull. It does not end with a context: a message on its way would be
// lost for AckWait. The pull ends by itself within a second.
func (b *Bus) received(batch jetstream.MessageBatch, s *share) (jetstream.Msg, error) {
	begun := time.Now()
	m, ok := <-batch.Messages()
	if ok {
		return m, nil
	}
	err := batch.Error()
	if err != nil || time.Since(begun) >= time.Second {
		// The consumer may be gone, or have a limit that this process does not know: the next pull finds out.
		s.consumer = nil
	}
	return nil, err
}

// consume sees that the share has its durable consumer, and that the server holds it to no limit if there is
// none: pullWithin changes others. It has no limit of deliveries, because the event log counts attempts.
func (b *Bus) consume(ctx context.Context, s *share, l limit) error {
	free := l.known && l.tasks == 0
	if s.consumer != nil && (!free || s.consumer.CachedInfo().Config.MaxAckPending <= 0) {
		return nil
	}
	linked, unlink, err := b.connected(ctx)
	if err != nil {
		return err
	}
	defer unlink()
	limited, cancel := context.WithTimeout(linked, b.cfg.PublishTimeout)
	defer cancel()
	c := s.consumer
	if c == nil {
		c, err = b.ensureTasks(limited, s, l)
	}
	if err == nil && free {
		c, err = b.adjust(limited, c, unlimited)
	}
	if err == nil {
		s.consumer = c
	}
	return err
}

// ensureTasks returns the consumer of a share, and creates it, with the limit, when it is missing.
func (b *Bus) ensureTasks(ctx context.Context, s *share, l limit) (jetstream.Consumer, error) {
	cfg := b.tasksConfig(s.worker, s.priority, s.project)
	cfg.MaxAckPending = l.acks()
	c, err := b.ensureConsumer(ctx, streamTasks, cfg)
	for n := 1; n < tries && isAPI(err, codeConsumerCreate); n++ {
		// A consumer of that name was deleted. The server did not wait for its last write, which went into
		// the new consumer's file. By now the file is gone.
		b.recurring.Failed("create a consumer", "consumer", cfg.Name, "error", err)
		c, err = b.ensureConsumer(ctx, streamTasks, cfg)
	}
	if isAPI(err, codeFilterNotUnique) {
		if err = b.deleteEarlier(ctx, s); err == nil {
			c, err = b.ensureConsumer(ctx, streamTasks, cfg)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("create consumer %s: %w", cfg.Name, err)
	}
	return c, nil
}

// deleteEarlier deletes the consumers of earlier versions, whose filters overlap that of a project: one for
// its lane, or one for the whole priority. The tasks that they hold are delivered again.
func (b *Bus) deleteEarlier(ctx context.Context, s *share) error {
	priority := s.worker + "_" + string(s.priority)
	for _, old := range []string{priority, priority + "_" + pipeline.Lane(s.project)} {
		err := b.js.DeleteConsumer(ctx, streamTasks, old)
		if errors.Is(err, jetstream.ErrConsumerNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("delete consumer %s: %w", old, err)
		}
		b.log.Info("replaced a consumer of an earlier version; its processes take no tasks any more",
			"consumer", old, "project", s.project)
	}
	return nil
}

// tasksConfig returns what the consumer of a project's tasks must be.
func (b *Bus) tasksConfig(worker string, p pipeline.Priority, project string) jetstream.ConsumerConfig {
	name := consumerName(worker, p, project)
	return jetstream.ConsumerConfig{
		Name: name, Durable: name, Description: fmt.Sprintf("Tasks of %s, %s, project %s", worker, p, project),
		FilterSubject: tasksFilter(worker, p, project),
		AckPolicy:     jetstream.AckExplicitPolicy, DeliverPolicy: jetstream.DeliverAllPolicy,
		AckWait: b.cfg.AckWait, MaxDeliver: -1, MaxAckPending: -1, InactiveThreshold: b.idle,
	}
}

// consumerName returns the name of the consumer of a project's tasks. No name has a "=". Earlier versions
// take no such name for one of theirs, which end in a number.
func consumerName(worker string, p pipeline.Priority, project string) string {
	return worker + "=" + project + "=" + string(p)
}

// splitConsumer returns what consumerName made a name of.
func splitConsumer(name string) (worker string, p pipeline.Priority, project string, ok bool) {
	parts := strings.Split(name, "=")
	if len(parts) != 3 {
		return "", "", "", false
	}
	return parts[0], pipeline.Priority(parts[2]), parts[1], true
}

// tasksFilter returns a filter that matches the task subjects of a project.
func tasksFilter(worker string, p pipeline.Priority, project string) string {
	return "task." + worker + "." + string(p) + "." + pipeline.Lane(project) + "." + project + ".>"
}
