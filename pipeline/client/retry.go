package client

import (
	"math/rand/v2"
	"time"
)

// maxFailures is how many tries in a row may fail for reasons that may pass.
const maxFailures = 6

// Limits of the pause between two tries.
const (
	firstPause = 500 * time.Millisecond
	maxPause   = 15 * time.Second
)

// RetryTime is about how long an upload is retried before it fails: the sum of its pauses.
const RetryTime = 30 * time.Second

// backoff returns the pause after n failures: it doubles each time, with jitter of half, so that many
// clients do not come at once.
func backoff(n int) time.Duration {
	d := min(firstPause<<min(n-1, 10), maxPause)
	return d/2 + rand.N(d)
}
