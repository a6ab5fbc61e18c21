package workers

import (
	"context"
	"sync"
	"time"

	"github.com/reelmill/reelmill/pipeline"
)

// teller returns a progress function that tells at most twice a second, and never of less than was told.
func (l *Loop) teller(ctx context.Context, project string) func(pipeline.Progress) {
	var mu sync.Mutex
	var told time.Time
	var highest float64
	return func(p pipeline.Progress) {
		mu.Lock()
		defer mu.Unlock()
		if p.Fraction > highest { // false for NaN
			highest = min(1, p.Fraction)
		}
		if time.Since(told) < 500*time.Millisecond {
			return
		}
		told, p.Fraction = time.Now(), highest
		if err := l.Tasks.Progress(ctx, project, p); err != nil {
			l.Logger.Debug("tell progress", "error", err)
		}
	}
}
