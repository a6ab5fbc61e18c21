package main

import (
	"context"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/stats"
	"github.com/reelmill/reelmill/storage/catalog"
)

// project feeds the read model from the event log.
func (n *node) project(ctx context.Context) error {
	after, err := n.catalog.Sequence(ctx)
	if err != nil {
		return err
	}
	history, err := n.bus.LastSequence(ctx)
	if err != nil {
		return err
	}
	n.catalog.Observe(func(sequence uint64, s pipeline.Sample) {
		if sequence > history { // what came before is not news, also when the catalog is made anew
			n.metrics.videoSample(s)
		}
	})
	return ignoreCanceled(n.bus.Follow(ctx, after, n.faults.apply(n.catalog.Apply)))
}

// statistics are those of the read model, which does not know by itself that it has caught up with the log.
type statistics struct{ *node }

// Stats implements the API's statistics.
func (s statistics) Stats(ctx context.Context, q catalog.StatsQuery) (stats.Stats, error) {
	now := time.Now()
	last, err := s.bus.LastSequence(ctx)
	if err != nil {
		return stats.Stats{}, err
	}
	applied, err := s.catalog.Sequence(ctx)
	if err != nil {
		return stats.Stats{}, err
	}
	if applied >= last {
		q.CaughtUp = now
	}
	return s.catalog.Stats(ctx, q)
}
