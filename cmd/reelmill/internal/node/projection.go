package node

import (
	"context"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/stats"
	"github.com/reelmill/reelmill/storage/catalog"
)

// project feeds the event log into the read model.
func (s *Server) project(ctx context.Context) error {
	after, err := s.catalog.Sequence(ctx)
	if err != nil {
		return err
	}
	history, err := s.bus.LastSequence(ctx)
	if err != nil {
		return err
	}
	s.catalog.Observe(func(sequence uint64, sample pipeline.Sample) {
		if sequence > history { // metrics count no earlier events, even when a rebuilt catalog applies them
			s.metrics.videoSample(sample)
		}
	})
	return ignoreCanceled(s.bus.Follow(ctx, after, s.faults.apply(s.catalog.Apply)))
}

// statistics adds to those of the read model whether it has caught up with the log.
type statistics struct{ *Server }

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
	q.Objective = s.server.PlayableObjective
	return s.catalog.Stats(ctx, q)
}
