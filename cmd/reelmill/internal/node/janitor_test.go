package node

import (
	"testing"
	"time"
)

// TestForward checks that only what the clock was set forward counts, not the time that passed.
func TestForward(t *testing.T) {
	began := time.Now()
	for name, c := range map[string]struct{ passed, ran, want time.Duration }{
		"an hour has passed": {time.Hour, time.Hour, 0},
		"a day forward":      {25 * time.Hour, time.Hour, 24 * time.Hour},
		"an hour back":       {0, time.Hour, 0},
	} {
		if got := forward(began, began.Add(c.passed), c.ran); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
