package bus

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Limits are written for people, and two different ones never read alike.
func TestDifferencesOfLimitsAreForPeople(t *testing.T) {
	type config = jetstream.StreamConfig
	with := func(change func(*config)) config {
		c := config{MaxMsgs: -1, MaxBytes: -1, MaxMsgsPerSubject: -1, MaxMsgSize: -1}
		change(&c)
		return c
	}
	none := with(func(*config) {})
	size := func(n int64) config { return with(func(c *config) { c.MaxBytes = n }) }
	age := func(d time.Duration) config { return with(func(c *config) { c.MaxAge = d }) }
	consumers := jetstream.StreamConsumerLimits{InactiveThreshold: 5 * time.Minute, MaxAckPending: 10}
	for _, c := range []struct {
		live, want config
		text       string
	}{
		{size(8 << 30), size(9 << 30), "max bytes is 8 GiB, want 9 GiB"},
		{size(5e8), size(500 << 20), "max bytes is 477 MiB (500000000 bytes), want 500 MiB"},
		{size(1 << 30), size(1<<30 + 1), "max bytes is 1 GiB, want 1 GiB (1073741825 bytes)"},
		{size(1500 << 30), size(1536 << 30), "max bytes is 1500 GiB, want 1536 GiB"},
		{size(1000), size(1 << 10), "max bytes is 1000 B, want 1 KiB"},
		{age(time.Hour), none, "max age is 1h, want unlimited"},
		{age(168 * time.Hour), age(15 * time.Minute), "max age is 7 days, want 15m"},
		{age(24 * time.Hour), age(90 * time.Second), "max age is 24h, want 1m30s"},
		{age(time.Hour + time.Second/2), age(90 * time.Minute), "max age is 1h0m0.5s, want 1h30m"},
		{with(func(c *config) { c.MaxMsgs = 5 }), none, "max messages is 5, want unlimited"},
		{with(func(c *config) { c.MaxMsgsPerSubject = 5 }), none, "max messages per subject is 5, want unlimited"},
		{with(func(c *config) { c.MaxMsgSize = 1 << 20 }), none, "max message size is 1 MiB, want unlimited"},
		{with(func(c *config) { c.ConsumerLimits = consumers }), none,
			"limits of consumers is inactive threshold 5m and max ack pending 10, want none"},
	} {
		if diffs := differences(c.want, c.live); len(diffs) != 1 || diffs[0].String() != c.text {
			t.Errorf("%v, want %s", diffs, c.text)
		}
	}
	if diffs := differences(none, none); len(diffs) != 0 {
		t.Errorf("equal ones differ: %v", diffs)
	}
}
