package webhooks

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// Schedule is when attempts at a delivery are made.
type Schedule struct {
	// Delays are the times between attempts; the first attempt is made at once. nil means those of Standard
	// Webhooks: ten attempts in 75 hours.
	Delays []time.Duration
	// Jitter returns a number of at least 0 and below 1; nil means a random one. A delay is made up to a
	// tenth shorter or longer by it, so that the deliveries of a receiver that was down do not all come at
	// once.
	Jitter func() float64
}

// standardDelays are the delays between attempts, 75 h and 35 min in all.
func standardDelays() []time.Duration {
	return []time.Duration{
		5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour,
		14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
	}
}

// maxRetryAfter is the longest time that a receiver may ask for.
const maxRetryAfter = 24 * time.Hour

// Delay returns how long after attempt n, from 1, failed the next one is made. asked is what the receiver
// asks for, and counts if it is longer, up to 24 hours. ok is false when n was the last attempt.
func (s Schedule) Delay(n int, asked time.Duration) (d time.Duration, ok bool) {
	delays := s.Delays
	if delays == nil {
		delays = standardDelays()
	}
	if n < 1 || n > len(delays) {
		return 0, false
	}
	jitter := rand.Float64
	if s.Jitter != nil {
		jitter = s.Jitter
	}
	d = time.Duration(float64(delays[n-1]) * (0.9 + 0.2*jitter()))
	return max(d, min(asked, maxRetryAfter)), true
}

// RetryAfter reads the header Retry-After (RFC 9110, 10.2.3) of an answer 429 or 503: seconds, or a date.
// It returns 0 for any other answer, and for a value that it cannot read.
func RetryAfter(status int, value string, now time.Time) time.Duration {
	if status != http.StatusTooManyRequests && status != http.StatusServiceUnavailable || value == "" {
		return 0
	}
	if n, err := strconv.ParseUint(value, 10, 32); err == nil {
		return min(time.Duration(n)*time.Second, maxRetryAfter)
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return min(max(0, at.Sub(now)), maxRetryAfter)
}
