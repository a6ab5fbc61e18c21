package pause

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for _, c := range []struct {
			asked, waited time.Duration
			over          bool
		}{{40 * time.Second, 40 * time.Second, true}, {time.Hour, 20 * time.Second, false}, {time.Hour, 0, false}} {
			begun := time.Now()
			over := For(ctx, c.asked)
			if waited := time.Since(begun); waited != c.waited || over != c.over {
				t.Errorf("For %s: %t after %s, want %t after %s", c.asked, over, waited, c.over, c.waited)
			}
		}
	})
}
