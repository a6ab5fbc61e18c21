package bus

import (
	"context"
	"fmt"
	"math"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/reelmill/reelmill/pipeline"
)

// History returns the events of a video in the order of the log: all that were stored when it was called, and
// possibly later ones. A video that does not exist has none. An event that cannot be read is an error.
//
// It reads no other video's events, so its cost depends on the number of this video's alone.
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

// historyOf returns filters that match the events of a video, and no others.
func historyOf(project, video string) []string {
	return []string{"video.*." + project + "." + video, pipeline.JobSubject(project, video, "*")}
}

// history reads the events that the leader of the log now has on the filters. Other scans ask for the next
// event to know when they are done. The server answers that by a search of the log, which takes half as long
// as all the rest when a filter has wildcards (BenchmarkHistory). So history counts the events instead.
func (b *Bus) history(ctx context.Context, filters []string) (events []pipeline.Event, err error) {
	s := &scan{bus: b, filters: filters, next: 1, through: math.MaxUint64}
	s.do = func(m jetstream.Msg, sequence uint64) error {
		e, err := decodeEvent(m.Data(), sequence)
		if err != nil {
			return fmt.Errorf("%s: %w", m.Subject(), err)
		}
		events = append(events, e)
		return nil
	}
	total := -1
	s.left = func(ctx context.Context) (int, error) {
		if total < 0 || len(events) < total { // or events were purged meanwhile
			var err error
			if total, err = b.count(ctx, filters); err != nil {
				return 0, err
			}
		}
		return max(0, total-len(events)), nil
	}
	err = s.run(ctx)
	return events, err
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

// Purge removes the unwanted events of a video from the log. It keeps those on its pipeline.DeletedSubject.
// Purging again does nothing.
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
