package node

import (
	"context"

	"github.com/reelmill/reelmill/pipeline/quota"
)

// openQuotas makes what holds projects to their quotas, and has the coordinator ask it.
func (s *Server) openQuotas(context.Context) error {
	s.quotas = &quota.Keeper{
		Limits: s.keys.Limits, Known: s.keys.KnownLimits, Counts: s.catalog, Notes: s.bus,
		Log: s.faults.log(s.bus), Logger: s.config.Logger,
	}
	s.sweeper.Coordinator.Quotas = s.quotas
	return nil
}
