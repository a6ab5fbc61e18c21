package workers

import (
	"context"
	"sync"
	"time"

	"github.com/reelmill/reelmill/pipeline"
)

// reporter returns a function that publishes progress, at most twice a second. The fraction never falls.
func (a *attempt) reporter(ctx context.Context) func(pipeline.Progress) {
	var mu sync.Mutex
	var reported time.Time
	var highest float64
	return func(p pipeline.Progress) {
		mu.Lock()
		defer mu.Unlock()
		if p.Fraction > highest { // false for NaN
			highest = min(1, p.Fraction)
		}
		if time.Since(reported) < 500*time.Millisecond {
			return
		}
		reported, p.Fraction = time.Now(), highest
		if err := a.loop.Tasks.Progress(ctx, a.task.Project, p); err != nil {
			a.log.Debug("publish progress", "error", err)
		}
	}
}
