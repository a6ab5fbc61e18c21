package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/reelmill/reelmill/pipeline"
)

const (
	historyBatch     = 1000
	historyWait      = time.Second // for the next event, when fewer came than were counted
	historyThreshold = time.Minute // after which the server deletes a consumer that nobody could
)

// History returns the events of a video, in the order of the log: all that were stored when it was called,
// and possibly later ones. It is empty for a video that there is not. An event that cannot be read is an
// error.
//
// It reads no other video's events, and its cost is that of their number.
func (b *Bus) History(ctx context.Context, project, video string) ([]pipeline.Event, error) {
	if err := checkVideo(project, video); err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	events, err := b.history(ctx, historyOf(project, video))
	if err != nil {
		return nil, fmt.Errorf("read history of %s: %w", video, err)
	}
	return events, nil
}

// historyOf returns what the subjects of a video's events match.
func historyOf(project, video string) []string {
	return []string{"video.*." + project + "." + video, pipeline.JobSubject(project, video, "*")}
}

// history reads what the leader of the log has on the filters now, over a consumer that lives in the memory
// of one server and is gone when history returns.
func (b *Bus) history(ctx context.Context, filters []string) ([]pipeline.Event, error) {
	total, err := b.count(ctx, filters)
	if err != nil {
		return nil, err
	}
	if total == 0 {
		return nil, nil
	}
	linked, unlink, err := b.connected(ctx)
	if err != nil {
		return nil, err
	}
	defer unlink()
	var c jetstream.Consumer
	err = b.patiently(linked, func(ctx context.Context) (err error) {
		c, err = b.js.CreateConsumer(ctx, streamEvents, jetstream.ConsumerConfig{
			Description: "History of a video", AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1,
			DeliverPolicy: jetstream.DeliverAllPolicy, FilterSubjects: filters, InactiveThreshold: historyThreshold,
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("create consumer: %w", err)
	}
	defer b.forget(ctx, c)
	events := make([]pipeline.Event, 0, total)
	for quiet := 0; len(events) < total; {
		before := len(events)
		events, err = b.fetchEvents(linked, c, events, total)
		if linked.Err() != nil && ctx.Err() == nil {
			return nil, nats.ErrDisconnected
		}
		if err = errors.Join(err, ctx.Err()); err != nil && (ctx.Err() != nil || !passing(err)) {
			return nil, err // else, in a cluster, nobody may know the consumer yet
		}
		if len(events) == before {
			if quiet++; quiet == tries {
				return nil, errors.Join(fmt.Errorf("of %d events %d came", total, len(events)), err)
			}
			_ = wait(linked, firstDelay<<quiet)
		}
		if len(events) < total { // events were purged meanwhile, or the consumer's server lags behind the leader
			if total, err = b.count(linked, filters); err != nil {
				return nil, err
			}
		}
	}
	return events, nil
}

// count returns how many events the leader of the log has on the filters.
func (b *Bus) count(ctx context.Context, filters []string) (int, error) {
	total := 0
	for _, filter := range filters {
		there, err := b.subjects(ctx, streamEvents, filter)
		if err != nil {
			return 0, err
		}
		for _, n := range there {
			total += int(n)
		}
	}
	return total, nil
}

// fetchEvents appends the next events of a consumer, until there are total or, for a while, no more.
func (b *Bus) fetchEvents(ctx context.Context, c jetstream.Consumer, events []pipeline.Event, total int,
) ([]pipeline.Event, error) {
	limited, cancel := context.WithTimeout(ctx, historyWait)
	defer cancel()
	batch, err := c.Fetch(min(total-len(events), historyBatch), jetstream.FetchContext(limited))
	if err != nil {
		return events, err
	}
	for m := range batch.Messages() {
		meta, err := m.Metadata()
		if err != nil {
			return events, err
		}
		if meta.Sequence.Consumer != uint64(len(events))+1 {
			return events, fmt.Errorf("delivery %d came after %d", meta.Sequence.Consumer, len(events))
		}
		e, err := decodeEvent(m.Data(), meta.Sequence.Stream)
		if err != nil {
			return events, fmt.Errorf("%s: %w", m.Subject(), err)
		}
		events = append(events, e)
	}
	if err := batch.Error(); err != nil && limited.Err() == nil {
		return events, err
	}
	return events, nil
}

// Purge removes the events of a video that are unwanted from the log, but none on its
// pipeline.DeletedSubject. Purging again does nothing.
func (b *Bus) Purge(ctx context.Context, project, video string, unwanted func(sequence uint64) bool) error {
	if err := checkVideo(project, video); err != nil {
		return fmt.Errorf("purge: %w", err)
	}
	keep := pipeline.DeletedSubject(project, video)
	for _, filter := range historyOf(project, video) {
		err := b.removeAll(ctx, streamEvents, filter, func(m *message) bool {
			return m.Subject != keep && unwanted(m.Sequence)
		})
		if err != nil {
			return fmt.Errorf("purge %s: %w", video, err)
		}
	}
	return nil
}
