// Package pause waits for a time that the end of a context cuts short. It starts no goroutine.
package pause

import (
	"context"
	"time"
)

// For waits for d, or until ctx ends. It reports whether d is over: false says that ctx ended first.
func For(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
