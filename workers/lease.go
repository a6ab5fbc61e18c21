package workers

import (
	"context"
	"time"
)

// keep renews the lease until ctx ends.
func (a *attempt) keep(ctx context.Context) {
	tick := time.NewTicker(a.loop.Heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			a.extend(ctx)
		}
	}
}

// extend renews the lease once. If that fails, the work continues: the token decides, not the lease.
func (a *attempt) extend(ctx context.Context) {
	if err := a.delivery.Extend(ctx); err != nil && ctx.Err() == nil {
		a.loop.recurring.Failed("renew lease", "job", a.task.Job.Name, "error", err)
	}
}
