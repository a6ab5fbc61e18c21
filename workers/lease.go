package workers

import (
	"context"
	"time"
)

// keep renews a lease until ctx ends.
func (l *Loop) keep(ctx context.Context, d Delivery) {
	tick := time.NewTicker(l.Heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			l.extend(ctx, d)
		}
	}
}

// extend renews a lease. A beat that cannot be sent is no reason to stop.
func (l *Loop) extend(ctx context.Context, d Delivery) {
	if err := d.Extend(ctx); err != nil && ctx.Err() == nil {
		l.recurring.Failed("heartbeat", "job", d.Task().Job.Name, "error", err)
	}
}
